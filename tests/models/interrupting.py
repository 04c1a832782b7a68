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


def interrupted_and_resumed(
    train: Callable[[Path], nn.Module], updates: int, path: Path
) -> dict[str, torch.Tensor]:
    """The parameters of a training that was interrupted at an update, and then went on.

    `train` trains with a checkpoint at the path that it gets.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.autograd, "backward", interrupted_after(updates, torch.autograd.backward)
        )
        with pytest.raises(KeyboardInterrupt):
            train(path)
    assert path.exists()
    resumed = train(path).state_dict()
    finished = train(path).state_dict()
    assert all(torch.equal(value, finished[name]) for name, value in resumed.items())
    return resumed
