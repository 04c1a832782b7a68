"""What commands print: text and tables for people, one JSON document for machines."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table


@dataclass(frozen=True)
class Output:
    """Where a command's result goes.

    With `as_json`, only `result` prints (one document on stdout) and all else is silent.
    """

    as_json: bool = False

    @property
    def _console(self) -> Console:
        return Console(highlight=False, quiet=self.as_json)

    def say(self, text: str = "") -> None:
        """A line of text; rich markup such as [bold] is understood."""
        self._console.print(text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; columns whose cells are numbers are right-aligned."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for index, column in enumerate(columns):
            numeric = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
            table.add_column(column, justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*(f"{c:,}" if isinstance(c, int) else str(c) for c in row))
        self._console.print(table)

    def result(self, data: Mapping[str, Any]) -> None:
        """The machine-readable result; printed with `--json` only."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, default=_plain) + "\n")

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar on stderr, if that is a terminal: call the value with (done, total)."""
        with self.phases() as phase:
            yield lambda done, total: phase(title, done, total)

    @contextlib.contextmanager
    def phases(self) -> Iterator[Callable[[str, int, int], None]]:
        """As `progress`, for one thing after another: call with (what, done, total)."""
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=None)
            yield lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total
            )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")
