"""The shared training loop: seeds, figures, checkpoints, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.models import tensor_file, training

X = torch.arange(60.0).reshape(20, 3).sin()
Y = torch.arange(20) % 2


@dataclass(frozen=True)
class Recipe:
    epochs: int = 6
    batch_size: int = 7
    learning_rate: float = 0.1
    seed: int = 3


RECIPE = Recipe()
Schedule = Callable[[torch.optim.Optimizer], object]
SCHEDULES: dict[str, tuple[Schedule, str]] = {
    "one cycle": (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=18), "update"),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, 4), "epoch"),
    "plateau": (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0), "epoch"),
    "none": (lambda o: None, "update"),
}


def train(
    checkpoint: Path | None = None,
    recipe: Recipe = RECIPE,
    schedule: str = "one cycle",
    stop: int | None = None,
    x: Tensor = X,
) -> tuple[dict[str, Tensor], training.History]:
    """Train a net with dropout and batch norm; `stop` interrupts within that epoch."""
    calls = 0

    def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if stop is not None and calls > 3 * stop + 1:
            raise KeyboardInterrupt
        scores = net(x)
        return F.cross_entropy(scores, y), scores

    make, per = SCHEDULES[schedule]
    with training.session(recipe):
        net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
        history = training.fit(
            net,
            x,
            Y,
            recipe,
            loss=loss,
            optimizer=optimizer,
            schedule=make(optimizer),
            per=per,
            also=lambda: {"rate": optimizer.param_groups[0]["lr"]},
            checkpoint=checkpoint,
        )
    return net.state_dict(), history


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_interrupted_training_ends_as_it_would_have(tmp_path: Path, schedule: str) -> None:
    whole, history = train(schedule=schedule)
    path = tmp_path / "checkpoint.pt"
    for stop in (2, 1):  # within the third epoch, then within the second of the rest
        with pytest.raises(KeyboardInterrupt):
            train(path, schedule=schedule, stop=stop)
    assert len(tensor_file.read(path)["history"]) == 3
    resumed = train(path, schedule=schedule)
    assert same(whole, resumed[0])
    assert resumed[1] == history
    again = train(path, schedule=schedule, stop=0)  # it is complete: not one batch more
    assert same(whole, again[0])
    assert again[1] == history


def test_schedules_step_where_they_should() -> None:
    rates = {name: [epoch["rate"] for epoch in train(schedule=name)[1]] for name in SCHEDULES}
    assert rates["none"] == [0.1] * 6
    assert rates["cosine"] == pytest.approx(
        [0.0853553, 0.05, 0.0146447, 0, 0.0146447, 0.05], abs=1e-6
    )
    assert rates["one cycle"][-1] < 0.01
    assert rates["one cycle"][1] > 0.09
    losses = [epoch["loss"] for epoch in train(schedule="plateau")[1]]
    halved = 0.1
    for index, rate in enumerate(rates["plateau"]):
        halved /= 2 if index and losses[index] > min(losses[:index]) * (1 - 1e-4) else 1
        assert rate == halved


def test_seeds_and_the_generator_around() -> None:
    state = torch.get_rng_state()
    first = train()[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, train()[0])
    assert not same(first, train(recipe=replace(RECIPE, seed=4))[0])


def test_figures_are_of_the_batches() -> None:
    _, history = train()
    assert len(history) == RECIPE.epochs
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] * len(Y) == pytest.approx(
        round(history[-1]["accuracy"] * len(Y))
    )


def test_an_epoch_may_be_anything(tmp_path: Path) -> None:
    """A training without gradients: a running sum of random numbers."""

    class Sum:
        total = torch.zeros(1)

        def state_dict(self) -> dict[str, Tensor]:
            return {"total": self.total}

        def load_state_dict(self, state: dict[str, Tensor]) -> None:
            self.total = state["total"]

    def run(recipe: Recipe, path: Path | None, stop: int | None = None) -> float:
        part = Sum()

        def epoch(index: int) -> dict[str, float]:
            if index == stop:
                raise KeyboardInterrupt
            part.total = part.total + torch.rand(1)
            return {"total": part.total.item()}

        with training.session(recipe):
            history = training.loop(recipe, epoch, {"sum": part}, x=X, y=Y, checkpoint=path)
        return history[-1]["total"]

    path = tmp_path / "sum.pt"
    with pytest.raises(KeyboardInterrupt):
        run(RECIPE, path, stop=4)
    assert run(RECIPE, path) == run(RECIPE, None)


def test_checkpoints_of_other_trainings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(path)
    for recipe in (replace(RECIPE, epochs=7), replace(RECIPE, seed=4)):
        with pytest.raises(FileError, match="another recipe"):
            train(path, recipe)
    with pytest.raises(FileError, match="another recipe"):
        train(path, x=X + 1)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(path)
    tree = tensor_file.read(path)
    for damaged, message in (
        ([], "no checkpoint"),
        (tree | {"state": {}}, "KeyError"),
        (tree | {"generator": torch.zeros(3)}, "damaged"),
        (tree | {"state": tree["state"] | {"net": {}}}, "damaged"),
    ):
        tensor_file.write(path, damaged)
        with pytest.raises(FileError, match=message):
            train(path)
    path.write_bytes(b"weights")
    with pytest.raises(FileError, match="damaged"):
        train(path)


def test_impossible_recipes_are_refused_all_at_once() -> None:
    recipe = Recipe(epochs=0, batch_size=0, learning_rate=float("nan"), seed=-1)
    with pytest.raises(InputError) as caught:
        train(recipe=recipe)
    for name in ("epochs", "batch_size", "learning_rate", "seed"):
        assert name in str(caught.value)


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(ModelError, match="nan in epoch 1"):
        train(x=X * float("inf"))
