r"""Training system E: closed forms instead of gradients (ADMM).

After Perin, Bidini, Mazzieri and Rossi (arXiv 2505.05527).  With layers l = 1..L, steps t = 1..T,
a_0 the input spikes and y the one-hot label of a sample,

.. math::
    z_{l,t} = \delta z_{l,t-1} + W_l a_{l-1,t} - \theta a_{l,t-1},
    \qquad a_{l,t} = H(z_{l,t} - \theta)

in hidden layers (snnTorch's delayed subtraction), without reset or spikes in the last one.  All z
and a are variables of their own; training minimises

.. math::
    \|z_{L,T} - y\|^2 + \frac\rho2 \sum \|r_{l,t}\|^2 + \frac\beta2 \sum \|a_{l,t} - H(z_{l,t})\|^2
    + \lambda^\top r_{L,T}

with r the residuals of the first equation, one variable after the other, each by its closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import InputError
from neurodeploy.models.admm_net import AdmmNet, encode, execute
from neurodeploy.models.admm_steps import Variables
from neurodeploy.models.comparing import against_the_first
from neurodeploy.models.data import load
from neurodeploy.models.layerwise import reset, time_major
from neurodeploy.models.system import Ablation, Arm, Data, Deployable, check_samples
from neurodeploy.models.training import loop, session
from neurodeploy.torch.epochs import History

DATA = ("digits",)
LEAST = {"steps": 2, "iterations": 1, "warm_up": 0, "layers": 1, "hidden": 1}
RIDGE = 1.0
"""Weight of the squared readout weights where a readout is fitted alone."""
ARMS = ("random hidden layer + ridge", "ADMM", "ADMM, readout refitted")
CLAIMS = {
    "Test accuracy": "potential for shallow networks (abstract); no test accuracy is known to us",
    "Accuracy on the training samples used": "a log of ADMM_SNN by others ends at 98 % of 200 "
    "N-MNIST samples after 1,001 iterations",
}


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    epochs: of `iterations` updates of every variable each.
    batch_size: how many training samples are used, all in every iteration.
    learning_rate: rho, the price of residuals and the step of the multipliers.
    seed: of the samples, the first z and a, the noise and the order of updates.
    steps: T, where samples are images.
    layers, hidden: hidden layers, and neurons of each.
    spiking: beta, the price of an a that is not H(z).
    warm_up: epochs before the multipliers move.
    decay, threshold: delta and theta of every neuron.
    noise: standard deviation of what is added to the input while training.
    """

    epochs: int = 20
    batch_size: int = 200
    learning_rate: float = 10.0
    seed: int = 0
    steps: int = 20
    layers: int = 1
    hidden: int = 128
    iterations: int = 10
    spiking: float = 1.0
    warm_up: int = 6
    decay: float = 0.95
    threshold: float = 1.0
    noise: float = 0.1


RECIPE = Recipe()


def build(
    recipe: Recipe = RECIPE, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10
) -> AdmmNet:
    """The network before training: random weights, standard deviation 1/sqrt(fan-in)."""
    net = AdmmNet(_sizes(recipe, shape, classes), recipe.steps, recipe.decay, recipe.threshold)
    for linear in net.linears():
        nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
    return net


def _sizes(recipe: Recipe, shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
    return (math.prod(shape), *(recipe.hidden,) * recipe.layers, classes)


def train(data: Data, recipe: Recipe = RECIPE, *, checkpoint: Path | None = None) -> AdmmNet:
    """A network trained on `batch_size` of the training samples, in evaluation mode.

    Raises
    ------
    InputError: for a recipe with impossible numbers.
    FileError: for a checkpoint of another training.
    """
    return trained(data, recipe, checkpoint)[0]


def trained(data: Data, recipe: Recipe, checkpoint: Path | None = None) -> tuple[AdmmNet, History]:
    """As `train`, with the figures of `admm_steps.Variables.iterate` after each epoch."""
    with session(recipe):
        _check(recipe)
        net = build(recipe, data.shape, data.classes)
        x, y = _samples(data, recipe)
        sizes = _sizes(recipe, data.shape, data.classes)
        variables = Variables(x.flatten(2), F.one_hot(y, data.classes).double(), sizes, recipe)

        def epoch(index: int) -> dict[str, float]:
            moving = index >= recipe.warm_up
            found = [variables.iterate(moving) for _ in range(recipe.iterations)]
            rises = sum(figures.pop("rose") for figures in found)
            return {**found[-1], "rises": rises}

        history = loop(recipe, epoch, {"variables": variables}, x=x, y=y, checkpoint=checkpoint)
    for linear, weight in zip(net.linears(), variables.weights, strict=True):
        linear.weight.data.copy_(weight)
    silent = ~x.flatten(2).any(0).any(0)  # what was fitted there is the noise
    net.linears()[0].weight.data[:, silent] = 0
    return net.eval(), history


def _check(recipe: Recipe) -> None:
    found = [
        f"{name} is {getattr(recipe, name)}, not at least {least}"
        for name, least in LEAST.items()
        if getattr(recipe, name) < least
    ]
    if not (recipe.spiking > 0 and 0 <= recipe.decay < 1 and recipe.threshold > 0):
        found.append("spiking and threshold must be above 0, decay within 0..1")
    if found:
        raise InputError("; ".join(found), node="recipe")


def _samples(data: Data, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Those that are used: noise-free spikes float64 (T, N, C, H, W), labels (N,)."""
    used = _chosen(data, recipe)
    spikes = encode(data.train_x[used], recipe.steps)
    return time_major(torch.from_numpy(spikes)).double(), torch.from_numpy(data.train_y[used])


def _chosen(data: Data, recipe: Recipe) -> NDArray[np.int64]:
    order = np.random.default_rng(recipe.seed).permutation(len(data.train_y))
    return order[: recipe.batch_size]


def evaluate(net: AdmmNet, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of samples that the executed network classifies correctly, by z_{L,T}.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    check_samples(x, y, net.readout.out_features)
    _, potentials = execute(net, x)
    return float((potentials[-1].argmax(1).numpy() == y).mean())


def deploy(net: AdmmNet, data: Data) -> Deployable:
    """The network itself; the host sends the rate code, or events as they are."""
    reset(net)
    steps = net.steps
    return Deployable(net, torch.zeros(1, *data.shape), lambda x: encode(x, steps))


def refit(net: AdmmNet, data: Data, recipe: Recipe = RECIPE) -> AdmmNet:
    """The same hidden layers with a readout fitted to them alone, on the same samples.

    Ridge regression of y on f = sum over t of delta^(T-t) a_t of the executed network, which is
    what z_{L,T} weighs: W = (sum y f^T)(sum f f^T + RIDGE I)^-1.
    """
    x, y = _samples(data, recipe)
    spikes, _ = execute(net, x.transpose(0, 1).to(torch.uint8).numpy())
    powers = net.decay ** torch.arange(len(spikes) - 1, -1, -1).double()
    features = torch.einsum("t,tni->ni", powers, spikes.double())
    gram = features.T @ features + RIDGE * torch.eye(features.shape[1]).double()
    targets = F.one_hot(y, net.readout.out_features).double()
    other = build(recipe, data.shape, data.classes)
    other.load_state_dict(net.state_dict())
    other.readout.weight.data.copy_(torch.linalg.solve(gram, features.T @ targets).T)
    return other.eval()


def ablation(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Ablation, ...]:
    """ADMM beside a hidden layer that is left as it was drawn, on the same 200 digits; and in how
    many iterations of the warm-up, with the multipliers at rest, the Lagrangian rose."""
    data, kept = load("digits"), tuple(seeds)
    accuracies: dict[str, list[tuple[float, ...]]] = {measure: [] for measure in CLAIMS}
    rises: list[float] = []
    for seed in kept:
        recipe = replace(RECIPE, seed=seed)
        net, history = trained(data, recipe)
        rises.append(sum(figures["rises"] for figures in history[: recipe.warm_up]))
        with session(recipe):
            start = build(recipe, data.shape, data.classes)
        nets = (refit(start, data, recipe), net, refit(net, data, recipe))
        used = _chosen(data, recipe)
        parts = ((data.test_x, data.test_y), (data.train_x[used], data.train_y[used]))
        for found, part in zip(accuracies.values(), parts, strict=True):
            found.append(tuple(evaluate(one, *part) for one in nets))
    compared = []
    for measure, claim in CLAIMS.items():
        values = zip(*accuracies[measure], strict=True)
        arms = tuple(Arm(name, each) for name, each in zip(ARMS, values, strict=True))
        text = against_the_first(arms, measure)
        compared.append(Ablation(claim, measure, "1", data.name, kept, arms, text))
    steady = Arm("ADMM", tuple(rises))
    iterations = RECIPE.warm_up * RECIPE.iterations
    outcome = f"The Lagrangian rose in {sum(rises):.0f} of {iterations * len(kept)} iterations."
    measure = f"Iterations, of {iterations} of warm-up, in which the Lagrangian rose"
    claim = "every update minimises over its own variable, so that it does not rise"
    return (*compared, Ablation(claim, measure, "iterations", data.name, kept, (steady,), outcome))


def describe() -> dict[str, Any]:
    """The model card."""
    return {
        "name": "admm",
        "title": "ADMM: closed forms instead of gradients",
        "paper": "Perin, Bidini, Mazzieri, Rossi, arXiv 2505.05527",
        "known": [
            "model, objective, every update, their order and the start: the class ADMM_SNN of "
            "github.com/josubernal/ADMM_framework, which numbers its equations like the paper; "
            "there N-MNIST in 150 steps, 512 hidden neurons, rho 1, beta 0.1, 200 samples and "
            "1,000 iterations, 300 of them as warm-up",
            "the paper's aims: its abstract. We could not read its figures and tables",
        ],
        "ours": [
            "digits as a rate code of 20 steps, 128 hidden neurons, rho 10, beta 1, 200 "
            "iterations, 60 of them as warm-up",
            "ten times the noise of ADMM_SNN (0.1 instead of 0.01): it conditions the "
            "pseudo-inverse; with less, inputs that hardly ever spike get weights so large that 8 "
            "bits hold little of the others. Weights of inputs that never do are set to 0",
            "the accuracy is that of the executed network on spikes without noise: in training a "
            "is relaxed to 0..1, and what is executed is another network",
            "beside it stands a hidden layer that is left random, with a readout by one ridge "
            "regression: it is better here, and ADMM's hidden layer worse than a random one. We "
            "claim closed forms without gradients and a Lagrangian that does not rise, no more",
        ],
        "neuron": "snnTorch's Leaky, decay 0.95, delayed subtraction, no biases",
        "encoding": f"rate code of {RECIPE.steps} steps; deployed as trained, without the noise",
        "decision": "highest potential of the leaky readout in the last step, as in the paper; on "
        "chips, and wherever a program decides, the highest mean over the steps",
        "recipe": asdict(RECIPE),
    }
