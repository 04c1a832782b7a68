"""`neurodeploy explore`: the cheapest settings of a target that hold constraints."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rich.markup import escape

from neurodeploy.cli.command import Command
from neurodeploy.cli.files import load_inputs, load_labels, where_arguments
from neurodeploy.cli.output import Output
from neurodeploy.cli.semantics import chosen_semantics, semantics_arguments
from neurodeploy.quantity import engineering

if TYPE_CHECKING:
    from neurodeploy.exploration import Candidate, Exploration


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a .nir graph, or a .net file of lava-dl")
    parser.add_argument("--target", required=True, help="see `neurodeploy targets`")
    parser.add_argument("--inputs", required=True, help=".npy or .npz, as for compile")
    parser.add_argument("--labels", help=".npy, or .npz with a member `labels`")
    parser.add_argument(
        "--accuracy",
        type=float,
        help="least share of right decisions; by default the reference's less 0.01",
    )
    parser.add_argument("--energy", type=float, help="most, in J per inference")
    parser.add_argument("--cores", type=int, help="most")
    parser.add_argument("--budget", type=int, default=64, help="candidates to try at most")
    where_arguments(parser)
    parser.add_argument("-o", "--output", help="the .ndp program of the pick")
    semantics_arguments(parser)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.exploration import Constraints

    inputs, semantics = load_inputs(arguments.inputs), chosen_semantics(arguments)
    constraints = Constraints(arguments.accuracy, arguments.energy, arguments.cores)
    with output.progress("exploring") as progress:
        found = api.explore(
            arguments.model,
            target=arguments.target,
            inputs=inputs,
            labels=None if arguments.labels is None else load_labels(arguments.labels),
            constraints=constraints,
            budget=arguments.budget,
            scheduler=arguments.scheduler,
            state=arguments.state,
            semantics=semantics,
            progress=progress,
        )
    table(output, found)
    data = found.to_dict()
    if arguments.output and found.pick is not None:
        program = api.compile(
            arguments.model,
            target=arguments.target,
            calibration=inputs,
            semantics=semantics,
            settings=found.candidates[found.pick].settings,
        )
        digest = program.save(arguments.output)
        output.say(f"wrote {arguments.output}  sha256 {digest[:16]}…")
        data["file"] = arguments.output
    output.result(data)
    return 0 if found.pick is not None else 1


def table(output: Output, found: Exploration) -> None:
    """The Pareto front, what was flagged, and the pick with its reason."""
    what = "accuracy" if found.labelled else "agreement with the reference"
    rows = [
        (
            f"{index}{' *' if index == found.pick else ''}",
            _share(found.candidates[index]),
            _energy(found.candidates[index]),
            "-" if found.candidates[index].cores is None else str(found.candidates[index].cores),
            found.candidates[index].weight_bits,
            described(found.candidates[index]),
        )
        for index in found.front
    ]
    output.table(
        f"{found.target}: {len(found.front)} of {len(found.candidates)} candidates that no other "
        "beats",
        ("number", what, "energy", "cores", "bits of weights", "settings"),
        rows,
    )
    for index, candidate in enumerate(found.candidates):
        if candidate.silent:
            output.say(
                f"  [bold red]silent[/]: in number {index} ({escape(described(candidate))}) "
                f"{escape(', '.join(candidate.silent))} sends nothing"
            )
    output.say(f"reference: right in {found.reference.value:.1%} of {found.reference.trials}")
    pick = "no pick" if found.pick is None else f"pick: number {found.pick}"
    output.say(f"[bold]{pick}[/]: {escape(found.reason)}")


def described(candidate: Candidate) -> str:
    """Settings in words: what each population has that is not the target's own."""
    parts = [
        f"{name} {' '.join(f'{choice} {value:g}' for choice, value in own.items())}"
        for name, own in candidate.settings.items()
    ]
    return ", ".join(parts) or "the target's own"


def _share(candidate: Candidate) -> str:
    low, high = candidate.correct.interval
    return f"{candidate.correct.value:.1%} ({low:.1%} to {high:.1%})"


def _energy(candidate: Candidate) -> str:
    energy = candidate.energy
    if energy is None:
        return "unknown"
    low, median, high = (engineering(v, "J") for v in (energy.low, energy.typical, energy.high))
    return f"{median} ({low} to {high})"


explore = Command(
    "explore",
    "search a target's settings for the cheapest that hold constraints",
    "neurodeploy explore model.nir --target loihi2 --inputs spikes.npy --labels labels.npy "
    "--accuracy 0.95 --state search -o model.ndp",
    _arguments,
    _run,
)
