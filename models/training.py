"""The loop that all training systems share: epochs, progress, seeds, checkpoints.

A system builds its network inside `session`, and then calls `fit` (mini-batches, any loss, any
optimiser and schedule of torch), or `loop` where its epoch is something else, such as a training
without gradients.

::

    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
        fit(net, x, y, recipe, loss=loss, optimizer=optimizer, checkpoint=checkpoint)
    return net.eval()
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.models import tensor_file
from neurodeploy.models.system import Recipe

FORMAT = "neurodeploy-checkpoint-1"

History = tuple[dict[str, float], ...]
"""The figures of each epoch, such as loss and accuracy."""
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(samples, labels) -> (the batch's loss, scores (N, classes) whose argmax is the decision)."""


class Stateful(Protocol):
    """What a checkpoint keeps: tensors and plain data."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@contextmanager
def session(recipe: Recipe) -> Iterator[None]:
    """Seeded by the recipe, on one torch thread; afterwards torch's generator is as it was.

    Everything random in a training is drawn from torch's own generator inside of a session, the
    initial weights first.

    Raises
    ------
    InputError: if the recipe says an impossible number; all of them at once.
    """
    found = [
        f"{name} is {getattr(recipe, name)}, not at least 1"
        for name in ("epochs", "batch_size")
        if getattr(recipe, name) < 1
    ]
    if not 0 < recipe.learning_rate < math.inf:
        found.append(f"learning_rate is {recipe.learning_rate}, not a number above 0")
    if not 0 <= recipe.seed < 2**63:
        found.append(f"seed is {recipe.seed}, not within 0..2^63-1")
    if found:
        raise InputError("; ".join(found), node="recipe")
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: the tensors are too small to share, and other programs may be running."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fit(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: Stateful | None = None,
    per: Literal["update", "epoch"] = "update",
    also: Callable[[], Mapping[str, float]] | None = None,
    checkpoint: Path | None = None,
) -> History:
    """Train `net` by mini-batches in random order, in place; its mode is left as training.

    Parameters
    ----------
    x: samples, first axis N, of any dtype; `loss` gets batches of them.
    y: labels int64 (N,).
    schedule: of the learning rate, stepped after each update or after each epoch (`per`); one that
        wants a metric (`ReduceLROnPlateau`) gets the epoch's mean loss, after each epoch.
    also: more figures of an epoch, taken after it; must leave torch's generator and the parameters
        as they are.
    checkpoint: see `loop`.

    Returns
    -------
    For each epoch the mean "loss" and the "accuracy" on the batches as they were trained, and what
    `also` gave.

    Raises
    ------
    ModelError: if the loss is no longer finite.
    FileError: for a checkpoint of another training.
    """

    def epoch(index: int) -> dict[str, float]:
        net.train()
        total, correct = 0.0, 0
        for batch in torch.split(torch.randperm(len(y)), recipe.batch_size):
            value, scores = loss(x[batch], y[batch])
            if not torch.isfinite(value):
                raise ModelError(
                    f"the loss is {value.item()} in epoch {index + 1}",
                    node="training",
                    hint=f"A learning rate below {recipe.learning_rate:g} may help.",
                )
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            if per == "update" and schedule is not None and not plateau:
                schedule.step()  # type: ignore[attr-defined]
            total += value.item() * len(batch)
            correct += int((scores.argmax(1) == y[batch]).sum())
        figures = {"loss": total / len(y), "accuracy": correct / len(y)}
        if plateau:
            schedule.step(figures["loss"])  # type: ignore[union-attr]
        elif per == "epoch" and schedule is not None:
            schedule.step()  # type: ignore[attr-defined]
        return figures if also is None else figures | dict(also())

    plateau = isinstance(schedule, ReduceLROnPlateau)
    state: dict[str, Stateful] = {"net": net, "optimizer": optimizer}
    if schedule is not None:
        state["schedule"] = schedule
    return loop(recipe, epoch, state, x=x, y=y, checkpoint=checkpoint)


def loop(
    recipe: Recipe,
    epoch: Callable[[int], Mapping[str, float]],
    state: Mapping[str, Stateful],
    *,
    x: Tensor,
    y: Tensor,
    checkpoint: Path | None = None,
) -> History:
    """Call `epoch(0)`, `epoch(1)`, … and keep a checkpoint after each; returns their figures.

    The checkpoint holds `state`, the history and the state of torch's generator, and is written
    atomically: whenever a training is interrupted, the same call goes on after the last whole
    epoch, to the result that it would have had.  A progress bar on stderr, if that is a terminal,
    shows the last figures.

    Parameters
    ----------
    epoch: one unit of work that takes seconds rather than milliseconds, as each is written.
    state: everything that an epoch changes.
    x, y: what is trained on; with the recipe they tell one training from another.

    Raises
    ------
    FileError: if the checkpoint is damaged, or of another recipe or other data.
    """
    identity = _identity(recipe, x, y) if checkpoint is not None else ""
    history: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        history = _resume(checkpoint, identity, state)
    epochs = range(len(history), recipe.epochs)
    bar = tqdm(
        epochs,
        desc="train",
        unit="epoch",
        disable=None,
        initial=len(history),
        total=recipe.epochs,
    )
    for index in bar:
        figures = {name: float(value) for name, value in epoch(index).items()}
        history.append(figures)
        bar.set_postfix({name: f"{value:.3f}" for name, value in figures.items()})
        if checkpoint is not None:
            tree = {
                "format": FORMAT,
                "identity": identity,
                "history": history,
                "generator": torch.get_rng_state(),
                "state": {name: part.state_dict() for name, part in state.items()},
            }
            tensor_file.write(checkpoint, tree)
    return tuple(history)


def _identity(recipe: Recipe, x: Tensor, y: Tensor) -> str:
    """A hash of all that decides what a training results in, the code aside."""
    kind = type(recipe)
    plain = [kind.__module__, kind.__qualname__, dataclasses.asdict(recipe)]  # type: ignore[call-overload]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for tensor in (x, y):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


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
