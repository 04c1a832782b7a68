"""Ctrl-C in the middle of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def interrupted_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which raises KeyboardInterrupt after so many calls."""
    left = iter(range(calls))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return interrupted
