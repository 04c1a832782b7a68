"""The demo's network: two spiking convolutions and a spiking classifier for handwritten digits.

Trained by backpropagation through time with a surrogate gradient, and shipped as `digits.pt`.
Its hyper-parameters (`RECIPE`) were chosen by stratified cross-validation inside the 1,347 training
images; the network shipped is then trained on all of them for a fixed number of epochs, with the
first seed, and its last state is kept.  The 450 test images took no part in any choice.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import FileError, InputError
from neurodeploy.models.data import load as load_data
from neurodeploy.models.digits_data import LEVELS, TEST_SIZE
from neurodeploy.models.encoding import rate_code
from neurodeploy.models.layerwise import reset, spikes_per_layer, time_major
from neurodeploy.models.system import Ablation, Arm, Data, Deployable, check_samples
from neurodeploy.models.training import fit, one_thread, session
from neurodeploy.quantity import Quantity
from neurodeploy.torch import tensor_file

DATA = ("digits", "glyphs28", "saccades", "gestures")
CORRECT = 447  # test images that the shipped network classifies correctly; a test counts them again
FILE_LIMIT = 1_000_000  # bytes; the shipped file has some 20,000


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    epochs, batch_size: passes over the training images, images per update.
    learning_rate: the peak of Adam's one-cycle schedule.
    norm_gain: initial gain of the batch norms, in thresholds: the standard deviation of the current
        into a neuron at the start.
    dropout: share of the classifier's inputs that are dropped in training.
    logits_per_spike: how many logits one output spike is worth in the cross-entropy.
    label_smoothing: as in `torch.nn.functional.cross_entropy`.
    rate_penalty: weight of the hidden layers' mean rates in the loss; spikes cost energy.
    seed: of the initial weights, the order of the images and dropout.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-2
    norm_gain: float = 0.3
    dropout: float = 0.1
    logits_per_spike: float = 0.5
    label_smoothing: float = 0.1
    rate_penalty: float = 1.0
    seed: int = 0


RECIPE = Recipe()


def build(
    recipe: Recipe = RECIPE, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10
) -> nn.Sequential:
    """The untrained network: spikes (C, H, W) in and one spike per class out, at every step.

    All neurons are snnTorch's `Leaky` with its defaults (decay 0.9, threshold 1, delayed
    subtractive reset) and hold their own state (`init_hidden=True`).  The second convolution
    skips every other place of images of 16 x 16 and more, so that its classifier fits one core of
    SpiNNaker2.

    Raises
    ------
    InputError: for samples of less than 4 x 4.
    """
    channels, *size = shape
    if min(size) < 4:
        raise InputError(f"are {size[0]} x {size[1]}, and it pools by 4", node="samples")
    stride = 1 if min(size) < 16 else 2
    height, width = ((length // 2 + stride - 1) // stride // 2 for length in size)
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(channels, 8, 3, padding=1)),
        ("norm1", nn.BatchNorm2d(8)),
        ("lif1", _leaky()),
        ("pool1", nn.AvgPool2d(2)),
        ("conv2", nn.Conv2d(8, 16, 3, stride, padding=1)),
        ("norm2", nn.BatchNorm2d(16)),
        ("lif2", _leaky()),
        ("pool2", nn.AvgPool2d(2)),
        ("flatten", nn.Flatten()),
        ("dropout", nn.Dropout(recipe.dropout)),
        ("fc", nn.Linear(16 * height * width, classes)),
        ("lif3", _leaky()),
    ]
    for _, layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, recipe.norm_gain)
    return nn.Sequential(OrderedDict(layers))


def _leaky() -> nn.Module:
    neuron: nn.Module = snn.Leaky(beta=0.9, init_hidden=True, spike_grad=surrogate.atan())
    return neuron


def loss(layers: Mapping[str, Tensor], labels: Tensor, recipe: Recipe = RECIPE) -> Tensor:
    r"""Cross-entropy of the output spike counts, plus the price of hidden spikes.

    .. math:: L = \mathrm{CE}\Big(k \sum_t S^{out}_t,\ y\Big) + \lambda \sum_l \overline{S^l}

    with k `logits_per_spike`, :math:`\lambda` `rate_penalty` and the mean rate of each hidden layer
    l.  `layers` as `spikes_per_layer` returns them; `labels` int64 (N,).
    """
    *hidden, output = layers.values()
    logits = recipe.logits_per_spike * output.sum(0)
    entropy = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    return entropy + recipe.rate_penalty * torch.stack([layer.mean() for layer in hidden]).sum()


def encode(x: NDArray[Any], steps: int = LEVELS) -> NDArray[np.uint8]:
    """Spikes uint8 (N, T, C, H, W): images (N, C, H, W) as a rate code, events as they are."""
    return rate_code(x, steps) if x.ndim == 4 else x


def train(data: Data, recipe: Recipe = RECIPE, *, checkpoint: Path | None = None) -> nn.Sequential:
    """A network trained on the training samples of `data`, in evaluation mode.

    Backpropagation through time with snnTorch's arctangent surrogate gradient, Adam, one-cycle
    schedule.  The same seed on the same machine gives the same network, whether it was interrupted
    or not (see `training.loop` for the checkpoint and the progress bar).

    Raises
    ------
    InputError: for a recipe with impossible numbers.
    FileError: for a checkpoint of another training.
    """
    spikes, labels = torch.from_numpy(encode(data.train_x)), torch.from_numpy(data.train_y)
    updates = recipe.epochs * math.ceil(len(labels) / max(recipe.batch_size, 1))
    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=updates
        )

        def batch_loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            layers = spikes_per_layer(net, time_major(x))
            return loss(layers, y, recipe), layers["lif3"].sum(0)

        fit(
            net,
            spikes,
            labels,
            recipe,
            loss=batch_loss,
            optimizer=optimizer,
            schedule=schedule,
            checkpoint=checkpoint,
        )
    reset(net)
    return net.eval()


def evaluate(net: nn.Sequential, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of samples that `net` classifies correctly, called step by step from zero state.

    The decision is the class whose output neuron spiked most often over all steps; of several such
    classes the one with the lowest index.  Leaves the network in evaluation mode, state cleared.

    Parameters
    ----------
    net: as `build` makes it.
    x: images float32 (N, C, H, W) within 0..1, or spikes uint8 (N, T, C, H, W).
    y: int64 (N,).

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    check_samples(x, y, len(net.get_parameter("fc.bias")))
    steps = time_major(torch.from_numpy(encode(x)))
    net.eval()
    reset(net)
    with one_thread(), torch.no_grad():
        counts = torch.stack([net(step) for step in steps]).sum(0)
    reset(net)
    # numpy's argmax returns the first of several maxima
    return float((counts.numpy().argmax(1) == y).mean())


def deploy(net: nn.Sequential, data: Data) -> Deployable:
    """The whole network; the host sends the rate code."""
    return Deployable(net, torch.zeros(1, *data.shape), encode)


def ablation(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Ablation, ...]:
    """What the price of hidden spikes saves and costs."""
    data = load_data("digits")
    accuracies, spikes = [], []
    for name, penalty in (("priced", RECIPE.rate_penalty), ("free", 0.0)):
        nets = [
            train(data, replace(RECIPE, epochs=10, rate_penalty=penalty, seed=seed))
            for seed in seeds
        ]
        accuracies.append(Arm(name, tuple(evaluate(n, data.test_x, data.test_y) for n in nets)))
        spikes.append(Arm(name, tuple(_hidden_spikes(net, data.test_x) for net in nets)))
    claim = "ours: a price on the rate of hidden layers saves spikes at little accuracy"
    saved = 1 - spikes[0].mean / spikes[1].mean
    lost = 100 * (accuracies[1].mean - accuracies[0].mean)
    outcome = f"The price saves {saved:.0%} of the hidden spikes and costs {lost:.1f} points."
    measures = (
        ("test accuracy, 10 epochs", "1", accuracies),
        ("hidden spikes per sample", "spikes", spikes),
    )
    return tuple(
        Ablation(claim, measure, unit, data.name, tuple(seeds), tuple(arms), outcome)
        for measure, unit, arms in measures
    )


def _hidden_spikes(net: nn.Sequential, x: NDArray[Any]) -> float:
    with one_thread(), torch.no_grad():
        *hidden, _ = spikes_per_layer(net, time_major(torch.from_numpy(encode(x)))).values()
    return sum(float(layer.sum()) for layer in hidden) / len(x)


def save(net: nn.Sequential, path: str | os.PathLike[str]) -> None:
    """Write the network's state dict to `path`, a file that `torch.load` reads as data only.

    Raises
    ------
    FileError: if the file cannot be written.
    """
    tensor_file.write(Path(path), net.state_dict())


def load(path: str | os.PathLike[str] | None = None) -> nn.Sequential:
    """The network saved at `path`, or the one shipped, in evaluation mode.

    Raises
    ------
    FileError: if the file is missing, too large, damaged, or holds anything but the finite
        parameters and the neuron constants of this network.
    """
    file = resources.files(__package__) / "digits.pt" if path is None else Path(path)
    net = build()
    try:
        net.load_state_dict(_checked(tensor_file.read(file, FILE_LIMIT), net.state_dict()))
    except FileError as error:
        raise FileError(
            error.message,
            node=str(file),
            hint="A network of the digits demo, written by `digits.save`, is expected",
        ) from error
    return net.eval()


def _checked(state: object, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` if it fits `expected`: names, shapes, dtypes, finite, same neuron constants."""
    if not isinstance(state, dict) or state.keys() != expected.keys():
        raise FileError("holds another network: the names of the parameters differ")
    for name, want in expected.items():
        have = state[name]
        if not isinstance(have, Tensor) or (have.shape, have.dtype) != (want.shape, want.dtype):
            raise FileError(f"{name} is not a tensor {want.dtype} of shape {tuple(want.shape)}")
        if not torch.isfinite(have).all():
            raise FileError(f"{name} holds infinite values or NaN")
        if name.startswith("lif") and not torch.equal(have, want):
            raise FileError(f"{name} is {have.tolist()}, but the network is built with {want:g}")
    return state


def describe() -> dict[str, object]:
    """The model card of the shipped network, as plain data."""
    net = build()
    return {
        "name": "baseline",
        "title": "snnTorch baseline: the network of the demo",
        "paper": "none: the usual surrogate-gradient training of snnTorch's own tutorials",
        "known": ["the arctangent surrogate is snnTorch's default"],
        "ours": ["the network, its recipe, and the price of hidden spikes in the loss"],
        "task": "10 handwritten digits, 8 x 8 pixels of 17 grey levels",
        "layers": {name: str(layer) for name, layer in net.named_children()},
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "neuron": "snnTorch Leaky: decay 0.9, threshold 1, delayed subtractive reset",
        "encoding": f"deterministic rate code, {LEVELS} steps, one spike per grey level",
        "decision": "most output spikes over all steps; of equals the lowest class",
        "data": "UCI Optical Recognition of Handwritten Digits, as bundled with scikit-learn",
        "split": f"stratified, seed 0: 1347 training and {TEST_SIZE} test images, writers mixed",
        "selection": "cross-validation (3, then 5 folds) inside the training images; fixed epochs",
        "recipe": asdict(RECIPE),
        "correct": CORRECT,
        "accuracy": Quantity(
            low=CORRECT / TEST_SIZE,
            typical=CORRECT / TEST_SIZE,
            high=CORRECT / TEST_SIZE,
            unit="1",
            kind="measured",
            source=f"{CORRECT} of {TEST_SIZE} test images, float32, torch 2.13.0, snnTorch 1.0.0",
        ).to_dict(),
    }
