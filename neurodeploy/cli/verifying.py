"""`neurodeploy verify` and `neurodeploy diff`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from neurodeploy.cli import bundles, checks, tables
from neurodeploy.cli.command import Command
from neurodeploy.cli.files import (
    backend_arguments,
    load_inputs,
    load_labels,
    load_spikes,
    where_arguments,
)
from neurodeploy.cli.output import Output
from neurodeploy.errors import FileError, InputError

if TYPE_CHECKING:
    from neurodeploy.equivalence.gates import Gates
    from neurodeploy.program import Program
    from neurodeploy.trace import Trace

FLOORS, CEILINGS = ("agreement",), ("accuracy-drop", "mismatch-rate")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program")
    parser.add_argument(
        "--inputs",
        help=".npy or .npz, as for compile; without them the file's golden traces are run again, "
        "in numpy alone",
    )
    parser.add_argument("--labels", help=".npy, or .npz with a member `labels`")
    parser.add_argument(
        "--source", help=".npz with the source framework's own spikes, one array per population"
    )
    parser.add_argument(
        "--vendor-samples", type=int, default=100, help="samples to run in the vendor's runtime"
    )
    parser.add_argument(
        "--no-vendor", action="store_true", help="leave the vendor's runtime out; says so"
    )
    backend_arguments(parser, "the vendor's runtime, if not the first")
    parser.add_argument(
        "--report", help="of a bundle's run on a chip: what it recorded is the vendor's runtime"
    )
    parser.add_argument(
        "--fail-under",
        action="append",
        default=[],
        metavar="GATE=VALUE",
        help="agreement=0.99: least share of equal decisions",
    )
    parser.add_argument(
        "--fail-over",
        action="append",
        default=[],
        metavar="GATE=VALUE",
        help="accuracy-drop=0.01, mismatch-rate=0.001: most of these; without any gate the "
        "accuracy may drop by 0.01, or without labels the agreement must be 0.95",
    )
    parser.add_argument(
        "--strict", action="store_true", help="a stage that was left out fails, too"
    )
    where_arguments(parser)
    parser.add_argument("--page", help="write an HTML page with the verdict and the energy")
    parser.add_argument("--junit", help="write JUnit XML, a test for each stage and gate")


def _verify(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.inputs is None:
        return checks.replay(arguments, output)
    from neurodeploy import api
    from neurodeploy.program import Program

    if arguments.vendor_samples < 1 or arguments.timeout <= 0:
        raise FileError(
            "must be positive",
            node="--vendor-samples and --timeout",
            hint="To leave the vendor's runtime out, say --no-vendor.",
        )
    program = Program.load(arguments.program)
    labels = None if arguments.labels is None else load_labels(arguments.labels)
    source = None if arguments.source is None else load_spikes(arguments.source)
    elsewhere = bundles.elsewhere(arguments, program)
    samples = arguments.vendor_samples if elsewhere is None else elsewhere.samples
    inputs, gates = load_inputs(arguments.inputs), _gates(arguments)
    with output.phases() as progress:
        verdict = api.verify(
            program,
            inputs,
            labels=labels,
            source=source,
            vendor_samples=None if arguments.no_vendor else samples,
            backend=arguments.backend if elsewhere is None else elsewhere,
            timeout=arguments.timeout,
            gates=gates,
            progress=progress,
            scheduler=arguments.scheduler,
            state=arguments.state,
        )
    tables.verdict(output, verdict)
    data: dict[str, Any] = verdict.to_dict()
    if elsewhere is not None:
        bundles.report(output, elsewhere)
        data["report"] = {"title": elsewhere.title, "problems": elsewhere.problems}
    if arguments.page:
        from neurodeploy.pages.html import report

        report(
            arguments.page,
            program,
            verdict,
            api.energy(program, inputs, scheduler=arguments.scheduler, state=arguments.state),
            title=Path(arguments.program).stem,
            labels=labels,
        )
        output.say(f"wrote {arguments.page}")
        data["page"] = arguments.page
    allowed = _allowed(arguments)
    if arguments.junit:
        from neurodeploy.archive import write_atomically
        from neurodeploy.equivalence.junit import to_junit

        text = to_junit(verdict, Path(arguments.program).name, allowed)
        write_atomically(Path(arguments.junit), text.encode())
        output.say(f"wrote {arguments.junit}")
        data["junit"] = arguments.junit
    output.result(data)
    missing = {stage.name for stage in verdict.stages if stage.status == "not run"} - allowed
    complained = elsewhere is not None and bool(elsewhere.problems)
    return 1 if verdict.status == "failed" or missing or complained else 0


def _allowed(arguments: argparse.Namespace) -> frozenset[str]:
    """Stages that may be left out: those that nobody asked for."""
    left_out = {"import": arguments.source is None, "vendor": arguments.no_vendor}
    return frozenset(name for name, is_so in left_out.items() if is_so and not arguments.strict)


def _gates(arguments: argparse.Namespace) -> Gates:
    from neurodeploy.equivalence.gates import Gates

    limits = {
        **_limits(arguments.fail_under, FLOORS, "--fail-under"),
        **_limits(arguments.fail_over, CEILINGS, "--fail-over"),
    }
    return Gates(**limits)


def _limits(given: Sequence[str], known: tuple[str, ...], option: str) -> dict[str, float]:
    """Limits by the fields of `Gates`, from GATE=VALUE."""
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            limit = float(value)
        except ValueError:
            limit = None
        if name not in known or limit is None:
            raise InputError(
                f"{text!r} is no gate, expected {' or '.join(f'{k}=VALUE' for k in known)}",
                node=option,
            )
        found[name.replace("-", "_")] = limit
    return found


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", help="a .ndp program, or an .npz of spikes by population")
    parser.add_argument("second", help="another")
    parser.add_argument(
        "--inputs",
        help=".npy or .npz to run programs on; those of a trace if left out, or the golden ones of "
        "the first program",
    )


def _diff(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy.equivalence.difference import difference, differing_fields
    from neurodeploy.program import Program

    given = [_program_or_spikes(path) for path in (arguments.first, arguments.second)]
    first, second = given
    both = isinstance(first, Program) and isinstance(second, Program)
    found = difference(
        _trace(first, given, arguments.inputs),
        _trace(second, given, arguments.inputs),
        differing_fields(first, second) if both else (),
    )
    for name in found.fields:
        output.say(f"  differs: {escape(name)}")
    for names, path in (
        (found.only_first, arguments.first),
        (found.only_second, arguments.second),
    ):
        if names:
            output.say(f"  only in {escape(path)}: {escape(', '.join(names))}")
    output.table(
        escape(f"{arguments.first} against {arguments.second} (simulated)"),
        ("population", "cells", "differing", "rate", "spikes, first", "spikes, second"),
        [
            (x.population, x.cells, x.mismatches, f"{x.rate:.3%}", x.expected_spikes, x.spikes)
            for x in found.layers
        ],
    )
    tables.distances(output, found.distances)
    if found.first is not None:
        output.say(f"  first difference: {escape(str(found.first))}")
    output.say("equal in every cell" if found.equal else "[bold]they differ[/]")
    output.result(found.to_dict())
    return 0 if found.equal else 1


def _program_or_spikes(path: str) -> Any:
    from neurodeploy.program import Program

    return Program.load(path) if Path(path).suffix == ".ndp" else load_spikes(path)


def _trace(one: Any, given: Sequence[Any], inputs: str | None) -> Trace:
    """The run of a program, or the one that a file holds."""
    from neurodeploy import api
    from neurodeploy.program import Program
    from neurodeploy.trace import Trace

    if not isinstance(one, Program):
        return Trace(one)
    if inputs is not None:
        return api.run(one, load_inputs(inputs))
    other = next((x for x in given if not isinstance(x, Program)), None)
    if other is not None and set(one.input_shapes) <= set(other):
        return api.run(one, {name: other[name] for name in one.input_shapes})
    golden: Program = given[0]
    if other is not None or golden.golden is None:
        raise FileError("needed: neither file holds any", node="--inputs")
    return api.run(one, golden.golden.inputs)


verify = Command(
    "verify",
    "compare reference, program and the vendor's runtime spike by spike",
    "neurodeploy verify model.ndp --inputs spikes.npy --labels labels.npy --page model.html",
    _arguments,
    _verify,
)
diff = Command(
    "diff",
    "compare any two programs or traces, spike by spike",
    "neurodeploy diff model.ndp other.ndp --inputs spikes.npy",
    _diff_arguments,
    _diff,
)
