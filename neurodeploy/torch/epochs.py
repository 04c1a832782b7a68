"""Epochs with checkpoints: what every training here goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from neurodeploy.errors import FileError
from neurodeploy.torch import tensor_file

FORMAT = "neurodeploy-checkpoint-1"

History = tuple[dict[str, float], ...]
"""The figures of each epoch, such as loss and accuracy."""


class Stateful(Protocol):
    """What a checkpoint keeps: tensors and plain data."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's own generator starts from `seed` inside; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def run_epochs(
    epochs: int,
    epoch: Callable[[int], Mapping[str, float]],
    state: Mapping[str, Stateful],
    *,
    identity: str,
    checkpoint: Path | None = None,
    progress: Callable[[int, int, Mapping[str, float]], None] | None = None,
) -> History:
    """Call `epoch(0)`, `epoch(1)`, … and keep a checkpoint after each; returns their figures.

    The checkpoint holds `state`, the history and the state of torch's generator, and is written
    atomically: whenever a training is interrupted, the same call goes on after the last whole
    epoch, to the result that it would have had.

    Parameters
    ----------
    epoch: one unit of work that takes seconds rather than milliseconds, as each is written.
    state: everything that an epoch changes.
    identity: of all that decides what the training results in; tells one training from another.
    progress: called with (epochs done, epochs, figures of the last one).

    Raises
    ------
    FileError: if the checkpoint is damaged, or of another training.
    """
    history: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        history = _resume(checkpoint, identity, state)
    if progress is not None:
        progress(len(history), epochs, history[-1] if history else {})
    for index in range(len(history), epochs):
        history.append({name: float(value) for name, value in epoch(index).items()})
        if checkpoint is not None:
            tree = {
                "format": FORMAT,
                "identity": identity,
                "history": history,
                "generator": torch.get_rng_state(),
                "state": {name: part.state_dict() for name, part in state.items()},
            }
            tensor_file.write(checkpoint, tree)
        if progress is not None:
            progress(len(history), epochs, history[-1])
    return tuple(history)


def _resume(path: Path, identity: str, state: Mapping[str, Stateful]) -> list[dict[str, float]]:
    tree = tensor_file.read(path)
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise FileError("is no checkpoint of a training", node=str(path))
    if tree.get("identity") != identity:
        raise FileError(
            "is a checkpoint of another recipe, system or data set",
            node=str(path),
            hint="Name another file, or delete this one.",
        )
    try:
        history = [{str(k): float(v) for k, v in epoch.items()} for epoch in tree["history"]]
        for name, part in state.items():
            part.load_state_dict(tree["state"][name])
        torch.set_rng_state(tree["generator"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise FileError(
            f"is a damaged checkpoint ({type(error).__name__}: {error})", node=str(path)
        ) from error
    return history
