"""What a program file proves of itself: its certificate, and its golden traces run again."""

from __future__ import annotations

import argparse
from typing import Any

from neurodeploy.cli import tables
from neurodeploy.cli.output import Output
from neurodeploy.errors import FileError
from neurodeploy.program import Program


def certificate(program: Program, output: Output) -> dict[str, Any]:
    """Print the certificate and return it as plain data; nothing where the target has none."""
    from neurodeploy.bounds import Certifies
    from neurodeploy.equivalence.certificate import certify
    from neurodeploy.target import get_target

    target = get_target(program.target)
    if not isinstance(target, Certifies):
        return {}
    found = certify(program, target)
    tables.certificate(output, found)
    return {"certificate": found.to_dict()}


def replay(arguments: argparse.Namespace, output: Output) -> int:
    """`verify` without inputs."""
    from neurodeploy.equivalence.golden import replay

    if arguments.labels or arguments.page or arguments.report:
        raise FileError("needed for labels, a report or a page", node="--inputs")
    program = Program.load(arguments.program)
    stage = replay(program)
    tables.stage(output, stage)
    output.result({"program": program.hash, "target": program.target, "stage": stage.to_dict()})
    return 0 if stage.status == "passed" else 1
