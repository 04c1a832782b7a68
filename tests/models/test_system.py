"""The interface of training systems, and what `Data` refuses."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest
from torch import nn

from neurodeploy.errors import InputError, ModelError
from neurodeploy.models import system as interface
from neurodeploy.models.data import load
from neurodeploy.models.system import Ablation, Arm, Data
from tests.pages_of_docs import check, row

GOOD = {
    "name": "made",
    "train_x": np.zeros((4, 1, 3, 3), np.float32),
    "train_y": np.arange(4),
    "test_x": np.zeros((2, 1, 3, 3), np.float32),
    "test_y": np.arange(2),
    "classes": 4,
    "source": "zeros",
    "synthetic": True,
}


@pytest.mark.parametrize("name", interface.SYSTEMS)
def test_systems_have_the_interface(name: str) -> None:
    found = interface.system(name)
    assert dataclasses.is_dataclass(found.RECIPE)
    assert type(found.RECIPE)() == found.RECIPE
    for function in ("build", "train", "evaluate", "deploy", "describe", "ablation"):
        expected = list(inspect.signature(getattr(interface.System, function)).parameters)[1:]
        assert list(inspect.signature(getattr(found, function)).parameters)[: len(expected)] == (
            expected
        )
    card = found.describe()
    assert json.loads(json.dumps(card)) == card
    assert {"name", "title", "paper", "known", "ours", "neuron", "encoding", "decision"} <= set(
        card
    )
    net = found.build(found.RECIPE, (1, 8, 8), 10)
    assert isinstance(net, nn.Module)


def test_the_documentation_lists_the_systems() -> None:
    cards = [interface.system(name).describe() for name in interface.SYSTEMS]
    rows = [row("system", "what it is", "after"), row("---", "---", "---")]
    rows += [row(f"`{card['name']}`", card["title"], card["paper"]) for card in cards]
    check("models.md", "systems", "\n".join(rows))


def test_an_unknown_system_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ModelError, match="baseline"):
        interface.system("perceptron")


def test_data_knows_its_shape() -> None:
    images = load("digits", train=5, test=3)
    assert (images.shape, images.steps) == ((1, 8, 8), None)
    assert (len(images.train_y), len(images.test_y)) == (5, 3)
    events = Data(
        **(
            GOOD
            | {k: np.zeros((4, 7, 2, 3, 3), np.uint8) for k in ("train_x",)}
            | {"test_x": np.zeros((2, 7, 2, 3, 3), np.uint8)}
        )
    )
    assert (events.shape, events.steps) == ((2, 3, 3), 7)


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"train_x": np.zeros((4, 1, 3, 3))}, ["float64"]),
        ({"test_x": np.full((2, 1, 3, 3), 1.5, np.float32)}, ["1.5"]),
        ({"test_x": np.full((2, 1, 3, 3), np.nan, np.float32)}, ["nan"]),
        ({"test_x": np.full((2, 5, 1, 3, 3), 2, np.uint8)}, ["0 and 1", "but test samples"]),
        ({"train_x": np.zeros((4, 3, 3), np.float32)}, ["(4, 3, 3)"]),
        ({"train_x": np.zeros((0, 1, 3, 3), np.float32)}, ["(0, 1, 3, 3)", "labels"]),
        ({"test_x": np.zeros((2, 1, 3, 4), np.float32)}, ["(1, 3, 4)"]),
        ({"train_y": np.arange(4.0), "test_y": np.array([0, 4])}, ["float64", "0..4"]),
    ],
)
def test_impossible_data_is_refused_all_at_once(change: dict, messages: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Data(**(GOOD | change))
    for message in messages:
        assert message in str(caught.value)


def test_arms_have_mean_and_spread() -> None:
    ablation = Ablation(
        "c", "m", "1", "digits", (0, 1), (Arm("a", (0.5, 0.7)), Arm("b", (1,))), "o"
    )
    assert ablation["a"].mean == pytest.approx(0.6)
    assert ablation["a"].spread == pytest.approx(0.141421, rel=1e-5)
    assert ablation["b"].spread == 0
