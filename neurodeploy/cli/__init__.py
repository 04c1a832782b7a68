"""The command line: `neurodeploy COMMAND …`.

Exit codes: 0 success, 1 a verification failed or did not run, 2 bad input or usage, 130
interrupted.
Commands of targets and models come in through the entry-point group `neurodeploy.commands`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from neurodeploy._version import __version__
from neurodeploy.cli.command import Command
from neurodeploy.cli.commands import COMMANDS
from neurodeploy.cli.output import Output
from neurodeploy.errors import InputError, NeurodeployError

GROUP = "neurodeploy.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    commands = [*COMMANDS, *_contributed()]
    parser = _parser(commands)
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    output = Output(as_json=arguments.json)
    command = next(command for command in commands if command.name == arguments.command)
    try:
        return command.run(arguments, output)
    except NeurodeployError as error:
        return _report(error, as_json=arguments.json)
    except MemoryError:
        full = InputError("not enough memory", hint="Use fewer samples or steps at once.")
        return _report(full, as_json=arguments.json)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def _report(error: NeurodeployError, *, as_json: bool) -> int:
    """One clear line on stderr, or one JSON object on stdout."""
    if as_json:
        sys.stdout.write(json.dumps(error.to_dict()) + "\n")
    else:
        sys.stderr.write(f"neurodeploy: {error}\n")
    return 2


def _contributed() -> list[Command]:
    """Commands of installed targets and models; one that cannot be loaded is named on stderr."""
    found: list[Command] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found.append(entry.load())
        except Exception as error:  # a plug-in may raise anything
            sys.stderr.write(
                f"neurodeploy: the command {entry.name!r} could not be loaded "
                f"({type(error).__name__}: {error})\n"
            )
    return found


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neurodeploy",
        description="Compile, verify and cost spiking networks for neuromorphic chips.",
        epilog="Example: neurodeploy compile model.nir --target loihi2 --calibration spikes.npy "
        "-o model.ndp",
    )
    parser.add_argument("--version", action="version", version=f"neurodeploy {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            epilog=f"Example: {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
        sub.add_argument("--json", action="store_true", help="print one JSON document")
        sub.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    return parser
