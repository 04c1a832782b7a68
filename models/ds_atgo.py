"""Training system D: thresholds that follow the potentials, and gradients as wide as they spread.

DS-ATGO (Jiang, Xu, Fan and Yan, AAAI 2026, arXiv 2511.13050): each layer fires above the mean plus
one standard deviation of its own potentials (AT), and the rectangular surrogate gradient widens and
narrows with them (TGO).  The chip gets one threshold per layer, the mean over time of those that
training has averaged.  The neurons stand in `ds_atgo_neurons`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import InputError
from neurodeploy.models.comparing import against_the_first
from neurodeploy.models.data import load
from neurodeploy.models.ds_atgo_neurons import LEAST, AdaptivePLIF, Width
from neurodeploy.models.layerwise import over_steps, reset
from neurodeploy.models.system import Ablation, Arm, Data, Deployable, check_samples
from neurodeploy.models.training import fit, one_thread, session

DATA = ("digits", "glyphs28")


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    epochs, batch_size: passes over the training images, images per update.
    learning_rate: of stochastic gradient descent; falls to 0 along a cosine, update by update.
    seed: of the initial weights and the order of the images.
    steps: time steps T, in each of which the image is the same current.
    width, blocks: neurons per layer, and residual blocks of two layers each.
    gain: initial weights are Kaiming's (fan-in, normal) times this.
    norm: batch norm of the currents, over samples and steps, as in the paper.
    adaptive_threshold: AT; without it all thresholds stay 1.
    gradient: width of the surrogate gradient: TGO by the paper's formula ("threshold") or by the
        released code's ("spread"), or 1 ("fixed").
    momentum, weight_decay, label_smoothing: as in torch.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.02
    seed: int = 0
    steps: int = 2
    width: int = 96
    blocks: int = 3
    gain: float = 0.5
    norm: bool = False
    adaptive_threshold: bool = True
    gradient: Width = "threshold"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1


RECIPE = Recipe()
SHORT = replace(RECIPE, epochs=10)
ARMS = {
    "vanilla": replace(SHORT, adaptive_threshold=False, gradient="fixed"),
    "AT": replace(SHORT, gradient="fixed"),
    "TGO": replace(SHORT, adaptive_threshold=False),
    "AT+TGO": SHORT,
}
NOTE = "as a secondary note quotes the paper"
GAINS = f"on CIFAR-10, with batch norm, AT gains 0.71 points, TGO 1.05, both 1.71, {NOTE}"
CLAIMS = {
    "Test accuracy without batch norm": GAINS,
    "Test accuracy with batch norm": GAINS,
    "Mean of the layers' firing rates": f"15 % with both, 10.66 % in the vanilla network, {NOTE}",
    "Standard deviation of the layers' firing rates": "1.62 % with both, large in the vanilla "
    f"network, {NOTE}",
    "Least share of a layer's neurons that get a gradient": "in deep layers at least 36.5 % with "
    f"both, below 15.1 % in the vanilla network, {NOTE}",
}
"""What an ablation measures, without batch norm unless it says so: what the paper claims of it."""


class Layer(nn.Module):
    """Weights, batch norm if the recipe wants it, and neurons."""

    def __init__(self, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, recipe.width, bias=False)
        self.norm = nn.BatchNorm1d(recipe.width) if recipe.norm else nn.Identity()
        self.neurons = AdaptivePLIF(recipe.steps, recipe.adaptive_threshold, recipe.gradient)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (T, N, width) of values (T, N, inputs)."""
        spikes: Tensor = self.neurons(over_steps(self.norm, over_steps(self.linear, x)))
        return spikes

    def exported(self) -> nn.Sequential:
        """The same layer as snnTorch takes it, one step at a time."""
        return nn.Sequential(self.linear, self.norm, self.neurons.exported())


class ResidualNet(nn.Module):
    """A layer that turns images into spikes, residual blocks that add spikes (SEW), a readout.

    A block of two layers passes on its own spikes plus what it was given, so that the weights after
    n blocks see a sum of spikes, 0..n + 1.
    """

    def __init__(self, inputs: int, classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.steps = recipe.steps
        self.first = Layer(inputs, recipe)
        self.blocks = nn.ModuleList(
            nn.Sequential(Layer(recipe.width, recipe), Layer(recipe.width, recipe))
            for _ in range(recipe.blocks)
        )
        self.readout = nn.Linear(recipe.width, classes, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                module.weight.data *= recipe.gain

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, classes) of images (N, C, H, W): the mean over steps of what is read out."""
        x = self.first(images.flatten(1).expand(self.steps, -1, -1))
        for block in self.blocks:
            x = x + block(x)
        return over_steps(self.readout, x).mean(0)

    def layers(self) -> list[Layer]:
        """All layers of neurons, the first first."""
        return [module for module in self.modules() if isinstance(module, Layer)]


class DeployedNet(nn.Module):
    """What follows the first layer, of snnTorch's neurons, one step at a time.

    Sums of spikes are plain sums, which the compiler distributes over the weights that follow:
    W (s + t) = W s + W t.  The readout is a neuron without memory, reset and spikes: the mean of
    its potential over the steps decides.
    """

    def __init__(self, net: ResidualNet) -> None:
        super().__init__()
        _, *layers = (layer.exported() for layer in net.layers())
        pairs = zip(layers[::2], layers[1::2], strict=True)
        self.blocks = nn.ModuleList(nn.Sequential(*pair) for pair in pairs)
        self.readout = net.readout
        self.potential = snn.Leaky(beta=0.0, reset_mechanism="none", init_hidden=True, output=True)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials (N, classes) of spikes (N, width)."""
        for block in self.blocks:
            x = x + block(x)
        potential: Tensor = self.potential(self.readout(x))[1]
        return potential


def build(
    recipe: Recipe = RECIPE, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10
) -> ResidualNet:
    """The untrained network for images (C, H, W).

    Raises
    ------
    InputError: for a recipe with impossible values.
    """
    found = [
        f"{name} is {getattr(recipe, name)}, not at least 1"
        for name in ("steps", "width", "blocks")
        if getattr(recipe, name) < 1
    ]
    if recipe.gradient not in get_args(Width):
        found.append(f"gradient is {recipe.gradient!r}, not one of {', '.join(get_args(Width))}")
    if found:
        raise InputError("; ".join(found), node="recipe")
    return ResidualNet(math.prod(shape), classes, recipe)


def train(data: Data, recipe: Recipe = RECIPE, *, checkpoint: Path | None = None) -> ResidualNet:
    """A network trained on the training images of `data`, in evaluation mode.

    Raises
    ------
    InputError: for a recipe with impossible numbers, or for events.
    FileError: for a checkpoint of another training.
    """
    if data.steps is not None:
        raise InputError(
            f"are events, and ds-atgo takes images as constant currents: {', '.join(DATA)}",
            node=data.name,
        )
    images, labels = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    updates = recipe.epochs * math.ceil(len(labels) / max(recipe.batch_size, 1))
    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        optimizer = torch.optim.SGD(
            net.parameters(),
            recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )

        def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            scores = net(x)
            return F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing), scores

        fit(
            net,
            images,
            labels,
            recipe,
            loss=loss,
            optimizer=optimizer,
            schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates),
            checkpoint=checkpoint,
        )
    return net.eval()


def evaluate(net: ResidualNet, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of images float32 (N, C, H, W) classified correctly, each step at its threshold.

    Leaves the network in evaluation mode.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    check_samples(x, y, net.readout.out_features)
    with one_thread(), torch.no_grad():
        scores = net.eval()(torch.from_numpy(x))
    return float((scores.numpy().argmax(1) == y).mean())


def deploy(net: ResidualNet, data: Data) -> Deployable:
    """All but the first layer, which the host runs: an image is a current, and chips take spikes.

    In every layer, the host's too, the thresholds of the T steps become their mean.  That changes
    spikes; nothing else does.
    """
    first = net.eval().first.exported().eval()

    def encode(images: NDArray[Any]) -> NDArray[np.uint8]:
        currents = torch.from_numpy(images).flatten(1)
        reset(first)
        with one_thread(), torch.no_grad():
            spikes = [first(currents) for _ in range(net.steps)]
        return torch.stack(spikes, 1).to(torch.uint8).numpy()

    return Deployable(DeployedNet(net).eval(), torch.zeros(1, net.readout.in_features), encode)


def activity(net: ResidualNet, images: NDArray[Any]) -> NDArray[np.float64]:
    """(layers, 2): the firing rate, and the share of neurons inside the gradient's window.

    Means over images, steps and the neurons of a layer, in evaluation mode.
    """
    found: list[list[float]] = []

    def note(neurons: AdaptivePLIF, inputs: tuple[Tensor]) -> None:
        steps = zip(*neurons.run(inputs[0]), strict=True)
        found.append([torch.stack(part).float().mean().item() for part in steps])

    hooks = [layer.neurons.register_forward_pre_hook(note) for layer in net.eval().layers()]
    with one_thread(), torch.no_grad():
        net(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return np.array(found)


def ablation(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Ablation, ...]:
    """Threshold and width, each alone and together, without and with batch norm; 10 epochs."""
    data, kept = load("digits"), tuple(seeds)
    runs: dict[str, list[tuple[float, ...]]] = {name: [] for name in ARMS}
    for name, arm in ARMS.items():
        for seed in kept:
            plain, normed = (
                train(data, replace(arm, norm=norm, seed=seed)) for norm in (False, True)
            )
            rates, shares = activity(plain, data.test_x).T
            accuracies = (evaluate(net, data.test_x, data.test_y) for net in (plain, normed))
            runs[name].append((*accuracies, rates.mean(), rates.std(), shares.min()))
    found = []
    for index, (measure, claim) in enumerate(CLAIMS.items()):
        arms = tuple(Arm(name, tuple(float(run[index]) for run in runs[name])) for name in ARMS)
        outcome = against_the_first(arms, measure)
        found.append(Ablation(claim, measure, "1", data.name, kept, arms, outcome))
    return tuple(found)


def describe() -> dict[str, Any]:
    """The model card."""
    return {
        "name": "ds-atgo",
        "title": "DS-ATGO: adaptive threshold, adaptive width of the surrogate gradient",
        "paper": "Jiang, Xu, Fan, Yan: DS-ATGO, AAAI 2026, arXiv 2511.13050",
        "known": [
            "neuron, threshold, width, their constants and the residual wiring: the authors' code, "
            "github.com/jqjiang1999/DS-ATGO",
            "the width follows the threshold in the paper (by a secondary note) and the standard "
            "deviation of the potentials in the released code; both are here",
            "the results quoted as claims: a secondary note on the paper, whose own tables we "
            "could not read",
        ],
        "ours": [
            "a small fully connected network for small images, instead of a convolutional "
            "ResNet-19; its sizes, batch size, learning rate and initial gain",
            "no batch norm in the default recipe: with it the potentials' mean and spread are "
            "pinned anyway, and the ablation shows what that leaves of the gain",
            f"thresholds are at least {LEAST}, so that none is negative, which no chip could "
            "hold and which would fire at rest",
            "a potential equal to the threshold does not fire, as in snnTorch",
            "deployment: each layer's mean threshold over time; the first layer on the host",
        ],
        "neuron": "leaky, decay learned per layer, reset to zero, one threshold per layer and step",
        "encoding": f"direct: the image is a constant current for {RECIPE.steps} steps; deployed, "
        "the first layer runs on the host and sends its spikes",
        "decision": "highest mean over the steps of a readout without neurons",
        "recipe": asdict(RECIPE),
    }
