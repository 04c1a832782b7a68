"""`neurodeploy lava`: the environment in which Lava runs; `neurodeploy net`: files for NetX."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from neurodeploy.cli.command import Command
from neurodeploy.cli.output import Output
from neurodeploy.targets.loihi.lava import environment


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install", "status"))
    parser.add_argument(
        "--python", help="an interpreter of Python 3.10 to 3.13; found by itself if left out"
    )


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.action == "install":
        found = environment.install(arguments.python, output.say)
    else:
        found = environment.locate()
    output.say(f"Lava environment: {found.python}")
    output.say(f"  {found.title}")
    output.say(f"  lava-dl {found.versions.get('lava-dl', 'missing')}")
    versions = dict(found.versions)
    output.result({"python": str(found.python), "versions": versions, "shim": found.shimmed})
    return 0


command = Command(
    "lava",
    "install or show the private environment that runs Intel's Lava",
    "neurodeploy lava install --python /usr/bin/python3.10",
    _arguments,
    _run,
)
"""What the entry point `neurodeploy.commands` names."""


def _net_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", help="a .ndp program for loihi2")
    parser.add_argument("-o", "--output", required=True, help="the .net file to write")


def _net(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy.program import Program
    from neurodeploy.targets.loihi.netx import Options, write_net

    options = asdict(write_net(Program.load(arguments.program), arguments.output))
    default = asdict(Options())
    told = [f"{name}={value}" for name, value in options.items() if value != default[name]]
    output.say(f"wrote {arguments.output}")
    if told:
        output.say(f"NetX must be told: {', '.join(told)}")
    output.result({"file": arguments.output, "options": options})
    return 0


net = Command(
    "net",
    "write a program for Loihi 2 as a .net file for lava-dl's NetX",
    "neurodeploy net model.ndp -o model.net",
    _net_arguments,
    _net,
)
"""What the entry point `neurodeploy.commands` names, too."""
