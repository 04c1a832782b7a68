"""Training system C: weights of few bits, and a learning rate that falls and rises again.

Eshraghian, Lammie, Rahimi Azghadi and Lu, "Navigating Local Minima in Quantized Spiking Neural
Networks" (AICAS 2022), after the authors' code (github.com/jeshraghian/QSNNs).  Brevitas rounds the
weights in every forward pass; deployed, its integers are the weights of plain layers, and batch
norms and thresholds take in the scale.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from snntorch import surrogate
from snntorch.functional import mse_count_loss
from torch import Tensor, nn
from torch.optim import lr_scheduler

from neurodeploy.errors import InputError, ModelError
from neurodeploy.models.comparing import against_the_first
from neurodeploy.models.data import load
from neurodeploy.models.integer_layers import integer_layers
from neurodeploy.models.layerwise import SpikingNet, reset
from neurodeploy.models.system import Ablation, Arm, Data, Deployable, check_samples
from neurodeploy.models.training import fit, session

DATA = ("digits", "glyphs28", "gestures")
Schedule = Literal["fixed", "loss-dependent", "cosine", "one-shot"]


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    epochs, batch_size: passes over the training samples, samples per update.
    learning_rate: the largest, of Adam.
    seed: of the initial weights and the order of the samples.
    bits: of a weight with its sign; None for float weights, which need no Brevitas.
    schedule: of the learning rate: "fixed"; "loss-dependent", which halves it after every epoch
        whose mean loss is not the lowest so far; "cosine", the paper's; or "one-shot", a single
        fall along a cosine over all epochs.
    half_period: T_c in epochs.
    steps: time steps, in each of which an image is the same current.  Events have their own.
    channels: of the first convolution; the second has twice as many.
    beta, threshold, reset: of snnTorch's `Leaky`.
    slope: of its fast-sigmoid surrogate gradient.
    """

    epochs: int = 25
    batch_size: int = 32
    learning_rate: float = 0.02
    seed: int = 0
    bits: int | None = 4
    schedule: Schedule = "cosine"
    half_period: int = 5
    steps: int = 10
    channels: int = 8
    beta: float = 0.9
    threshold: float = 1.0
    reset: Literal["subtract", "zero"] = "subtract"
    slope: float = 7.0


RECIPE = Recipe()
ARMS: tuple[Schedule, ...] = ("fixed", "loss-dependent", "cosine", "one-shot")
CLAIM = (
    "annealing along cosines takes quantised networks (close to) the state of the art on the more "
    "complex data sets (abstract); its table could not be read"
)


def build(
    recipe: Recipe = RECIPE, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10
) -> SpikingNet:
    """The untrained network: two convolutions with average pools and batch norms, a classifier.

    As in the paper a batch norm follows the pool, and no layer has a bias.  All neurons are
    snnTorch's `Leaky` and hold their own state.  The first pool leaves some 8 x 8 places, and of
    images below 16 x 16 half as many each way.

    Raises
    ------
    InputError: for a recipe with impossible values, or samples of less than 4 x 4.
    ModelError: for weights of few bits where Brevitas is not installed.
    """
    channels, height, width = shape
    pool = max(2, min(height, width) // 8)
    found = [
        f"{name} is {getattr(recipe, name)}, not at least 1"
        for name in ("half_period", "steps", "channels")
        if getattr(recipe, name) < 1
    ]
    if recipe.bits is not None and not 2 <= recipe.bits <= 8:
        found.append(f"bits is {recipe.bits}, not within 2..8")
    if recipe.schedule not in ARMS:
        found.append(f"schedule is {recipe.schedule!r}, not one of {', '.join(ARMS)}")
    if min(height, width) < 4:
        found.append(f"samples are {height} x {width}, and it pools by 4 at least")
    if found:
        raise InputError("; ".join(found), node="recipe")
    n, places = recipe.channels, (height // pool // 2) * (width // pool // 2)
    options: dict[str, Any] = {"bias": False}
    conv: Any = nn.Conv2d
    linear: Any = nn.Linear
    if recipe.bits is not None:
        conv, linear = _quantised_layers()
        options |= {"weight_bit_width": recipe.bits}
    layers = {
        "conv1": conv(channels, n, 3, padding=1, **options),
        "pool1": nn.AvgPool2d(pool),
        "norm1": nn.BatchNorm2d(n),
        "lif1": _neuron(recipe),
        "conv2": conv(n, 2 * n, 3, padding=1, **options),
        "pool2": nn.AvgPool2d(2),
        "norm2": nn.BatchNorm2d(2 * n),
        "lif2": _neuron(recipe),
        "flatten": nn.Flatten(),
        "fc": linear(2 * n * places, classes, **options),
        "lif3": _neuron(recipe),
    }
    return SpikingNet(layers, recipe.steps)


def _quantised_layers() -> tuple[Any, Any]:
    r"""Brevitas' layers: :math:`\hat W = s\,\mathrm{clip}(\lfloor W/s \rceil, -q, q)`.

    With :math:`q = 2^{b-1} - 1` and :math:`s = \max|W| / q` of the whole tensor, anew in every
    forward pass; the gradient passes the rounding as if it were not there.
    """
    try:
        from brevitas.nn import QuantConv2d, QuantLinear
    except ImportError as error:
        raise ModelError(
            f"weights of few bits need {error.name}",
            node="quantised",
            hint="pip install 'neurodeploy-snn[quantised]', or train with bits=None.",
        ) from error
    return QuantConv2d, QuantLinear


def _neuron(recipe: Recipe) -> nn.Module:
    neuron: nn.Module = snn.Leaky(
        beta=recipe.beta,
        threshold=recipe.threshold,
        reset_mechanism=recipe.reset,
        spike_grad=surrogate.fast_sigmoid(slope=recipe.slope),
        init_hidden=True,
    )
    return neuron


def cosine(update: int, half_period: int) -> float:
    r"""The share of the learning rate at an update, :math:`(1 + \cos(\pi k / T_c)) / 2`.

    It falls to 0 in T_c updates, and rises again as smoothly, period 2 T_c; there is no restart.
    The formula is that of `CosineAnnealingLR`, which the authors step past its `T_max`.
    """
    return (1 + math.cos(math.pi * update / half_period)) / 2


def scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, updates: int) -> Any:
    """The schedule of a training with so many updates per epoch; None for a fixed rate."""
    if recipe.schedule == "fixed":
        return None
    if recipe.schedule == "loss-dependent":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0)
    epochs = recipe.half_period if recipe.schedule == "cosine" else recipe.epochs
    return lr_scheduler.LambdaLR(optimizer, lambda update: cosine(update, epochs * updates))


def train(data: Data, recipe: Recipe = RECIPE, *, checkpoint: Path | None = None) -> SpikingNet:
    """A network trained on the training samples of `data`, in evaluation mode.

    Adam, and snnTorch's `mse_count_loss`: the squared difference between an output neuron's spikes
    and 80 % of the steps for the true class, 20 % for the others.

    Raises
    ------
    InputError: for a recipe with impossible numbers.
    ModelError: for weights of few bits where Brevitas is not installed.
    FileError: for a checkpoint of another training.
    """
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    updates = math.ceil(len(y) / max(recipe.batch_size, 1))
    error = mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)
    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)

        def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            spikes = net.spikes(x)["lif3"]
            return error(spikes, y), spikes.sum(0)

        fit(
            net,
            x,
            y,
            recipe,
            loss=loss,
            optimizer=optimizer,
            schedule=scheduler(optimizer, recipe, updates),
            checkpoint=checkpoint,
        )
    reset(net)
    return net.eval()


def evaluate(net: SpikingNet, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of samples that `net` classifies correctly, by the most output spikes.

    Leaves the network in evaluation mode, state cleared.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    check_samples(x, y, len(net.get_parameter("fc.weight")))
    counts = net.responses(x, "lif3").sum(1)
    # numpy's argmax returns the first of several maxima
    return float((counts.numpy().argmax(1) == y).mean())


def deploy(net: SpikingNet, data: Data) -> Deployable:
    """Plain layers with integer weights.  Of images the host runs the first layer, as trained.

    The compiler merges convolution and pool into one convolution, whose weights are sums of up to
    four of the integers, and folds the batch norm.  SpiNNaker2 can give each neuron a scale of its
    own, so that its threshold takes in the batch norm and all weights stay whole; it does so with
    reset to zero, while a subtraction needs its scale for the reset.  Loihi has one threshold for
    all neurons of a layer: the classifier stays whole, the folded weights are rounded to 8 bits.
    """
    plain = integer_layers(net.eval())
    if data.steps is not None:
        module, shape = nn.Sequential(OrderedDict(plain)), data.shape
        return Deployable(module.eval(), torch.zeros(1, *shape), lambda events: events)
    names = list(plain)
    start = names.index("lif1") + 1
    host = SpikingNet(OrderedDict(list(net.named_children())[:start]), net.steps)
    module = nn.Sequential(OrderedDict((name, plain[name]) for name in names[start:]))

    def encode(images: NDArray[Any]) -> NDArray[np.uint8]:
        return host.responses(images, "lif1").numpy()

    shape = encode(data.train_x[:1]).shape[2:]
    return Deployable(module.eval(), torch.zeros(1, *shape), encode)


def ablation(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Ablation, ...]:
    """Four schedules at 4 and 2 bits, after the last epoch; the cosine ends where its rate is 0."""
    data = load("digits")
    found = []
    for bits in (4, 2):
        arms = []
        for schedule in ARMS:
            recipe = replace(RECIPE, bits=bits, schedule=schedule)
            nets = [train(data, replace(recipe, seed=seed)) for seed in seeds]
            accuracies = (evaluate(net, data.test_x, data.test_y) for net in nets)
            arms.append(Arm(schedule, tuple(accuracies)))
        measure = f"Test accuracy with {bits}-bit weights"
        found.append(
            Ablation(
                claim=CLAIM,
                measure=measure,
                unit="1",
                data=data.name,
                seeds=tuple(seeds),
                arms=tuple(arms),
                outcome=against_the_first(arms, measure),
            )
        )
    return tuple(found)


def describe() -> dict[str, Any]:
    """The model card."""
    return {
        "name": "quantised",
        "title": "Quantised SNN: weights of few bits, cosine-annealed learning rate",
        "paper": "Eshraghian, Lammie, Rahimi Azghadi, Lu: Navigating Local Minima in Quantized "
        "Spiking Neural Networks, AICAS 2022, arXiv 2202.07221",
        "known": [
            "neuron, order of layers, quantiser, loss, optimiser and schedule: the authors' code, "
            "github.com/jeshraghian/QSNNs",
            "the loss-dependent schedule: an evaluation script of the same code",
            "the claim: the abstract; the paper's table of accuracies we could not read",
        ],
        "ours": [
            "sizes, kernels of 3 x 3 with padding, no dropout, beta, threshold, slope and learning "
            "rate, which the authors tuned for each data set and precision",
            f"{RECIPE.steps} steps instead of 100, and {RECIPE.epochs} epochs; the last network is "
            "kept, where the authors keep the one with the best test accuracy",
            "a batch norm has one mean and variance for all steps of a batch, so that it can be "
            "folded; the authors' has those of each step in training",
            "the arms with a fixed rate, and with a single fall along a cosine, beside the paper's",
            "deployment: the scale of the weights moves into batch norms and thresholds, so that "
            "the integers of few bits are the weights",
        ],
        "neuron": f"snnTorch Leaky: decay {RECIPE.beta}, threshold {RECIPE.threshold}, delayed "
        "subtractive reset",
        "encoding": f"direct: an image is a constant current for {RECIPE.steps} steps; deployed, "
        "the first layer runs on the host and sends its spikes; events are sent as they are",
        "decision": "most output spikes over all steps; of equals the lowest class",
        "recipe": asdict(RECIPE),
    }
