"""`neurodeploy export-c`: a fixed-point program as C."""

from __future__ import annotations

import argparse

from neurodeploy.cli.command import Command
from neurodeploy.cli.output import Output
from neurodeploy.program import Program
from neurodeploy.targets.cpu.export import write_c


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program of a fixed-point target")
    parser.add_argument("-o", "--output", required=True, help="the .c file to write")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    program = Program.load(arguments.program)
    write_c(program, arguments.output)
    output.say(f"wrote {arguments.output}")
    output.result({"file": arguments.output, "program": program.hash})
    return 0


command = Command(
    "export-c",
    "write a fixed-point program as one C file",
    "neurodeploy export-c model.ndp -o model.c",
    _arguments,
    _run,
)
"""What the entry point `neurodeploy.commands` names."""
