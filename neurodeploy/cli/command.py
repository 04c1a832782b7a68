"""What a command is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from neurodeploy.cli.output import Output


@dataclass(frozen=True)
class Command:
    """A subcommand: its name, one line of help, an example, its arguments, and what it does.

    `run` returns the exit code and raises `NeurodeployError` for what a person can mend.
    """

    name: str
    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Output], int]
