"""`neurodeploy train`: what it writes, that it goes on, and what it says of a missing extra."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.cli.output import Output
from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.models import digits, system
from neurodeploy.models.data import load
from neurodeploy.models.train_command import command
from neurodeploy.reference import simulate

QUICK = ("--train-samples", "60", "--test-samples", "22", "--batch-size", "20", "--epochs", "2")


def train(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return command.run(parser.parse_args(arguments), Output())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained")
    assert train("baseline", "--data", "gestures", *QUICK, "--seed", "5", "-o", str(path)) == 0
    return path


def test_the_graph_is_of_the_trained_network(folder: Path) -> None:
    data = load("gestures", train=60, test=22)
    recipe = digits.Recipe(epochs=2, batch_size=20, seed=5)
    net = digits.train(data, recipe)
    network = nd.load(folder / "baseline.nir")
    decided = simulate(network, data.test_x).decisions(network.outputs[0])
    accuracy = digits.evaluate(net, data.test_x, data.test_y)
    assert np.mean(decided == data.test_y) == pytest.approx(accuracy, abs=0.046)  # one sample
    card = json.loads((folder / "card.json").read_text())
    assert card["accuracy"]["typical"] == accuracy
    assert card["recipe"]["seed"] == 5


def test_the_card_says_that_the_data_is_synthetic(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    assert card["data"]["synthetic"]
    assert card["accuracy"]["kind"] == "measured"
    text = (folder / "card.md").read_text()
    assert "synthetic stand-in" in text
    assert f"{100 * card['accuracy']['typical']:.2f} %" in text
    assert not any(key in card for key in ("correct", "split"))


def test_the_same_command_goes_on_and_another_one_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    options = ("baseline", "--data", "gestures", *QUICK, "-o", str(folder))
    assert train(*options, "--seed", "5") == 0
    assert "going on from" in capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after["card.json"] == before["card.json"]
    with pytest.raises(FileError, match="another recipe"):
        train(*options, "--seed", "6")


def test_an_interrupted_command_leaves_a_checkpoint_to_go_on_from(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("baseline", "--data", "gestures", *QUICK, "--seed", "5", "-o", str(tmp_path))
    calls = 0

    def interrupted(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 4:  # of 3 in an epoch
            raise KeyboardInterrupt
        return loss(*arguments)

    loss = digits.loss
    monkeypatch.setattr(digits, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(*options)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert train(*options) == 0
    for name in ("card.json", "baseline.nir"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("perceptron",), ModelError, "baseline"),
        (("baseline", "--data", "imagenet"), InputError, "glyphs28"),
        (("baseline", "--epochs", "0"), InputError, "epochs is 0"),
        (("baseline", "--data", "nmnist"), InputError, "nothing is downloaded"),
    ],
)
def test_bad_arguments_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(*arguments, "-o", str(tmp_path / "new"))


@pytest.mark.parametrize("missing", ["torch", "snntorch", "tqdm", "sklearn"])
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [n for n in sys.modules if n.startswith(("neurodeploy.models.digits", missing))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("training", "layerwise", "tensor_file"):
        monkeypatch.delitem(sys.modules, f"{system.__name__.rpartition('.')[0]}.{name}", False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelError, match=rf"needs {missing}.*neurodeploy-snn\[models\]"):
        train("baseline", "-o", str(tmp_path))
