"""What is simulated: networks of snnTorch, the programs made of them, and input spikes.

Weights are random, drawn from a fixed seed and scaled layer by layer until each layer fires at a
chosen rate: a silent layer would cost an event-driven simulator nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import snntorch as snn
import torch
from snntorch import utils
from torch import nn

from neurodeploy import api
from neurodeploy.frontends.snntorch import from_snntorch
from neurodeploy.models import digits
from neurodeploy.models.digits_data import encode, load_data
from neurodeploy.program import Program, Synapses
from neurodeploy.trace import Spikes

CALIBRATION_SAMPLES = 4
SEARCH = 12


@dataclass(frozen=True, eq=False)
class Workload:
    """One network on one set of inputs.

    Attributes
    ----------
    net: snnTorch, one step per call, hidden states inside.
    inputs: uint8 (samples, steps, *shape).
    forward: whether the program has no cycle, so that Lava can run it.
    """

    name: str
    net: nn.Sequential
    program: Program
    inputs: Spikes
    forward: bool = True


def spikes(samples: int, steps: int, shape: tuple[int, ...], density: float) -> Spikes:
    """Bernoulli spikes (samples, steps, *shape)."""
    draws = np.random.default_rng(0).random((samples, steps, *shape), dtype=np.float32)
    return (draws < density).astype(np.uint8)


def outputs(net: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """Output (steps, samples, ...) of `net` for inputs of that shape, step by step, from rest."""
    utils.reset(net)
    with torch.no_grad():
        results = [net(x) for x in inputs]
    return torch.stack([x[0] if isinstance(x, tuple) else x for x in results])


def tune(net: nn.Sequential, inputs: Spikes, rate: float) -> None:
    """Scale each layer's weights, in order, until the neurons behind it fire at `rate`."""
    x = torch.from_numpy(inputs[:CALIBRATION_SAMPLES].swapaxes(0, 1).copy()).float()
    ends = [i + 1 for i, module in enumerate(net) if isinstance(module, snn.SpikingNeuron)]
    for start, end in zip([0, *ends], ends, strict=False):
        part = net[start:end]
        (layer,) = (m for m in part if isinstance(m, (nn.Linear, nn.Conv2d)))
        weight = layer.weight.detach().clone()
        low, high = 0.0, 64.0
        for _ in range(SEARCH):
            gain = (low + high) / 2
            layer.weight.data = weight * gain
            low, high = (gain, high) if outputs(part, x).mean() < rate else (low, gain)
        x = outputs(part, x)


def program_of(net: nn.Sequential, inputs: Spikes) -> Program:
    """Compiled for Loihi 2."""
    utils.reset(net)
    graph = from_snntorch(net, torch.from_numpy(inputs[:1, 0]).float())
    return api.compile(graph, target="loihi2", calibration=inputs[:CALIBRATION_SAMPLES])


def mlp(
    samples: int, steps: int = 100, *, rate: float = 0.1, density: float = 0.1,
    width: int = 1024, reset: str = "zero",
) -> Workload:  # fmt: skip
    """784-1024-1024-10, leaky neurons."""
    torch.manual_seed(0)
    sizes = (784, width, width, 10)
    modules: list[nn.Module] = []
    for source, target in itertools.pairwise(sizes):
        modules += [
            nn.Linear(source, target, bias=False),
            snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism=reset),
        ]
    net = nn.Sequential(*modules)
    inputs = spikes(samples, steps, (784,), density)
    tune(net, inputs, rate)
    title = f"MLP 784-{width}-{width}-10, reset {reset}"
    return Workload(title, net, program_of(net, inputs), inputs)


def cnn(samples: int, steps: int = 100, *, rate: float = 0.1, density: float = 0.05) -> Workload:
    """The NIR paper's network for N-MNIST (neuromorphs/NIR, paper/02_cnn), without its weights."""
    torch.manual_seed(0)

    def neurons() -> snn.Leaky:
        return snn.Leaky(beta=1.0, init_hidden=True, reset_mechanism="zero")

    def pool() -> nn.AvgPool2d:
        return nn.AvgPool2d(2)  # a sum but for a factor of the weights, which are tuned

    net = nn.Sequential(
        nn.Conv2d(2, 16, 5, 2, 1, bias=False), neurons(),
        nn.Conv2d(16, 16, 3, 1, 1, bias=False), neurons(), pool(),
        nn.Conv2d(16, 8, 3, 1, 1, bias=False), neurons(), pool(),
        nn.Flatten(), nn.Linear(128, 256, bias=False), neurons(),
        nn.Linear(256, 10, bias=False), neurons(),
    )  # fmt: skip
    inputs = spikes(samples, steps, (2, 34, 34), density)
    tune(net, inputs, rate)
    return Workload("CNN of the NIR paper, 34x34x2", net, program_of(net, inputs), inputs)


def recurrent(
    samples: int, steps: int = 100, *, rate: float = 0.05, density: float = 0.05, size: int = 1000
) -> Workload:
    """700-1000-20 with all-to-all recurrence, CUBA neurons."""
    torch.manual_seed(0)
    constants = {"alpha": 0.75, "beta": 0.875, "init_hidden": True, "reset_mechanism": "zero"}
    back = nn.Linear(size, size, bias=False)
    back.weight.data *= 0.3

    def build(middle: nn.Module) -> nn.Sequential:
        last = snn.Synaptic(reset_delay=False, **constants)
        return nn.Sequential(
            nn.Linear(700, size, bias=False), middle, nn.Linear(size, 20, bias=False), last
        )

    inputs = spikes(samples, steps, (700,), density)
    forward = build(snn.Synaptic(reset_delay=False, **constants))
    tune(forward, inputs, rate)
    loop = snn.RSynaptic(linear_features=size, **constants)
    loop.recurrent.weight.data = back.weight.data
    loop.recurrent.bias.data.zero_()
    net = build(loop)
    for index in (0, 2):
        net[index].weight.data = forward[index].weight.data
    program = program_of(forward, inputs)
    program = with_loop(program, program.populations[0].name, back.weight.detach().numpy())
    return Workload("recurrent 700-1000-20, CUBA", net, program, inputs, forward=False)


def with_loop(program: Program, name: str, weight: Any) -> Program:
    """`program` with all-to-all synapses of one population to itself, on its weights' grid."""
    population, (first, *_) = program.population(name), program.incoming(name)
    step = 2.0 ** (first.exponent + 1)
    grid = 2 * np.rint(weight * float(population.parameters["vth"][0]) / step).astype(np.int64)
    shape = population.shape
    loop = Synapses(
        f"{name}->{name}",
        name,
        name,
        "dense",
        np.clip(grid, -254, 254),
        first.exponent,
        shape,
        shape,
    )
    return replace(program, synapses=(*program.synapses, loop))


def demo(samples: int) -> Workload:
    """The demo's trained network on its test images."""
    data, net = load_data(), digits.load()
    inputs = encode(data.test_images)[:samples]
    calibration = encode(data.train_images[:64])
    return Workload("the demo's network", net, program_of(net, calibration), inputs)


WORKLOADS: dict[str, Callable[[int], Workload]] = {
    "mlp": mlp,
    "mlp-default": lambda samples: mlp(samples, reset="subtract"),
    "cnn": cnn,
    "recurrent": recurrent,
    "demo": demo,
}
