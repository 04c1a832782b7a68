"""`neurodeploy bundle`: a program as a folder for whoever has the chip; and what came back."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from neurodeploy.cli.command import Command
from neurodeploy.cli.files import load_inputs, load_labels
from neurodeploy.cli.output import Output
from neurodeploy.cli.tables import interval
from neurodeploy.errors import FileError

if TYPE_CHECKING:
    from neurodeploy.program import Program
    from neurodeploy.quantity import Quantity
    from neurodeploy.target import Report


def is_folder(path: str) -> bool:
    """Whether a path to write to means a folder: it is one, or ends as one."""
    return path.endswith(("/", os.sep)) or Path(path).is_dir()


def report(output: Output, run: Report) -> None:
    """What a run elsewhere was, and what it complained of."""
    output.say(f"\n[bold]Run elsewhere:[/] {escape(run.title)}, {run.samples} samples")
    for problem in run.problems:
        output.say(f"  [bold red]{escape(problem)}[/]")


def measured(
    output: Output, title: str, quantities: Mapping[str, Quantity], estimate: Quantity
) -> None:
    """What a run on a chip measured, and how the estimate of the total compares."""
    rows = [(name, *interval(quantity)) for name, quantity in quantities.items()]
    output.table(escape(title), ("", "mean", "least … most", "kind"), rows)
    energy = quantities.get("energy per inference")
    if energy is not None and energy.typical > 0:
        output.say(f"  estimate over measured: {estimate.typical / energy.typical:.3g}")


def elsewhere(arguments: argparse.Namespace, program: Program) -> Report | None:
    """The report of `verify --report`, which takes the place of a backend."""
    from neurodeploy import api

    if arguments.report is None:
        return None
    if arguments.no_vendor or arguments.backend is not None:
        raise FileError("is the vendor's runtime already", node="--report")
    return api.read_report(arguments.report, program)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program")
    parser.add_argument("--inputs", help=".npy or .npz with spikes; its golden traces if left out")
    parser.add_argument("--labels", help=".npy, or .npz with a member `labels`")
    parser.add_argument("-o", "--output", required=True, help="the folder to write")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy import api
    from neurodeploy.program import Program

    digest = api.bundle(
        Program.load(arguments.program),
        arguments.output,
        None if arguments.inputs is None else load_inputs(arguments.inputs),
        labels=None if arguments.labels is None else load_labels(arguments.labels),
    )
    output.say(f"wrote {arguments.output}  sha256 {digest[:16]}…")
    output.result({"folder": arguments.output, "sha256": digest})
    return 0


bundle = Command(
    "bundle",
    "write a program as a folder that runs on a board, and compares every spike there",
    "neurodeploy bundle model.ndp --inputs spikes.npz --labels labels.npy -o bundle/",
    _arguments,
    _run,
)
