"""The verbs on the command line."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.cli import bundles, exploring, finetuning, inspection, reporting, tables, verifying
from neurodeploy.cli.command import Command
from neurodeploy.cli.files import backend_arguments, load_inputs, where_arguments
from neurodeploy.cli.output import Output
from neurodeploy.cli.semantics import chosen_semantics, semantics_arguments
from neurodeploy.errors import FileError

if TYPE_CHECKING:
    from neurodeploy.program import Program


def _program(path: str) -> Program:
    from neurodeploy.program import Program

    return Program.load(path)


def _compile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a .nir graph, or a .net file of lava-dl")
    parser.add_argument("--target", required=True, help="see `neurodeploy targets`")
    parser.add_argument(
        "--calibration",
        required=True,
        help=".npy or .npz with spikes or analog values (samples, steps, *shape)",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="the .ndp program to write; or a folder/, which gets a bundle for the chip's owner "
        "where the target has one",
    )
    semantics_arguments(parser)


def _compile(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api

    semantics = chosen_semantics(arguments)
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
    semantics_arguments(parser)


def _convert(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api

    written = api.write(
        arguments.model,
        arguments.output,
        profile=arguments.profile,
        semantics=chosen_semantics(arguments),
        inputs=None if arguments.inputs is None else load_inputs(arguments.inputs),
    )
    tables.written(output, written)
    output.say(f"wrote {arguments.output}  sha256 {written.digest[:16]}…")
    output.result(tables.written_data(written))
    return 0


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program")
    parser.add_argument("--inputs", required=True, help=".npy or .npz, as for compile")
    parser.add_argument(
        "-o",
        "--output",
        help=".npz that gets what every population sends, and the potentials of outputs that are "
        "read as such as NAME.potential",
    )
    backend_arguments(parser, "run it there, not in the simulator")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.archive import write_atomically
    from neurodeploy.program import POTENTIAL

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
        arrays: dict[str, Any] = {name: trace.sent(name) for name in program.shapes}
        for name in program.outputs:
            if program.population(name).readout == "membrane":
                arrays[f"{name}.{POTENTIAL}"] = trace.values[name]
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


def _energy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", nargs="?", help="a .ndp program")
    parser.add_argument("--inputs", help=".npy or .npz, as for compile")
    parser.add_argument("--report", help="of a bundle's run on a chip: show what it measured, too")
    parser.add_argument("--level", help="performance level of the chip, if it has several")
    where_arguments(parser)
    parser.add_argument("--against", help="another .ndp program: which of the two costs less")
    parser.add_argument(
        "--validate",
        action="store_true",
        help="instead: predictions for published measurements, those that fail too",
    )


def _energy(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.cli import costs

    if arguments.validate:
        return _validate(output)
    if arguments.program is None or arguments.inputs is None:
        raise FileError("needed, or --validate", node="a program and --inputs")
    program, inputs = _program(arguments.program), load_inputs(arguments.inputs)
    elsewhere = None if arguments.report is None else api.read_report(arguments.report, program)
    measured = None if elsewhere is None else elsewhere.measured
    with output.progress("simulating") as progress:
        report = api.energy(
            program,
            inputs,
            level=arguments.level,
            progress=progress,
            scheduler=arguments.scheduler,
            state=arguments.state,
        )
    tables.energy(output, report)
    costs.sources(output, report)
    data = report.to_dict()
    if arguments.against:
        other = _program(arguments.against)
        ranking = api.rank(program, other, inputs, level=arguments.level)
        costs.ranking(output, ranking, arguments.program, arguments.against)
        data["ranking"] = ranking.to_dict()
    if elsewhere is not None and measured is not None:
        bundles.measured(output, elsewhere.title, measured, report.total)
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
        inspection.arguments,
        inspection.run,
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
    verifying.verify,
    verifying.diff,
    reporting.report,
    Command(
        "energy",
        "energy per inference: exact counts times cited constants, with intervals",
        "neurodeploy energy model.ndp --inputs spikes.npy --against other.ndp",
        _energy_arguments,
        _energy,
    ),
    exploring.explore,
    finetuning.finetune,
    Command(
        "targets", "list installed targets", "neurodeploy targets", _targets_arguments, _targets
    ),
)
