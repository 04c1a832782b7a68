"""Every error a person can meet, with the data to act on it.

An error names the node, the rule, the value, the limit and what to do.  `str(error)` is one line;
the fields are for programs (`--json`).  The command line turns a `NeurodeployError` into that one
line and exit code 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class NeurodeployError(Exception):
    """Base class of all errors of this package.

    Parameters
    ----------
    message:
        What is wrong, in one sentence.
    node:
        The graph node, module path or file that the message is about.
    hint:
        What to do about it.
    """

    def __init__(self, message: str, *, node: str | None = None, hint: str | None = None) -> None:
        self.message = " ".join(message.split())
        self.node = node
        self.hint = hint
        super().__init__(self.message)

    def __reduce__(self) -> Any:
        return _again, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        text = self.message if self.node is None else f"{self.node}: {self.message}"
        return text if self.hint is None else f"{text.rstrip('.')}. {self.hint}"

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data, for `--json`."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "node": self.node,
            "hint": self.hint,
        }


def _again(
    kind: type[NeurodeployError], args: tuple[Any, ...], fields: dict[str, Any]
) -> NeurodeployError:
    """An error that comes from another process."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class FileError(NeurodeployError):
    """A file is missing, truncated, of another format, or says something impossible."""


class InputError(NeurodeployError):
    """An array or argument has the wrong shape, dtype or value."""


class ModelError(NeurodeployError):
    """A model or graph holds something that has no exact meaning here."""


class SemanticsError(NeurodeployError):
    """The model's execution semantics and the target's cannot be reconciled."""


class TargetError(NeurodeployError):
    """A target is unknown, broken or cannot do what was asked."""


class LavaError(TargetError):
    """The Lava environment is missing, wrong, crashed, hung or answered garbage."""


@dataclass(frozen=True)
class Violation:
    """One broken design rule.

    `rule` is a stable id such as `loihi2.vth-bits`; `measured` and `limit` are in `unit`.
    """

    rule: str
    node: str
    measured: float
    limit: float
    unit: str
    source: str
    fix: str

    def __str__(self) -> str:
        return (
            f"{self.node}: {self.rule}: {self.measured:g} > {self.limit:g} {self.unit}. {self.fix}"
        )


class DesignRuleError(NeurodeployError):
    """A program breaks design rules of its chip; all of them are in `violations`."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        self.violations = violations
        count = len(violations)
        super().__init__(
            f"{count} design rule{'s' * (count != 1)} broken: "
            + "; ".join(str(violation) for violation in violations)
        )

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data, with all violations."""
        return {**super().to_dict(), "violations": [vars(v) for v in self.violations]}


def combined(problems: Sequence[NeurodeployError], what: str) -> NeurodeployError:
    """The one error, or one that says them all: so many of `what` cannot be lowered."""
    if len(problems) == 1:
        return problems[0]
    text = "; ".join(str(problem) for problem in problems)
    return SemanticsError(f"{len(problems)} {what} cannot be lowered: {text}")
