"""The demo's data, encoding, network, training and file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from neurodeploy.errors import FileError, InputError
from neurodeploy.models import digits
from neurodeploy.models.data import load
from neurodeploy.models.digits_data import TEST_SIZE, Digits, encode, load_data, split
from neurodeploy.models.layerwise import spikes_per_layer

IMAGES = hnp.arrays(np.uint8, (2, 8, 8), elements=st.integers(0, 16))
SMALL = replace(digits.RECIPE, epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def data() -> Digits:
    return load_data()


@pytest.fixture
def net() -> nn.Sequential:
    return digits.load()


# --- data


def test_split_is_disjoint_complete_and_stratified(data: Digits) -> None:
    labels = np.concatenate([data.train_labels, data.test_labels])
    train, test = split(labels)
    assert len(train) == len(data.train_images) == 1347
    assert len(test) == len(data.test_images) == TEST_SIZE
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    expected = np.bincount(labels) * TEST_SIZE / len(labels)
    assert np.all(np.abs(np.bincount(labels[test]) - expected) < 1)


def test_no_image_is_in_both_parts(data: Digits) -> None:
    train = {image.tobytes() for image in data.train_images}
    assert not any(image.tobytes() in train for image in data.test_images)


def test_split_is_the_one_the_shipped_network_was_trained_with(data: Digits) -> None:
    digest = hashlib.sha256(data.test_images.tobytes() + data.test_labels.astype("<i8").tobytes())
    assert digest.hexdigest().startswith("690b4d3329b59ad4")
    assert not np.array_equal(load_data(seed=1).test_labels, data.test_labels)


def test_data_and_encoding_need_no_torch() -> None:
    code = (
        "import sys; from neurodeploy.models.digits_data import encode, load_data\n"
        "encode(load_data().test_images); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- encoding


@given(IMAGES)
def test_a_pixel_spikes_as_often_as_its_value(images: np.ndarray) -> None:
    spikes = encode(images)
    assert spikes.shape == (2, 16, 1, 8, 8)
    assert spikes.dtype == np.uint8
    assert spikes.max() <= 1
    assert np.array_equal(spikes.sum(axis=(1, 2)), images)


def test_the_system_sees_the_same_spikes(data: Digits) -> None:
    assert np.array_equal(digits.encode(load("digits").test_x), encode(data.test_images))


@given(IMAGES, st.integers(1, 50))
def test_spikes_are_evenly_spaced(images: np.ndarray, steps: int) -> None:
    totals = encode(images, steps)[:, :, 0].astype(int).cumsum(axis=1)
    times = np.arange(1, steps + 1)[:, np.newaxis, np.newaxis]
    due = times * images[:, np.newaxis] / 16
    assert np.all((totals <= due) & (due < totals + 1))


@pytest.mark.parametrize(
    ("images", "steps"),
    [
        (np.full((1, 8, 8), 17), 16),
        (np.full((1, 8, 8), -1), 16),
        (np.zeros((1, 8, 8)), 16),
        (np.zeros((8, 8), np.uint8), 16),
        (np.zeros((1, 8, 8), np.uint8), 0),
    ],
)
def test_impossible_images_are_refused(images: np.ndarray, steps: int) -> None:
    with pytest.raises(InputError):
        encode(images, steps)


# --- network


def test_network_is_the_documented_one(net: nn.Sequential) -> None:
    names = " ".join(name for name, _ in net.named_children())
    assert names == "conv1 norm1 lif1 pool1 conv2 norm2 lif2 pool2 flatten dropout fc lif3"
    neurons = [layer for layer in net if isinstance(layer, snn.Leaky)]
    assert len(neurons) == 3
    for neuron in neurons:
        assert neuron.beta == torch.tensor(0.9)
        assert neuron.threshold == 1
        assert neuron.reset_mechanism == "subtract"
        assert neuron.reset_delay
        assert neuron.init_hidden


def test_layer_by_layer_is_step_by_step(net: nn.Sequential, data: Digits) -> None:
    steps = _steps(encode(data.test_images[:64]))
    with torch.no_grad():
        layers = spikes_per_layer(net, steps)["lif3"]
        for layer in net:
            if isinstance(layer, snn.Leaky):
                layer.reset_mem()
        plain = torch.stack([net(step) for step in steps])
    assert plain.sum() > 500
    # sums of another order may end on the other side of a threshold, but hardly ever
    assert (layers != plain).float().mean() < 1e-3


def test_shipped_network_is_as_accurate_as_described(net: nn.Sequential, data: Digits) -> None:
    accuracy = digits.evaluate(net, encode(data.test_images), data.test_labels)
    card = digits.describe()
    assert accuracy >= 0.96
    assert accuracy == card["accuracy"]["typical"] == card["correct"] / TEST_SIZE
    assert json.loads(json.dumps(card)) == card


def test_evaluation_starts_from_zero_state(net: nn.Sequential, data: Digits) -> None:
    images, labels = encode(data.test_images[:100]), data.test_labels[:100]
    accuracy = digits.evaluate(net, images, labels)
    net(torch.ones(100, 1, 8, 8))
    assert digits.evaluate(net, images, labels) == accuracy


def test_a_tie_goes_to_the_lowest_class(net: nn.Sequential) -> None:
    nn.init.zeros_(net.fc.weight)
    with torch.no_grad():
        net.fc.bias.copy_(torch.tensor([0.0, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]))
    spikes = encode(np.zeros((10, 8, 8), np.uint8))
    assert digits.evaluate(net, spikes, np.full(10, 2)) == 1
    assert digits.evaluate(net, spikes, np.arange(10)) == 0.1


@pytest.mark.parametrize(
    ("spikes", "labels"),
    [
        (np.zeros((2, 16, 8, 8)), np.zeros(2, int)),
        (np.zeros((0, 16, 1, 8, 8)), np.zeros(0, int)),
        (np.full((2, 16, 1, 8, 8), 2), np.zeros(2, int)),
        (np.zeros((2, 16, 1, 8, 8), np.uint8), np.zeros(3, int)),
        (np.zeros((2, 16, 1, 8, 8), np.uint8), np.zeros(2)),
        (np.zeros((2, 16, 1, 8, 8), np.uint8), np.full(2, 10)),
        (np.full((2, 1, 8, 8), 1.5, np.float32), np.zeros(2, int)),
    ],
)
def test_impossible_samples_are_refused(
    net: nn.Sequential, spikes: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(InputError):
        digits.evaluate(net, spikes, labels)


# --- training


def test_one_epoch_lowers_the_loss_and_is_reproducible(data: Digits) -> None:
    few = load("digits", train=128)
    state = torch.get_rng_state()
    first = digits.train(few, SMALL)
    again = digits.train(few, SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    assert _same(first, again)
    assert not first.training

    torch.manual_seed(SMALL.seed)
    before = digits.build(SMALL)
    steps = _steps(encode(data.train_images[:128]))
    targets = torch.from_numpy(data.train_labels[:128])
    losses = []
    for net in (before, first):
        with torch.no_grad():
            layers = spikes_per_layer(net.train(), steps)
        losses.append(digits.loss(layers, targets).item())
    assert losses[1] < losses[0] - 0.1


def test_number_of_torch_threads_is_restored(net: nn.Sequential) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        digits.evaluate(net, np.zeros((1, 1, 1, 8, 8), np.uint8), np.zeros(1, np.int64))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_hidden_spikes_cost() -> None:
    silent = {name: torch.zeros(4, 2, 10) for name in ("lif1", "lif2", "lif3")}
    busy = silent | {"lif1": torch.ones(4, 2, 10)}
    labels = torch.zeros(2, dtype=torch.int64)
    recipe = replace(digits.RECIPE, rate_penalty=3.0)
    price = digits.loss(busy, labels, recipe) - digits.loss(silent, labels, recipe)
    assert price.item() == pytest.approx(3.0)


# --- file


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    net = digits.train(load("digits", train=32), SMALL)
    digits.save(net, tmp_path / "net.pt")
    loaded = digits.load(tmp_path / "net.pt")
    assert _same(net, loaded)
    assert not _same(net, digits.load())
    assert not loaded.training


def test_saved_file_is_small_and_data_only(tmp_path: Path, net: nn.Sequential) -> None:
    path = tmp_path / "net.pt"
    digits.save(net, path)
    assert path.stat().st_size < 100_000
    assert torch.load(path, weights_only=True).keys() == net.state_dict().keys()


def test_missing_file_and_folder(tmp_path: Path, net: nn.Sequential) -> None:
    with pytest.raises(FileError, match=r"nowhere\.pt"):
        digits.load(tmp_path / "nowhere.pt")
    with pytest.raises(FileError):
        digits.load(tmp_path)
    with pytest.raises(FileError):
        digits.save(net, tmp_path / "no" / "folder.pt")


def _swap(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: state | {name: change(state[name])}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: {}, "another network"),
        (lambda state: [1, 2], "another network"),
        (lambda state: state | {"fc.weight": 3.0}, "fc.weight"),
        (_swap("fc.weight", lambda w: w[:9]), "fc.weight"),
        (_swap("fc.weight", Tensor.double), "fc.weight"),
        (_swap("fc.bias", lambda b: b / 0), "fc.bias"),
        (_swap("lif2.beta", lambda beta: beta * 0 + 0.5), "lif2.beta is 0.5"),
        (_swap("lif1.reset_mechanism_val", lambda value: value + 1), "lif1.reset_mechanism_val"),
        (lambda state: state | {"conv1.bias": print}, "more than tensors"),
        (_swap("fc.weight", lambda w: torch.zeros(300_000)), "larger than"),
    ],
)
def test_mismatching_file_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    path = tmp_path / "net.pt"
    torch.save(damage(dict(digits.load().state_dict())), path)
    with pytest.raises(FileError, match=message) as caught:
        digits.load(path)
    assert "net.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_file_is_refused(tmp_path: Path, net: nn.Sequential) -> None:
    path = tmp_path / "net.pt"
    digits.save(net, path)
    content = path.read_bytes()
    for damaged in (b"", b"weights", content[:100], content[: len(content) // 2], content[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(FileError):
            digits.load(path)
    for start in range(0, len(content), 97):  # a damaged byte anywhere: refused or without effect
        path.write_bytes(content[:start] + bytes([content[start] ^ 0xFF]) + content[start + 1 :])
        with contextlib.suppress(FileError):
            assert _same(digits.load(path), net)


def _steps(spikes: np.ndarray) -> Tensor:
    return torch.from_numpy(spikes.swapaxes(0, 1).astype(np.float32))


def _same(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
