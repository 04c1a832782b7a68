"""The demo's network: two spiking convolutions and a spiking classifier for handwritten digits.

Trained by backpropagation through time with a surrogate gradient, and shipped as `digits.pt`.
Its hyper-parameters (`RECIPE`) were chosen by stratified cross-validation inside the 1,347 training
images; the network shipped is then trained on all of them for a fixed number of epochs, with the
first seed, and its last state is kept.  The 450 test images took no part in any choice.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from neurodeploy.errors import FileError, InputError
from neurodeploy.models.digits_data import LEVELS, TEST_SIZE, encode
from neurodeploy.quantity import Quantity

CLASSES = 10
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


def build(recipe: Recipe = RECIPE) -> nn.Sequential:
    """The untrained network, 1 x 8 x 8 spikes in and 10 spikes out at every step.

    All neurons are snnTorch's `Leaky` with its defaults (decay 0.9, threshold 1, delayed
    subtractive reset) and hold their own state (`init_hidden=True`).
    """
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, 8, 3, padding=1)),
        ("norm1", nn.BatchNorm2d(8)),
        ("lif1", _leaky()),
        ("pool1", nn.AvgPool2d(2)),
        ("conv2", nn.Conv2d(8, 16, 3, padding=1)),
        ("norm2", nn.BatchNorm2d(16)),
        ("lif2", _leaky()),
        ("pool2", nn.AvgPool2d(2)),
        ("flatten", nn.Flatten()),
        ("dropout", nn.Dropout(recipe.dropout)),
        ("fc", nn.Linear(64, CLASSES)),
        ("lif3", _leaky()),
    ]
    for _, layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, recipe.norm_gain)
    return nn.Sequential(OrderedDict(layers))


def _leaky() -> nn.Module:
    neuron: nn.Module = snn.Leaky(beta=0.9, init_hidden=True, spike_grad=surrogate.atan())
    return neuron


def spikes_per_layer(net: nn.Sequential, spikes: Tensor) -> dict[str, Tensor]:
    """The spikes of every `Leaky` layer, float32 (T, N, ...), from zero state; output layer last.

    Goes layer by layer over all steps at once, which equals step by step because the network has no
    cycle, and is faster.  In training mode the batch norms thus share one mean and variance over
    all steps, which is what lets them be folded into the weights.

    Parameters
    ----------
    net: as `build` makes it.
    spikes: float32 (T, N, 1, 8, 8).
    """
    recorded = {}
    for name, layer in net.named_children():
        if isinstance(layer, snn.Leaky):
            layer.reset_mem()
            spikes = torch.stack([layer(current) for current in spikes.unbind()])
            recorded[name] = spikes
        else:
            spikes = layer(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])
    return recorded


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


def train(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], recipe: Recipe = RECIPE
) -> nn.Sequential:
    """A network trained on `images` uint8 (N, 8, 8) and `labels` int64 (N,), in evaluation mode.

    Backpropagation through time with snnTorch's arctangent surrogate gradient, Adam, one-cycle
    schedule.  A progress bar on stderr, if that is a terminal, shows each epoch's loss and accuracy
    on the training images.  The same seed on the same machine gives the same network.

    Raises
    ------
    InputError: for another shape, dtype or value of images or labels.
    """
    spikes, targets = _tensors(encode(images), labels)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        net = build(recipe)
        _fit(net, spikes, targets, recipe)
    _reset(net)
    return net.eval()


def _fit(net: nn.Sequential, spikes: Tensor, targets: Tensor, recipe: Recipe) -> None:
    updates = recipe.epochs * math.ceil(len(targets) / recipe.batch_size)
    optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=updates
    )
    bar = trange(recipe.epochs, desc="train", unit="epoch", disable=None)
    for _ in bar:
        total, correct = 0.0, 0
        for batch in torch.split(torch.randperm(len(targets)), recipe.batch_size):
            layers = spikes_per_layer(net, spikes[:, batch])
            value = loss(layers, targets[batch], recipe)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            schedule.step()
            total += value.item() * len(batch)
            correct += int((layers["lif3"].sum(0).argmax(1) == targets[batch]).sum())
        size = len(targets)
        bar.set_postfix(loss=f"{total / size:.3f}", accuracy=f"{correct / size:.3f}")


def evaluate(
    net: nn.Sequential, spikes: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> float:
    """The share of samples that `net` classifies correctly, called step by step from zero state.

    The decision is the class whose output neuron spiked most often over all steps; of several such
    classes the one with the lowest index.  Leaves the network in evaluation mode, state cleared.

    Parameters
    ----------
    net: as `build` makes it.
    spikes: (N, T, 1, 8, 8) with values 0 and 1, as `encode` returns them.
    labels: int64 (N,) with values 0..9.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    steps, targets = _tensors(spikes, labels)
    net.eval()
    _reset(net)
    with _one_thread(), torch.no_grad():
        counts = torch.stack([net(step) for step in steps]).sum(0)
    _reset(net)
    # numpy's argmax returns the first of several maxima
    return float((counts.numpy().argmax(1) == targets.numpy()).mean())


def _reset(net: nn.Sequential) -> None:
    for layer in net:
        if isinstance(layer, snn.Leaky):
            layer.reset_mem()


def _tensors(spikes: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Spikes as float32 (T, N, 1, 8, 8) and labels as int64 (N,), checked."""
    if spikes.ndim != 5 or spikes.shape[2:] != (1, 8, 8) or 0 in spikes.shape:
        raise InputError(f"spikes have shape {spikes.shape}, not (N, T, 1, 8, 8)", node="spikes")
    if not ((spikes == 0) | (spikes == 1)).all():
        raise InputError("spikes hold other values than 0 and 1", node="spikes")
    if labels.shape != spikes.shape[:1]:
        raise InputError(f"{labels.shape} labels for {len(spikes)} samples", node="labels")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels are {labels.dtype}, not integers", node="labels")
    if not 0 <= labels.min() <= labels.max() < CLASSES:
        raise InputError(
            f"labels reach from {labels.min()} to {labels.max()}, not within 0..{CLASSES - 1}",
            node="labels",
        )
    time_major = np.ascontiguousarray(spikes.swapaxes(0, 1), dtype=np.float32)
    return torch.from_numpy(time_major), torch.from_numpy(labels.astype(np.int64))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: the tensors are too small to share, and other programs may be running."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def save(net: nn.Sequential, path: str | os.PathLike[str]) -> None:
    """Write the network's state dict to `path`, a file that `torch.load` reads as data only.

    Raises
    ------
    FileError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    try:
        Path(path).write_bytes(buffer.getvalue())
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", node=str(path)) from error


def load(path: str | os.PathLike[str] | None = None) -> nn.Sequential:
    """The network saved at `path`, or the one shipped, in evaluation mode.

    Raises
    ------
    FileError: if the file is missing, too large, damaged, or holds anything but the finite
        parameters and the neuron constants of this network.
    """
    file = resources.files(__package__) / "digits.pt" if path is None else Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", node=str(file)) from error
    net = build()
    try:
        net.load_state_dict(_checked(_unpacked(content), net.state_dict()))
    except FileError as error:
        raise FileError(
            error.message,
            node=str(file),
            hint="A network of the digits demo, written by `digits.save`, is expected",
        ) from error
    return net.eval()


def _unpacked(content: bytes) -> object:
    """What `torch.save` wrote, read as data only; bounds and check sums first, torch tests none."""
    if len(content) > FILE_LIMIT:
        raise FileError(f"is larger than {FILE_LIMIT} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > FILE_LIMIT or archive.testzip() is not None:
                raise zipfile.BadZipFile("too large when unpacked, or a check sum is wrong")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # neither library names all that it raises for a damaged file
        raise FileError("is damaged, no torch file or holds more than tensors") from error


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
        "name": "digits",
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
