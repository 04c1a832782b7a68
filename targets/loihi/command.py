"""`neurodeploy lava`: the private environment in which Lava runs."""

from __future__ import annotations

import argparse

from neurodeploy.cli.command import Command
from neurodeploy.cli.output import Output
from neurodeploy.targets.loihi.lava import environment


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install", "status"))
    parser.add_argument("--python", help="a Python 3.10 interpreter; found by itself if left out")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.action == "install":
        found = environment.install(arguments.python, output.say)
    else:
        found = environment.locate()
    output.say(f"Lava environment: {found.python}")
    for name in ("lava-nc", "lava-dl"):
        output.say(f"  {name} {found.versions[name]}")
    output.result({"python": str(found.python), "versions": dict(found.versions)})
    return 0


command = Command(
    "lava",
    "install or show the private Python 3.10 environment that runs Intel's Lava",
    "neurodeploy lava install --python /usr/bin/python3.10",
    _arguments,
    _run,
)
"""What the entry point `neurodeploy.commands` names."""
