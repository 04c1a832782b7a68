"""The verbs on the command line."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from neurodeploy.cli import bundles, checks, tables
from neurodeploy.cli.command import Command
from neurodeploy.cli.files import load_inputs, load_labels
from neurodeploy.cli.output import Output
from neurodeploy.errors import FileError
from neurodeploy.frontends.presets import PRESETS, Preset, preset
from neurodeploy.semantics import Comparison, Integrator, Reset, ResetTiming

if TYPE_CHECKING:
    from neurodeploy.program import Program


def _semantics_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "semantics, for files that do not say theirs",
        "A tool's by name, and single fields instead of that tool's (without a name, euler's).",
    )
    group.add_argument("--semantics", choices=tuple(PRESETS), help="see docs/nir.md")
    group.add_argument("--dt", type=float, help="length of a time step in s")
    group.add_argument("--integrator", choices=get_args(Integrator))
    group.add_argument("--reset", choices=get_args(Reset))
    group.add_argument("--reset-timing", choices=get_args(ResetTiming))
    group.add_argument("--comparison", choices=get_args(Comparison))


def _semantics(arguments: argparse.Namespace) -> Preset | None:
    fields = ("dt", "integrator", "reset", "reset_timing", "comparison")
    chosen = {name: value for name in fields if (value := getattr(arguments, name)) is not None}
    if arguments.semantics is None and not chosen:
        return None
    return preset(arguments.semantics or "euler", **chosen)


def _program(path: str) -> Program:
    from neurodeploy.program import Program

    return Program.load(path)


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir graph, a .net file of lava-dl or a .ndp program")
    parser.add_argument("--target", help="list where a graph and this target differ")
    _semantics_arguments(parser)


def _inspect(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.semantics import diff
    from neurodeploy.target import Places, get_target

    if Path(arguments.file).suffix == ".ndp":
        program = _program(arguments.file)
        data = tables.program_data(program)
        tables.program(output, program)
        data.update(checks.certificate(program, output))
        if isinstance(get_target(program.target), Places):
            placement = api.place(program)
            tables.resources(output, placement)
            data["resources"] = placement.to_dict()
        output.result(data)
        return 0
    target = get_target(arguments.target) if arguments.target else None
    network = api.load(arguments.file, _semantics(arguments))
    tables.network(output, network)
    differences = [
        difference
        for population in network.populations
        if target is not None
        for difference in diff(population.semantics, target.semantics, node=population.name)
    ]
    if target is not None:
        tables.differences(output, differences, target.name)
    output.result(tables.network_data(network, differences))
    return 0


def _compile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a .nir graph, or a .net file of lava-dl")
    parser.add_argument("--target", required=True, help="see `neurodeploy targets`")
    parser.add_argument(
        "--calibration", required=True, help=".npy or .npz with spikes (samples, steps, *shape)"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="the .ndp program to write; or a folder/, which gets a bundle for the chip's owner "
        "where the target has one",
    )
    _semantics_arguments(parser)


def _compile(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api

    semantics = _semantics(arguments)
    program = api.compile(
        arguments.model,
        target=arguments.target,
        calibration=load_inputs(arguments.calibration),
        semantics=semantics,
    )
    if semantics is not None:
        output.say(f"where the file does not say its semantics: {semantics.name}")
    save = (
        functools.partial(api.bundle, program)
        if bundles.is_folder(arguments.output)
        else program.save
    )
    digest = save(arguments.output)
    tables.program(output, program)
    output.say(f"wrote {arguments.output}  sha256 {digest[:16]}…")
    output.result({**tables.program_data(program), "file": arguments.output})
    return 0


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a .nir graph")
    parser.add_argument("-o", "--output", required=True, help="the .nir graph to write")
    parser.add_argument(
        "--profile",
        choices=("exact", "portable"),
        default="exact",
        help="exact: plain nodes say what they can, metadata the rest; portable: neurons as common "
        "importers take them, and how many spikes then differ",
    )
    parser.add_argument("--inputs", help=".npy or .npz by which a portable file is measured")
    _semantics_arguments(parser)


def _convert(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api

    written = api.write(
        arguments.model,
        arguments.output,
        profile=arguments.profile,
        semantics=_semantics(arguments),
        inputs=None if arguments.inputs is None else load_inputs(arguments.inputs),
    )
    tables.written(output, written)
    output.say(f"wrote {arguments.output}  sha256 {written.digest[:16]}…")
    output.result(tables.written_data(written))
    return 0


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program")
    parser.add_argument("--inputs", required=True, help=".npy or .npz with spikes")
    parser.add_argument("-o", "--output", help=".npz that gets the spikes of every population")
    _backend_arguments(parser, "run it there, not in the simulator")


def _backend_arguments(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--backend", help=f"of the target, such as lava or loihi2: {text}")
    parser.add_argument("--timeout", type=float, default=600.0, help="of the backend's run, in s")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.archive import write_atomically

    if arguments.timeout <= 0:
        raise FileError("must be positive", node="--timeout")
    program = _program(arguments.program)
    with output.progress("simulating") as progress:
        trace = api.run(
            program,
            load_inputs(arguments.inputs),
            progress=progress,
            backend=arguments.backend,
            timeout=arguments.timeout,
        )
    if arguments.output:
        import io

        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: trace.spikes[name] for name in program.shapes}
        np.savez_compressed(buffer, **arrays)
        write_atomically(Path(arguments.output), buffer.getvalue())
    counts = {name: trace.counts(name) for name in program.shapes}
    rows = [
        (
            name,
            count.size * trace.steps,
            int(count.sum()),
            f"{count.sum() / (count.size * trace.steps):.2%}",
        )
        for name, count in counts.items()
    ]
    output.table(
        f"{trace.samples} samples, {trace.steps} steps ({arguments.backend or 'simulated'})",
        ("population", "cells", "spikes", "rate"),
        rows,
    )
    output.result(
        {
            "samples": trace.samples,
            "steps": trace.steps,
            "spikes": {row[0]: row[2] for row in rows},
            "decisions": {name: trace.decisions(name) for name in program.outputs},
            "file": arguments.output,
        }
    )
    return 0


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program")
    parser.add_argument(
        "--inputs",
        help=".npy or .npz with spikes; without them the file's golden traces are run again, in "
        "numpy alone",
    )
    parser.add_argument("--labels", help=".npy, or .npz with a member `labels`")
    parser.add_argument(
        "--vendor-samples", type=int, default=100, help="samples to run in the vendor's runtime"
    )
    parser.add_argument(
        "--no-vendor", action="store_true", help="leave the vendor's runtime out; says so"
    )
    _backend_arguments(parser, "the vendor's runtime, if not the first")
    parser.add_argument(
        "--report", help="of a bundle's run on a chip: what it recorded is the vendor's runtime"
    )
    parser.add_argument("--page", help="write an HTML page with the verdict and the energy")


def _verify(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.inputs is None:
        return checks.replay(arguments, output)
    from neurodeploy import api

    if arguments.vendor_samples < 1 or arguments.timeout <= 0:
        raise FileError(
            "must be positive",
            node="--vendor-samples and --timeout",
            hint="To leave the vendor's runtime out, say --no-vendor.",
        )
    program = _program(arguments.program)
    labels = None if arguments.labels is None else load_labels(arguments.labels)
    elsewhere = bundles.elsewhere(arguments, program)
    samples = arguments.vendor_samples if elsewhere is None else elsewhere.samples
    verdict = api.verify(
        program,
        load_inputs(arguments.inputs),
        labels=labels,
        vendor_samples=None if arguments.no_vendor else samples,
        backend=arguments.backend if elsewhere is None else elsewhere,
        timeout=arguments.timeout,
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
            api.energy(program, verdict.trace),
            title=Path(arguments.program).stem,
            labels=labels,
        )
        output.say(f"wrote {arguments.page}")
        data["page"] = arguments.page
    output.result(data)
    missing = {stage.name for stage in verdict.stages if stage.status == "not run"}
    left_out = arguments.no_vendor and missing == {"vendor"} and verdict.status == "incomplete"
    complained = elsewhere is not None and bool(elsewhere.problems)
    return 0 if (verdict.passed and not complained) or left_out else 1


def _energy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", nargs="?", help="a .ndp program")
    parser.add_argument("--inputs", help=".npy or .npz with spikes")
    parser.add_argument("--report", help="of a bundle's run on a chip: show what it measured, too")
    parser.add_argument("--level", help="performance level of the chip, if it has several")
    parser.add_argument("--against", help="another .ndp program: which of the two costs less")
    parser.add_argument(
        "--validate",
        action="store_true",
        help="instead: predictions for published measurements, those that fail too",
    )


def _energy(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api

    if arguments.validate:
        return _validate(output)
    if arguments.program is None or arguments.inputs is None:
        raise FileError("needed, or --validate", node="a program and --inputs")
    program, inputs = _program(arguments.program), load_inputs(arguments.inputs)
    elsewhere = None if arguments.report is None else api.read_report(arguments.report, program)
    measured = None if elsewhere is None else elsewhere.measured
    report = api.energy(program, inputs, level=arguments.level)
    tables.energy(output, report)
    data = report.to_dict()
    if arguments.against:
        from neurodeploy.cli import costs

        other = _program(arguments.against)
        ranking = api.rank(program, other, inputs, level=arguments.level)
        costs.ranking(output, ranking, arguments.program, arguments.against)
        data["ranking"] = ranking.to_dict()
    if elsewhere is not None and measured is not None:
        bundles.measured(output, elsewhere.title, measured)
        data["measured"] = {name: quantity.to_dict() for name, quantity in measured.items()}
    output.result(data)
    return 0


def _validate(output: Output) -> int:
    from neurodeploy.cli import costs
    from neurodeploy.costs.validation import validate

    found = validate()
    costs.validation(output, found)
    output.result(found.to_dict())
    return 0


def _targets_arguments(parser: argparse.ArgumentParser) -> None:
    del parser


def _targets(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy.target import find_targets

    found = find_targets()
    rows = [
        (item.name, item.target.description if item.target else f"BROKEN: {item.error}")
        for item in found
    ]
    output.table("targets", ("name", "description"), rows)
    output.result({"targets": [{"name": i.name, "error": i.error} for i in found]})
    return 0


COMMANDS = (
    Command(
        "inspect",
        "show what a .nir or .net graph or a .ndp program is",
        "neurodeploy inspect model.nir --target loihi2",
        _inspect_arguments,
        _inspect,
    ),
    Command(
        "compile",
        "compile a .nir or .net graph for a chip",
        "neurodeploy compile model.nir --target loihi2 --calibration spikes.npy -o model.ndp",
        _compile_arguments,
        _compile,
    ),
    bundles.bundle,
    Command(
        "convert",
        "write a .nir graph with its semantics, exactly or for common importers",
        "neurodeploy convert model.nir -o portable.nir --profile portable --dt 1e-4",
        _convert_arguments,
        _convert,
    ),
    Command(
        "run",
        "run a program in the bit-accurate simulator, or in a backend of its target",
        "neurodeploy run model.ndp --inputs spikes.npy -o trace.npz",
        _run_arguments,
        _run,
    ),
    Command(
        "verify",
        "compare reference, program and the vendor's runtime spike by spike",
        "neurodeploy verify model.ndp --inputs spikes.npy --labels labels.npy --page model.html",
        _verify_arguments,
        _verify,
    ),
    Command(
        "energy",
        "energy per inference: exact counts times cited constants, with intervals",
        "neurodeploy energy model.ndp --inputs spikes.npy --against other.ndp",
        _energy_arguments,
        _energy,
    ),
    Command(
        "targets", "list installed targets", "neurodeploy targets", _targets_arguments, _targets
    ),
)
