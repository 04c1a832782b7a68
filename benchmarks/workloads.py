"""What is simulated: networks of snnTorch, the programs made of them, and input spikes.

Weights are random, drawn from a fixed seed and scaled layer by layer until each layer fires at a
chosen rate: a silent layer would cost an event-driven simulator nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
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
from neurodeploy.targets.loihi.lava.environment import environment_path
from neurodeploy.trace import Spikes

CALIBRATION_SAMPLES = 4
SHIFT = 7
"""Pixels from one of PilotNet's samples to the next."""
WEIGHTS = ("weight", "bias")
SEARCH = 12


@dataclass(frozen=True, eq=False)
class Workload:
    """One network on one set of inputs.

    Attributes
    ----------
    net: snnTorch, one step per call, hidden states inside.
    inputs: uint8 (samples, steps, *shape).
    lava: how many samples run in Lava beyond the first; 0 where it cannot run the program.
    """

    name: str
    net: nn.Sequential
    program: Program
    inputs: Spikes
    lava: int = 40

    def only(self, samples: int) -> Workload:
        """The same with the first samples."""
        return replace(self, inputs=self.inputs[:samples])


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
    title = "CNN of the NIR paper, 34x34x2"
    return Workload(title, net, program_of(net, inputs), inputs, lava=6)


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
    return Workload("recurrent 700-1000-20, CUBA", net, program, inputs, lava=0)


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


def pilotnet(samples: int) -> Workload:
    """PilotNet with lava-dl's weights, on the spikes that its input layer sends there.

    Both come with lava-dl 0.6.0 (tests/lava/lib/dl/netx/gts/pilotnet_lif: network.net, input.npy),
    which `make lava` installs: an image in 24 steps; the samples are this image, shifted.
    """
    folder = ground_truth("pilotnet_lif")
    modules: list[nn.Module] = []
    with h5py.File(folder / "network.net", "r") as file:
        for number in range(1, len(file["layer"]) - 1):  # neither the input nor the readout
            fields = file["layer"][str(number)]
            if fields["type"][0] == b"flatten":
                modules.append(nn.Flatten())
                continue
            modules += [_slayer(fields), _slayer_neurons(fields["neuron"])]
    image = np.load(folder / "input.npy").transpose(3, 2, 1, 0).astype(np.uint8)
    inputs = np.stack([np.roll(image, SHIFT * i, axis=-1) for i in range(samples)])
    net = nn.Sequential(*modules)
    return Workload("PilotNet of lava-dl", net, program_of(net, inputs), inputs, lava=4)


def ground_truth(name: str) -> Path:
    """The folder of lava-dl's own expected results, in the Lava environment."""
    parts = ("tests", "lava", "lib", "dl", "netx", "gts", name)
    found = list(environment_path().glob("/".join(("lib", "python*", "site-packages", *parts))))
    if not found:
        raise SystemExit(f"lava-dl's {name} is not in {environment_path()}: run `make lava`")
    return found[0]


def _slayer(fields: Any) -> nn.Module:
    """The layer of a block that lava-dl wrote."""
    weight, bias = (torch.from_numpy(fields[key][()].astype(np.float32)) for key in WEIGHTS)
    layer: nn.Linear | nn.Conv2d
    if weight.ndim == 2:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    else:
        stride, padding = (tuple(map(int, fields[key][()])) for key in ("stride", "padding"))
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride, padding)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def _slayer_neurons(fields: Any) -> nn.Module:
    return snn.Leaky(
        beta=1 - int(fields["vDecay"][()]) / 4096,
        threshold=float(fields["vThMant"][()]),
        init_hidden=True,
        reset_mechanism="zero",
        reset_delay=False,
    )


def demo(samples: int) -> Workload:
    """The demo's trained network on its test images."""
    data, net = load_data(), digits.load()
    inputs = encode(data.test_images)[:samples]
    calibration = encode(data.train_images[:64])
    return Workload("the demo's network", net, program_of(net, calibration), inputs)


WORKLOADS: dict[str, tuple[Callable[[int], Workload], int]] = {
    "mlp": (mlp, 128),
    "mlp-default": (lambda samples: mlp(samples, reset="subtract"), 128),
    "cnn": (cnn, 128),
    "recurrent": (recurrent, 128),
    "pilotnet": (pilotnet, 16),
    "demo": (demo, 128),
}
"""How each is built, and of how many samples."""
