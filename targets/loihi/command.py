"""`neurodeploy lava`: the private environment in which Lava runs."""

from __future__ import annotations

import argparse

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
