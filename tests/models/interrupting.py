"""Ctrl-C in the middle of a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn


def interrupted_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which raises KeyboardInterrupt after so many calls."""
    left = iter(range(calls))

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return interrupted


def check_interrupted(
    train: Callable[[Path], nn.Module], net: nn.Module, updates: int, path: Path
) -> None:
    """A training that is interrupted at an update ends as `net` once it goes on, and if repeated.

    `train` trains with a checkpoint at the path that it gets.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.autograd, "backward", interrupted_after(updates, torch.autograd.backward)
        )
        with pytest.raises(KeyboardInterrupt):
            train(path)
    assert path.exists()
    for found in (train(path).state_dict(), train(path).state_dict()):
        assert all(torch.equal(value, found[name]) for name, value in net.state_dict().items())
