"""lava-dl's own ground truth: the files beside its tests for NetX, which its wheel installs.

Source: lava-nc/lava-dl 0.6.0 `tests/lava/lib/dl/netx`: `test_blocks.py` and `test_hdf5.py` say what
each file is, `test_hdf5_nx.py` which of them Intel's hardware test compares.  Our simulator runs on
Lava's clock: a step is a step of the chip.  Arrays there are (width, height, channels, steps).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.arithmetic_synapses import effective_weights, sign_mode_of
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.netx import Options, read_program
from neurodeploy.trace import Trace
from tests import pages_of_docs

STATE_UNIT = 64
REFRACTORY = 128
"""What the v register of a chip holds in the step of a spike."""


@dataclass(frozen=True, eq=False)
class Found:
    """One quantity: what the file says and what we compute, of equal shapes."""

    quantity: str
    file: np.ndarray
    ours: np.ndarray

    @property
    def differences(self) -> int:
        assert self.file.shape == self.ours.shape, self.quantity
        return int(np.count_nonzero(self.file != self.ours))


def ours(array: np.ndarray) -> np.ndarray:
    """(width, height, channels, steps) as (steps, channels, height, width); (n, steps) likewise."""
    return np.ascontiguousarray(array.transpose())


def registers(**values: Any) -> dict[str, np.ndarray]:
    return {name: np.atleast_1d(np.asarray(value, np.int64)) for name, value in values.items()}


def cuba(du: int, dv: int, vth: int) -> dict[str, np.ndarray]:
    return registers(du=du, dv=dv, vth=vth, bias_mant=0, bias_exp=6, u0=0, v0=0)


def one_block(
    model: str, parameters: Mapping[str, np.ndarray], arriving: Mapping[str, Any], **options: Any
) -> Program:
    """A population `n` and its synapses by port: weights, or None for a direct connection.

    As in lava-dl's blocks, weights count messages.
    """
    in_shape, out_shape = options.pop("shapes")
    synapses = []
    for port, weight in arriving.items():
        direct = weight is None
        kind = "one-to-one" if direct else "dense" if weight.ndim == 2 else "conv2d"
        synapses.append(
            Synapses(
                f"in.{port}",
                "in",
                "n",
                kind,  # type: ignore[arg-type]
                np.ones(int(np.prod(in_shape)), np.int64) if direct else weight.astype(np.int64),
                0,
                in_shape,
                out_shape,
                delay=np.array([0 if direct else 1]),  # all start at once: Lava's step
                graded=direct,
                port=port,
                **options,
            )
        )
    neurons = Neurons("n", out_shape, 0, parameters, np.ones(1), model, MODELS[model].graded)
    ports = (InputPort("in", in_shape, graded=True),)
    return Program("loihi2", ports, (neurons,), tuple(synapses), ("n",), {})


def run(program: Program, x: np.ndarray) -> Trace:
    """One sample, (steps, *shape)."""
    names = [population.name for population in program.populations]
    return simulate(program, x[None].astype(np.int64), LoihiMachine(), record=names)


def sent(trace: Trace, name: str) -> np.ndarray:
    return (trace.values if name in trace.values else trace.spikes)[name][0]


def dense(folder: Path) -> list[Found]:
    given = np.load(folder / "dense/weight.npy")
    weight = effective_weights(given, sign_mode_of(given), 8)
    program = one_block("lif", cuba(4095, 415, 6), {"current": weight}, shapes=((200,), (256,)))
    trace = run(program, ours(np.load(folder / "dense/in.npy")))
    current = ours(np.load(folder / "dense/current.npy")) * STATE_UNIT
    return [
        Found("spikes", ours(np.load(folder / "dense/out.npy")), sent(trace, "n")),
        Found("currents", current, trace.states["n"]["u"][0]),
    ]


def resonator(period: float, alpha: float, vth: float) -> dict[str, np.ndarray]:
    """The integers that Lava makes of these fractions."""
    angle = np.pi * 2 / period
    return registers(
        sin_decay=int((1 - alpha) * np.sin(angle) * 4096),
        cos_decay=int((1 - alpha) * np.cos(angle) * 4096),
        decay_bits=12,
        state_exp=6,
        vth=int(vth * 64),
    )


def complex_dense(folder: Path) -> list[Found]:
    folder = folder / "complex_dense"
    x = ours(np.load(folder / "in.npy"))
    weights = {}
    for port, name in (("real", "weight_r"), ("imag", "weight_img")):
        given = np.load(folder / f"{name}.npy").astype(np.int64)
        weights[port] = effective_weights(given, sign_mode_of(given), 8)
    block = one_block("rf", resonator(11, 0.05, 25), weights, shapes=((200,), (256,)))
    direct = {"real": None, "imag": None}
    encoder = one_block("rf-iz", resonator(7, 0.05, 1.1), direct, shapes=((200,), (200,)))
    return [
        Found("spikes", ours(np.load(folder / "out.npy")), sent(run(block, x), "n")),
        Found(
            "spikes of inputs", ours(np.load(folder / "current.npy")), sent(run(encoder, x), "n")
        ),
    ]


def tinynet(folder: Path) -> list[Found]:
    program = read_program(folder.parent / "tiny.net", Options(reset_interval=17), together=True)
    image = ours(np.load(folder / "tinynet/input_bias.npy"))
    trace = run(program, np.broadcast_to(image, (17, *image.shape)))

    def file(name: str) -> np.ndarray:
        return ours(np.load(folder / f"tinynet/{name}.npy")[0].transpose(2, 1, 0, 3))

    current = trace.states["layer1"]["u"][0]
    return [
        Found("spikes of the input", file("input")[1:], sent(trace, "layer0")[:15]),
        Found("spikes of the first layer", file("layer1")[1:], sent(trace, "layer1")[1:16]),
        Found("currents of the first layer", file("current") * STATE_UNIT, current[:16]),
        Found("spikes of the output", file("output")[1:], sent(trace, "layer2")[2:17]),
    ]


def tinynet_sdnn(folder: Path) -> list[Found]:
    """Only the first step of the convolution is run there; the file says 0 for all others."""
    folder = folder / "tinynet_sdnn"
    image = np.load(folder / "input_bias.npy")[..., None]
    x = ours((image * np.sin(2 * np.pi * np.arange(15) / 15)).astype(int))
    encode = registers(vth=20, spike_exp=6, state_exp=6, cum_error=0)
    shape, small = (3, 16, 16), (24, 6, 6)
    delta = one_block("delta", encode, {"current": None}, shapes=(shape, shape))
    kernel = np.load(folder / "layer1_kernel.npy")[:, ::-1, ::-1].transpose(0, 3, 2, 1)
    bias = np.broadcast_to(np.load(folder / "layer1_bias.npy")[:, None, None], small).astype(int)
    conv = one_block(
        "sigma-delta",
        {**encode, **registers(bias=bias, relu=1)},
        {"current": kernel},
        shapes=(shape, small),
        stride=(2, 2),
    )
    given = np.load(folder / "layer2_weight.npy")
    weight = effective_weights(given, sign_mode_of(given), 8)
    sigma = one_block("sigma", {}, {"current": weight}, shapes=((864,), (100,)))
    messages = np.load(folder / "input.npy")
    first = np.load(folder / "layer1.npy")
    assert not first[..., 1:].any()
    spikes = (first.reshape(-1, 16) != 0).astype(np.uint8)  # lava-dl's block counts messages
    return [
        Found("messages of the input", ours(messages), sent(run(delta, x), "n")),
        Found(
            "messages of the convolution, first step",
            ours(first)[:1],
            sent(run(conv, ours(messages)), "n")[:1],
        ),
        Found("sums", ours(np.load(folder / "layer2.npy")), sent(run(sigma, ours(spikes)), "n")),
    ]


def pilotnet_sdnn(folder: Path) -> list[Found]:
    folder = folder / "pilotnet_sdnn"
    program = read_program(folder / "network.net", together=True)
    image = ours(np.load(folder / "input.npy"))
    trace = run(program, np.broadcast_to(image, (20, *image.shape[1:])))
    messages = np.load(folder / "act0.npy")
    square = read_program(folder / "square_network.net", Options(skip_layers=1), together=True)
    cut = run(square, ours(messages[:33, :33]))
    return [
        Found("output", ours(np.load(folder / "output.npy")), sent(trace, "layer9")[:9]),
        Found("messages of the input", ours(messages), sent(trace, "layer0")),
        *(
            Found(f"sums of layer {i}", ours(np.load(folder / f"sigma{i}.npy")), sums(trace, i))
            for i in (1, 2)
        ),
        *(
            Found(
                f"sums of layer {i}, square",
                ours(np.load(folder / f"sigma{i}_square.npy")),
                sums(cut, i),
            )
            for i in (1, 2, 3, 4)
        ),
    ]


def sums(trace: Trace, layer: int) -> np.ndarray:
    return trace.states[f"layer{layer}"]["sigma"][0]


def ntidigits(folder: Path) -> list[Found]:
    """The file is a step late; lava-dl's test compares one step of it, in which nothing spikes."""
    folder = folder / "ntidigits"
    program = read_program(folder / "ntidigits.net", Options(num_layers=5), together=True)
    trace = run(program, ours(np.load(folder / "input.npy")))
    output = ours(np.load(folder / "output.npy"))
    return [Found("spikes of the output", output[1:], sent(trace, "layer4")[:-1])]


def pilotnet_lif(folder: Path) -> list[Found]:
    folder = folder / "pilotnet_lif"
    program = read_program(folder / "network.net", Options(reset_interval=17), together=True)
    image = ours(np.load(folder / "image.npy"))
    trace = run(program, np.broadcast_to(image, (24, *image.shape)))
    names = ["input", *(f"conv-{i}" for i in range(5)), *(f"fc-{i}" for i in range(3))]
    found = []
    kept: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
        "spikes": [],
        "currents": [],
        "potentials but where a neuron spikes": [],
        "potentials where a neuron spikes, file minus 128": [],
    }
    for name, population in zip(names, program.populations[:9], strict=True):
        spikes = ours(np.load(folder / f"{name}.npy")).astype(np.uint8)
        kept["spikes"].append((spikes, sent(trace, population.name)))
        if name == "input":
            continue
        u, v = (ours(np.load(folder / f"{name}-{state}.npy")) for state in "uv")
        states = trace.states[population.name]
        kept["currents"].append((u, states["u"][0]))
        quiet, fired = spikes == 0, spikes == 1
        own = states["v"][0]
        kept["potentials but where a neuron spikes"].append((v[quiet], own[quiet]))
        kept["potentials where a neuron spikes, file minus 128"].append(
            (v[fired] - REFRACTORY, own[fired])
        )
    for quantity, pairs in kept.items():
        both = [np.concatenate([pair[i].reshape(-1) for pair in pairs]) for i in (0, 1)]
        found.append(Found(quantity, *both))
    return found


SETS: Mapping[str, Callable[[Path], list[Found]]] = {
    "dense": dense,
    "complex_dense": complex_dense,
    "tinynet": tinynet,
    "tinynet_sdnn": tinynet_sdnn,
    "pilotnet_sdnn": pilotnet_sdnn,
    "ntidigits": ntidigits,
    "pilotnet_lif": pilotnet_lif,
}


@pytest.fixture(scope="module")
def compared(lava_dl_tests: Path) -> dict[str, list[Found]]:
    return {name: compare(lava_dl_tests / "gts") for name, compare in SETS.items()}


@pytest.mark.parametrize("name", SETS)
def test_every_value_of_the_ground_truth(name: str, compared: dict[str, list[Found]]) -> None:
    for found in compared[name]:
        assert found.differences == 0, found.quantity
        # What is compared is not nothing.
        assert found.ours.size > 0
        assert found.ours.any() or found.quantity.endswith("minus 128")


def test_the_table_in_the_documentation(compared: dict[str, list[Found]]) -> None:
    rows = [
        pages_of_docs.row("set", "quantity", "values", "not 0", "differences"),
        pages_of_docs.row(*["---"] * 5),
    ]
    for name, quantities in compared.items():
        for found in quantities:
            count = int(np.count_nonzero(found.ours))
            numbers = (f"{n:,}" for n in (found.ours.size, count, found.differences))
            rows.append(pages_of_docs.row(name, found.quantity, *numbers))
    pages_of_docs.check("lava_dl.md", "ground truth", "\n".join(rows))
