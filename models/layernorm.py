"""Training system A: layer norm, Adam and a choice of learning-rate schedules.

Cha and Kim, "Modified Learning Rate Scheduler ..." (Mathematics 2025, 13, 1361), of which only the
abstract could be read: no schedule here is called the paper's.  A layer norm looks at the data in
every step, which no chip does; deployed, it becomes a fixed affine map, folded into the weights.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from neurodeploy.models.comparing import against_the_first
from neurodeploy.models.data import load
from neurodeploy.models.layerwise import SpikingNet, reset
from neurodeploy.models.system import Ablation, Arm, Data, Deployable, check_samples
from neurodeploy.models.training import fit, one_thread, session

DATA = ("digits", "glyphs28")
Schedule = Literal[
    "constant", "step", "exponential", "cosine", "warm-up", "one-cycle", "warm restarts"
]
Norm = Literal["layer", "batch", "none"]


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    epochs, batch_size: passes over the training images, images per update.
    learning_rate: the largest, of Adam.
    seed: of the initial weights, the order of the images and dropout.
    schedule: see `share`; "one-cycle" is torch's.
    norm: of the hidden layers' input currents.
    steps: time steps, in each of which an image is the same current.
    width, depth: neurons of a hidden layer, and how many of these there are.
    beta: decay of snnTorch's `Leaky`; threshold 1, subtractive reset one step later.
    alpha: of the arctangent surrogate gradient.
    dropout: share of the classifier's inputs that are dropped in training.
    """

    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 5e-3
    seed: int = 0
    schedule: Schedule = "warm-up"
    norm: Norm = "layer"
    steps: int = 10
    width: int = 128
    depth: int = 3
    beta: float = 0.9
    alpha: float = 2.0
    dropout: float = 0.1


RECIPE = Recipe()
SCHEDULES: tuple[Schedule, ...] = (
    "constant", "step", "exponential", "cosine", "warm-up", "one-cycle", "warm restarts",
)  # fmt: skip
EARLY = 2
"""Epochs after which an ablation looks at how fast a schedule is."""
CLAIMS = {
    "after all epochs": "competitive accuracy (abstract); its tables could not be read",
    "early": "faster in the first epochs (abstract); its schedule and tables could not be read",
    "norms": "layer norm works against vanishing gradients (abstract)",
    "frozen": "none: what deployment costs is ours to say",
}


def build(
    recipe: Recipe = RECIPE, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10
) -> SpikingNet:
    r"""The untrained network of all-to-all layers.

    A hidden neuron's membrane is
    :math:`U_t = \beta U_{t-1} + \mathrm{LN}(W x_t + b) - S_{t-1}`, with
    :math:`dS/dU = (\alpha/2) / (1 + (\pi \alpha (U - 1) / 2)^2)` in the backward pass.
    """
    norms: dict[Norm, Callable[[int], nn.Module]] = {
        "layer": nn.LayerNorm,
        "batch": nn.BatchNorm1d,
        "none": lambda _: nn.Identity(),
    }
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    inputs = math.prod(shape)
    for i in range(1, recipe.depth + 1):
        layers[f"fc{i}"] = nn.Linear(inputs, recipe.width)
        layers[f"norm{i}"] = norms[recipe.norm](recipe.width)
        layers[f"lif{i}"] = _neuron(recipe)
        inputs = recipe.width
    layers["dropout"] = nn.Dropout(recipe.dropout)
    layers["fc"] = nn.Linear(inputs, classes)
    return SpikingNet(layers, recipe.steps)


def scores(net: SpikingNet, x: Tensor) -> Tensor:
    """(N, classes): the mean over time of what the classifier reads out of images (N, C, H, W).

    Of the mean of the last spikes, which is the same, as the classifier is linear.
    """
    *_, last = net.spikes(x).values()
    found: Tensor = net.get_submodule("fc")(net.get_submodule("dropout")(last.mean(0)))
    return found


def _neuron(recipe: Recipe) -> nn.Module:
    neuron: nn.Module = snn.Leaky(
        beta=recipe.beta, spike_grad=surrogate.atan(alpha=recipe.alpha), init_hidden=True
    )
    return neuron


def share(schedule: Schedule, update: int, updates: int) -> float:
    r"""The share of the learning rate at update k of n, :math:`r(k/n)` or as it says.

    - constant: 1
    - step: :math:`0.3^{\lfloor 3k/n \rfloor}`
    - exponential: :math:`0.01^{k/n}`
    - cosine: :math:`(1 + \cos(\pi k/n)) / 2`
    - warm-up: :math:`10 (k+1)/n`, at most 1, in the first tenth, then a cosine over the rest
    - warm restarts: a cosine that begins anew after each quarter
    """
    part = update / updates
    if schedule == "step":
        return 0.3 ** math.floor(3 * part)
    if schedule == "exponential":
        return math.pow(0.01, part)
    if schedule == "warm-up":
        rising = min(1.0, 10 * (update + 1) / updates)
        return rising if part < 0.1 else _cosine((part - 0.1) / 0.9)
    if schedule == "warm restarts":
        return _cosine(4 * part % 1)
    return _cosine(part) if schedule == "cosine" else 1.0


def _cosine(part: float) -> float:
    return (1 + math.cos(math.pi * part)) / 2


def scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, updates: int) -> Any:
    """The schedule of a training with so many updates, stepped after each."""
    if recipe.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=updates + 1)
    return lr_scheduler.LambdaLR(
        optimizer, lambda update: share(recipe.schedule, update, max(updates, 1))
    )


def train(data: Data, recipe: Recipe = RECIPE, *, checkpoint: Path | None = None) -> SpikingNet:
    """A network trained on the training images of `data`, in evaluation mode.

    Cross-entropy of the softmax of `scores`, Adam.

    Raises
    ------
    InputError: for a recipe with impossible numbers.
    FileError: for a checkpoint of another training.
    """
    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        _fit(net, data, recipe, checkpoint)
    return net


def _fit(
    net: SpikingNet,
    data: Data,
    recipe: Recipe,
    checkpoint: Path | None = None,
    also: Callable[[], dict[str, float]] | None = None,
) -> None:
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
    updates = recipe.epochs * math.ceil(len(y) / recipe.batch_size)

    def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        found = scores(net, x)
        return F.cross_entropy(found, y), found

    fit(
        net,
        x,
        y,
        recipe,
        loss=loss,
        optimizer=optimizer,
        schedule=scheduler(optimizer, recipe, updates),
        also=also,
        checkpoint=checkpoint,
    )
    reset(net)
    net.eval()


def evaluate(net: SpikingNet, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of images that `net` classifies correctly, by the greatest of `scores`.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    check_samples(x, y, len(net.get_parameter("fc.weight")))
    net.eval()
    with one_thread(), torch.no_grad():
        found = scores(net, torch.from_numpy(x))
    reset(net)
    return float((found.numpy().argmax(1) == y).mean())


def frozen(net: SpikingNet, data: Data, first: int = 1) -> SpikingNet:
    r"""A copy whose layer norms from layer `first` on are affine maps, folded into the weights.

    :math:`\mathrm{LN}(z) = \gamma (z - \mu)/\sigma + \beta` of each sample and step becomes
    :math:`g z + (\beta - g \bar\mu)` with :math:`g = \gamma/\bar\sigma`, where bars are means over
    the training images, and :math:`\sigma = \sqrt{\mathrm{var} + \epsilon}`.
    """
    moments: dict[str, tuple[float, float]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            (z,) = inputs
            variance = z.var(-1, correction=0) + norms[name].eps
            moments[name] = z.mean(-1).mean().item(), variance.sqrt().mean().item()

        return hook

    net.eval()
    norms = {
        name: layer
        for name, layer in net.named_children()
        if isinstance(layer, nn.LayerNorm) and int(name.removeprefix("norm")) >= first
    }
    hooks = [layer.register_forward_pre_hook(note(name)) for name, layer in norms.items()]
    with one_thread(), torch.no_grad():
        net.spikes(torch.from_numpy(data.train_x))
    for handle in hooks:
        handle.remove()
    reset(net)
    layers: dict[str, Any] = {name: copy.deepcopy(layer) for name, layer in net.named_children()}
    for name, norm in norms.items():
        mean, spread = moments[name]
        gain = norm.weight.detach() / spread
        linear = layers[name.replace("norm", "fc")]
        with torch.no_grad():
            linear.weight.mul_(gain[:, None])
            linear.bias.mul_(gain).add_(norm.bias - gain * mean)
        layers[name] = nn.Identity()
    return SpikingNet(layers, net.steps).eval()


def refined(net: SpikingNet, data: Data, recipe: Recipe, epochs: int) -> SpikingNet:
    """`frozen`, trained for some more epochs at a tenth of the learning rate."""
    copied = frozen(net, data)
    rate = recipe.learning_rate / 10
    more = replace(recipe, epochs=epochs, learning_rate=rate, schedule="cosine")
    with session(more):
        _fit(copied, data, more)
    return copied


class Deployed(nn.Module):
    """Layers, and a readout without memory, reset and spikes, whose mean potential decides."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(OrderedDict(layers))
        self.potential: nn.Module = snn.Leaky(
            beta=0.0, reset_mechanism="none", init_hidden=True, output=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """Potentials (N, classes) of spikes (N, width), one step."""
        potential: Tensor = self.potential(self.layers(x))[1]
        return potential


def deploy(net: SpikingNet, data: Data) -> Deployable:
    """All but the first layer, which the host runs with its own layer norm; the others `frozen`."""
    host = SpikingNet(OrderedDict(list(net.named_children())[:4]), net.steps).eval()
    plain = frozen(net, data, first=2)
    kept = {
        name: layer
        for name, layer in list(plain.named_children())[4:]
        if not isinstance(layer, (nn.Identity, nn.Dropout))
    }

    def encode(images: NDArray[Any]) -> NDArray[np.uint8]:
        return host.responses(images, "lif1").numpy()

    width = plain.get_parameter("fc2.weight").shape[1]
    return Deployable(Deployed(kept).eval(), torch.zeros(1, width), encode)


def ablation(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Ablation, ...]:
    """Seven schedules at one learning rate; norms; what it costs to freeze the layer norm."""
    data, kept = load("digits"), tuple(seeds)

    def score(net: SpikingNet) -> float:
        return evaluate(net, data.test_x, data.test_y)

    def trained(**changes: Any) -> list[SpikingNet]:
        return [train(data, replace(RECIPE, seed=seed, **changes)) for seed in kept]

    def row(claim: str, measure: str, arms: list[Arm]) -> Ablation:
        outcome = against_the_first(arms, measure)
        return Ablation(CLAIMS[claim], measure, "1", data.name, kept, tuple(arms), outcome)

    final, early = [], []
    for schedule in SCHEDULES:
        found: list[tuple[float, float]] = []
        for seed in kept:
            recipe = replace(RECIPE, seed=seed, schedule=schedule)
            found.append(_early_and_final(data, recipe, score))
        early.append(Arm(schedule, tuple(pair[0] for pair in found)))
        final.append(Arm(schedule, tuple(pair[1] for pair in found)))
    nets = {norm: trained(norm=norm, epochs=6) for norm in ("none", "batch", "layer")}
    norms = [Arm(norm, tuple(map(score, found))) for norm, found in nets.items()]
    whole = trained()
    cost = [
        Arm("layer norm", tuple(map(score, whole))),
        Arm("frozen", tuple(score(frozen(net, data)) for net in whole)),
        Arm(
            "frozen, 2 epochs more",
            tuple(
                score(refined(net, data, replace(RECIPE, seed=seed), 2))
                for net, seed in zip(whole, kept, strict=True)
            ),
        ),
    ]
    return (
        row("after all epochs", f"Test accuracy after {RECIPE.epochs} epochs", final),
        row("early", f"Test accuracy after {EARLY} of them", early),
        row("norms", "Test accuracy after 6 epochs by norm", norms),
        row("frozen", "Test accuracy with layer norms frozen", cost),
    )


def _early_and_final(
    data: Data, recipe: Recipe, score: Callable[[SpikingNet], float]
) -> tuple[float, float]:
    """Test accuracy after `EARLY` epochs and at the end, of one training."""
    seen: list[float] = []

    def also() -> dict[str, float]:
        seen.append(score(net))
        return {"test": seen[-1]}

    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        _fit(net, data, recipe, also=also)
    return seen[EARLY - 1], seen[-1]


def describe() -> dict[str, Any]:
    """The model card."""
    return {
        "name": "layernorm",
        "title": "Layer norm, Adam and learning-rate schedules",
        "paper": "Cha, Kim: Modified Learning Rate Scheduler, Mathematics 2025, 13(8), 1361, "
        "DOI 10.3390/math13081361",
        "known": [
            "leaky integrate-and-fire neurons, arctangent surrogate gradient, backpropagation "
            "through time, Adam, layer normalisation, dropout, softmax and cross-entropy, and a "
            "modified learning-rate schedule for the first epochs: the abstract",
            "the schedule's formula, the networks and the tables we could not read",
        ],
        "ours": [
            "sizes, steps, decay, learning rate, and the schedules, none of which is the paper's",
            "the softmax is of the mean over time of what the classifier reads out",
            "deployment: the host runs the first layer with its layer norm; the other layer norms "
            "become affine maps by their mean statistics on the training images",
        ],
        "neuron": f"snnTorch Leaky: decay {RECIPE.beta}, threshold 1, delayed subtractive reset",
        "encoding": f"direct: an image is a constant current for {RECIPE.steps} steps; deployed, "
        "the first layer runs on the host and sends its spikes",
        "decision": "the greatest mean potential of the readout, which does not spike",
        "recipe": asdict(RECIPE),
    }
