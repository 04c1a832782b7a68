"""Training system B: a deep residual network, batch norm on input currents, a tuned surrogate.

Ledinauskas, Ruseckas, Juršėnas and Buračas, "Training Deep Spiking Neural Networks" (2020, arXiv
2006.04436): through many spiking layers gradients explode where the surrogate is too wide and
vanish where it is too narrow, so its width is tuned; currents are batch-normalised with statistics
that all time steps share.  Constants and tables of the paper could not be read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import InputError
from neurodeploy.models.comparing import against_the_first
from neurodeploy.models.data import load
from neurodeploy.models.layerwise import over_steps, reset, spikes_of
from neurodeploy.models.system import Ablation, Arm, Data, Deployable, check_samples
from neurodeploy.models.training import fit, one_thread, session
from neurodeploy.torch.gradients import Probe, probe_gradients

DATA = ("digits", "glyphs28")
SLOPES = (0.5, 1.0, 2.0, 5.0, 10.0, 25.0)
"""Of the fast sigmoid; 25 is snnTorch's default."""
CLAIM = (
    "surrogate gradients explode or vanish with depth unless their width is tuned (abstract); "
    "accuracies could not be read"
)
PROBED = 256
"""Training images that gradients are looked at on."""


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    epochs, batch_size: passes over the training images, images per update.
    learning_rate: the peak of AdamW's one-cycle schedule.
    seed: of the initial weights and the order of the images.
    steps: time steps, in each of which an image is the same current.
    width, blocks: neurons of a layer, and blocks of two layers each behind the first layer.
    slope: k of the surrogate gradient 1 / (1 + k |U - 1|)^2; its width is about 1/k.
    skip: whether what enters a block is added to the currents of its second layer.
    norm: batch norm of the currents, over samples and steps.
    beta: decay of snnTorch's `Leaky`; threshold 1, subtractive reset one step later.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    steps: int = 10
    width: int = 64
    blocks: int = 4
    slope: float = 1.0
    skip: bool = True
    norm: bool = True
    beta: float = 0.9


RECIPE = Recipe()
SHORT = replace(RECIPE, epochs=6)
PLAIN = replace(SHORT, skip=False)


class Layer(nn.Module):
    """Weights, batch norm if the recipe wants it, and neurons that hold their own state."""

    def __init__(self, inputs: int, recipe: Recipe, width: int, norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.neurons: nn.Module = snn.Leaky(
            beta=recipe.beta,
            spike_grad=surrogate.fast_sigmoid(slope=recipe.slope),
            init_hidden=True,
        )

    def currents(self, x: Tensor) -> Tensor:
        """Of values (T, N, inputs), over all steps at once."""
        return over_steps(self.norm, over_steps(self.linear, x))

    def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        """Spikes of one step (N, width), with `more` current."""
        current = self.norm(self.linear(x))
        spikes: Tensor = self.neurons(current if more is None else current + more)
        return spikes


class Block(nn.Module):
    r"""Two layers; spikes x that enter are currents of the second, :math:`\mathrm{BN}(W s) + x`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.first, self.second = (
            Layer(recipe.width, recipe, recipe.width, recipe.norm) for _ in range(2)
        )
        self.skip = recipe.skip

    def spikes(self, x: Tensor) -> Tensor:
        """Of values (T, N, width), layer by layer."""
        inner = spikes_of(self.first.neurons, self.first.currents(x))
        current = self.second.currents(inner)
        return spikes_of(self.second.neurons, current + x if self.skip else current)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step (N, width)."""
        spikes: Tensor = self.second(self.first(x), x if self.skip else None)
        return spikes


class DeepNet(nn.Module):
    """A layer that turns images into spikes, blocks, a spiking classifier."""

    def __init__(self, inputs: int, classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.steps = recipe.steps
        self.first = Layer(inputs, recipe, recipe.width, recipe.norm)
        self.blocks: Any = nn.ModuleList(Block(recipe) for _ in range(recipe.blocks))
        self.last = Layer(recipe.width, recipe, classes, norm=False)

    def encoded(self, x: Tensor) -> Tensor:
        """The first layer's spikes (T, N, width) of images (N, ...), a current in every step."""
        current = self.first.norm(self.first.linear(x.flatten(1)))
        return spikes_of(self.first.neurons, current.expand(self.steps, *current.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Output spikes (T, N, classes) of images, layer by layer."""
        spikes = self.encoded(x)
        for block in self.blocks:
            spikes = block.spikes(spikes)
        return spikes_of(self.last.neurons, self.last.currents(spikes))


class Deployed(nn.Module):
    """All behind the first layer, one step at a time."""

    def __init__(self, net: DeepNet) -> None:
        super().__init__()
        self.blocks, self.last = net.blocks, net.last

    def forward(self, x: Tensor) -> Tensor:
        """Output spikes (N, classes) of the first layer's spikes (N, width)."""
        for block in self.blocks:
            x = block(x)
        spikes: Tensor = self.last(x)
        return spikes


def build(
    recipe: Recipe = RECIPE, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10
) -> DeepNet:
    """The untrained network of 2 + 2 `blocks` layers with weights.

    Raises
    ------
    InputError: for no block, or a slope that is not a number above 0.
    """
    if recipe.blocks < 1 or not 0 < recipe.slope < math.inf:
        raise InputError(
            f"blocks is {recipe.blocks} and slope {recipe.slope}; both must be above 0",
            node="recipe",
        )
    return DeepNet(math.prod(shape), classes, recipe)


def probe(data: Data, recipe: Recipe = RECIPE, slopes: Sequence[float] = SLOPES) -> Probe:
    """Gradients of the first layer against the last one's, before any training.

    Raises `InputError` for a recipe with impossible numbers.
    """
    x, y = torch.from_numpy(data.train_x[:PROBED]), torch.from_numpy(data.train_y[:PROBED])
    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        return probe_gradients(net, lambda: F.cross_entropy(net(x).sum(0), y), slopes)


def train(data: Data, recipe: Recipe = RECIPE, *, checkpoint: Path | None = None) -> DeepNet:
    """A network trained on the training images of `data`, in evaluation mode.

    Cross-entropy of output spike counts, AdamW, one-cycle schedule.

    Raises
    ------
    InputError: for a recipe with impossible numbers.
    FileError: for a checkpoint of another training.
    """
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    with session(recipe):
        net = build(recipe, data.shape, data.classes)
        optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate)
        updates = recipe.epochs * math.ceil(len(y) / recipe.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=updates + 1
        )

        def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            counts = net(x).sum(0)
            return F.cross_entropy(counts, y), counts

        fit(
            net,
            x,
            y,
            recipe,
            loss=loss,
            optimizer=optimizer,
            schedule=schedule,
            checkpoint=checkpoint,
        )
    reset(net)
    return net.eval()


def evaluate(net: DeepNet, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of images that `net` classifies correctly, by the most output spikes.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    check_samples(x, y, net.last.linear.out_features)
    net.eval()
    with one_thread(), torch.no_grad():
        counts = net(torch.from_numpy(x)).sum(0)
    reset(net)
    # numpy's argmax returns the first of several maxima
    return float((counts.numpy().argmax(1) == y).mean())


def deploy(net: DeepNet, data: Data) -> Deployable:
    """All but the first layer, which the host runs: an image is a current, and chips take spikes.

    Batch norms fold into the weights exactly.  A skip is one connection more into the second layer
    of its block, of one synapse per neuron.
    """

    def encode(images: NDArray[Any]) -> NDArray[np.uint8]:
        net.eval()
        with one_thread(), torch.no_grad():
            spikes = net.encoded(torch.from_numpy(images))
        reset(net)
        return spikes.transpose(0, 1).to(torch.uint8).numpy()

    return Deployable(Deployed(net).eval(), torch.zeros(1, net.last.linear.in_features), encode)


def ablation(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Ablation, ...]:
    """Slopes of the surrogate in a plain deep network: gradients, and accuracy with and without
    batch norm; and what skips add."""
    data, kept = load("digits"), tuple(seeds)

    def accuracy(recipe: Recipe) -> tuple[float, ...]:
        nets = (train(data, replace(recipe, seed=seed)) for seed in kept)
        return tuple(evaluate(net, data.test_x, data.test_y) for net in nets)

    probes = [probe(data, replace(PLAIN, seed=seed)) for seed in kept]
    ratios = [
        Arm(f"slope {slope:g}", tuple(math.log10(found.ratios[i]) for found in probes))
        for i, slope in enumerate(SLOPES)
    ]
    falling = all(a.mean > b.mean for a, b in itertools.pairwise(ratios))
    balanced = [arm.name for arm in ratios if abs(arm.mean) == min(abs(a.mean) for a in ratios)]
    gradients = Ablation(
        CLAIM,
        "Gradient of the first layer over that of the last, log10, before training",
        "log10",
        data.name,
        kept,
        tuple(ratios),
        f"From {ratios[0].mean:+.1f} at {ratios[0].name} to {ratios[-1].mean:+.1f} at "
        f"{ratios[-1].name}, {'falling all the way' if falling else 'not falling all the way'}; "
        f"nearest to 0 at {balanced[0]}.",
    )

    def compared(what: str, arms: tuple[Arm, ...]) -> Ablation:
        return Ablation(CLAIM, what, "1", data.name, kept, arms, against_the_first(arms, what))

    found, at_one = [gradients], []
    for kind, recipe in (
        ("plain, no norm", replace(PLAIN, norm=False)),
        ("plain, batch norm", PLAIN),
        ("skips, batch norm", SHORT),
    ):
        accuracies = {slope: accuracy(replace(recipe, slope=slope)) for slope in (1.0, 5.0, 25.0)}
        arms = tuple(Arm(f"slope {slope:g}", values) for slope, values in accuracies.items())
        found.append(compared(f"Test accuracy, {kind}", arms))
        at_one.append(Arm(kind, accuracies[1.0]))
    found.append(compared("Test accuracy at slope 1", tuple(at_one)))
    return tuple(found)


def describe() -> dict[str, Any]:
    """The model card."""
    return {
        "name": "deep-residual",
        "title": "Deep residual SNN: batch norm of currents, tuned surrogate width",
        "paper": "Ledinauskas, Ruseckas, Juršėnas, Buračas: Training Deep Spiking Neural Networks, "
        "2020, arXiv 2006.04436",
        "known": [
            "backpropagation through time with a surrogate gradient whose width is tuned, batch "
            "norm of input currents, residual networks, about ten steps: the abstract",
            "statistics shared over time, AdamW with a one-cycle schedule, the fast sigmoid: "
            "secondary notes",
            "constants, wiring of the residual connections and all accuracies we could not read",
        ],
        "ours": [
            f"all-to-all layers of {RECIPE.width} neurons, {RECIPE.blocks} blocks, instead of "
            "ResNet50, which fits no chip here",
            "a skip adds the spikes that enter a block to the currents of its second layer",
            "decay, learning rate and slope; a probe of gradients before training balances those "
            "of a plain network near a slope of 2",
        ],
        "neuron": f"snnTorch Leaky: decay {RECIPE.beta}, threshold 1, delayed subtractive reset",
        "encoding": f"direct: an image is a constant current for {RECIPE.steps} steps; deployed, "
        "the first layer runs on the host and sends its spikes",
        "decision": "most output spikes over all steps; of equals the lowest class",
        "recipe": asdict(RECIPE),
    }
