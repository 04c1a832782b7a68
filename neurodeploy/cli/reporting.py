"""`neurodeploy report`: programs for several targets on one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from neurodeploy.cli import tables
from neurodeploy.cli.command import Command
from neurodeploy.cli.files import load_inputs, load_labels, load_spikes
from neurodeploy.cli.output import Output


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("programs", nargs="+", help=".ndp programs for the same model")
    parser.add_argument("--inputs", required=True, help=".npy or .npz, as for compile")
    parser.add_argument("--labels", help=".npy, or .npz with a member `labels`")
    parser.add_argument(
        "--source", help=".npz with the source framework's own spikes, one array per population"
    )
    parser.add_argument("--no-vendor", action="store_true", help="leave vendors' runtimes out")
    parser.add_argument("--title", default="One model, many targets")
    parser.add_argument("-o", "--output", required=True, help="the .html page to write")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.errors import TargetError
    from neurodeploy.pages.targets import Deployed, compare_targets
    from neurodeploy.program import Program
    from neurodeploy.target import Places, get_target

    inputs = load_inputs(arguments.inputs)
    labels = None if arguments.labels is None else load_labels(arguments.labels)
    source = None if arguments.source is None else load_spikes(arguments.source)
    deployed = []
    for path in arguments.programs:
        program = Program.load(path)
        with output.phases() as progress:
            verdict = api.verify(
                program,
                inputs,
                labels=labels,
                source=source,
                vendor_samples=None if arguments.no_vendor else 100,
                progress=progress,
            )
        try:
            energy = api.energy(program, inputs)
        except TargetError as error:
            energy = None
            output.say(f"{path}: no energy: {error}")
        placed = isinstance(get_target(program.target), Places)
        placement = api.place(program) if placed else None
        deployed.append(Deployed(path, program, verdict, energy, placement))
        output.say(f"{tables.BADGES[verdict.status]} {path}")
    compare_targets(Path(arguments.output), deployed, title=arguments.title)
    output.say(f"wrote {arguments.output}")
    verdicts = {one.name: one.verdict.to_dict() for one in deployed}
    output.result({"page": arguments.output, "verdicts": verdicts})
    return 1 if any(one.verdict.status == "failed" for one in deployed) else 0


report = Command(
    "report",
    "verify programs for several targets and show them side by side on one HTML page",
    "neurodeploy report loihi.ndp spinnaker.ndp --inputs spikes.npy -o targets.html",
    _arguments,
    _run,
)
