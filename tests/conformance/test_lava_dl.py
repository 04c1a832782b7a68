"""`.net` files against lava-dl and Lava: what was read is what they execute.

The folder lava_dl beside this file holds files that lava-dl wrote, and what its blocks did (make.py
there).  Lava runs networks that are built from a file's fields without our reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy import reference
from neurodeploy.frontends.lava_dl import read_net
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network, Population
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.lava.runner import (
    Forget,
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaSynapse,
    run,
)
from tests import net_files
from tests.builders import spikes_for

FILES = Path(__file__).parent / "lava_dl"
SHAPES = {"conv": (2, 11, 9), "pool": (2, 10, 8)}
NAMES = sorted(path.stem for path in FILES.glob("*.net"))
UNIT = 64
"""State units per unit of the weights (6 bits)."""


@dataclass(frozen=True, eq=False)
class Executed:
    """Integer neurons: spikes, and v as it was compared, (samples, steps, *shape)."""

    spikes: np.ndarray
    potential: np.ndarray


def whole(values: np.ndarray) -> np.ndarray:
    """The same numbers as int64."""
    assert np.array_equal(values, np.rint(values))
    return np.asarray(values).astype(np.int64)


def constant(population: Population) -> np.ndarray:
    """What is added to v in every step, past any synaptic current."""
    if population.leak is None:
        assert not (np.any(population.bias) and np.any(population.current_decay))
        return population.bias
    assert not np.any(population.bias)
    return population.leak


def execute(net: Network, population: Population, signals: Mapping[str, np.ndarray]) -> Executed:
    """Lava's fixed-point neurons with the integers of a loaded population.

    `signals`: the spikes of what leads to it, when they arrive (without the population itself).
    """
    du = whole(4096 * (1 - population.current_decay)) - 1
    dv = whole(4096 * (1 - population.decay))
    theta = whole(np.minimum(population.threshold, 2.0**24))
    bias = whole(constant(population) * UNIT)
    current = whole(reference.currents(net, population, signals) - population.bias)
    loops = [c for c in net.incoming(population.name) if c.source == population.name]
    fired = np.zeros((len(current), *population.shape), np.int64)
    u = v = fired
    spikes, potential = np.zeros(current.shape, np.uint8), np.zeros(current.shape, np.int64)
    for t in range(current.shape[1]):
        a = current[:, t] + sum(whole(c.apply(fired.astype(np.float64))) for c in loops)
        u, v = arithmetic.integrate(u, v, a, du, dv, bias)
        fired = (v > theta * UNIT).astype(np.int64)
        spikes[:, t], potential[:, t] = fired, v
        v = arithmetic.reset(v, fired)
    return Executed(spikes, potential)


def later(spikes: np.ndarray, steps: Any) -> np.ndarray:
    """Spikes (samples, steps, *shape), each neuron's so many steps later."""
    index = np.arange(spikes.shape[1]).reshape(-1, *(1,) * (spikes.ndim - 2)) - np.asarray(steps)
    moved = np.take_along_axis(
        spikes, np.broadcast_to(np.maximum(index, 0), spikes.shape[1:])[None], axis=1
    )
    return np.where(index >= 0, moved, 0).astype(np.uint8)


def number(name: str) -> int:
    return int(name.removeprefix("layer").split(".")[0])


class Recorded:
    """A file of lava-dl, what its blocks did, and our neurons in SLAYER's time.

    SLAYER hands spikes from one block to the next a step later (`delay_shift`).
    """

    def __init__(self, name: str) -> None:
        self.graph = read_net(FILES / f"{name}.net", SHAPES.get(name))
        self.net = load(self.graph)
        with np.load(FILES / f"{name}.npz") as arrays:
            self.blocks = {key: arrays[key] for key in arrays.files}

    def signals(self, spikes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What arrives at the layers."""
        return {"input": self.blocks["x"], **{k: later(s, 1) for k, s in spikes.items()}}

    def outputs(self, name: str, spikes: np.ndarray) -> np.ndarray:
        """What the block of a population puts out: its spikes, a step and its delay later."""
        steps: Any = 1
        if (name, f"{name}.delay") in self.graph.edges:
            steps = 1 + whole(self.graph.nodes[f"{name}.delay"].delay / 1e-3)
        return later(spikes, steps)


@pytest.mark.parametrize("name", NAMES)
def test_the_integers_that_were_read_do_what_slayer_did(name: str) -> None:
    """Every block's output, from its input alone, without a single difference."""
    recorded = Recorded(name)
    spikes: dict[str, np.ndarray] = {}
    for population in recorded.net.populations:
        block = recorded.blocks[f"block{number(population.name)}"]
        done = execute(recorded.net, population, recorded.signals(spikes))
        if population.spiking:
            spikes[population.name] = done.spikes
            np.testing.assert_array_equal(recorded.outputs(population.name, done.spikes), block)
            assert 20 < block.sum() < 0.7 * block.size, population.name
        else:
            np.testing.assert_array_equal(done.potential / UNIT**2, block)
    assert recorded.net.outputs[-1].startswith(f"layer{len(recorded.blocks) - 2}")


@pytest.mark.parametrize("name", sorted({*NAMES} - {"norm", "recurrent"}))
def test_the_step_between_blocks_is_latency(name: str) -> None:
    """The network as it is, without that step: the same, as many steps earlier as there are blocks.

    Not so where deeper layers have biases, which act while they wait for their input.
    """
    recorded = Recorded(name)
    signals = {"input": recorded.blocks["x"]}
    for depth, population in enumerate(recorded.net.populations):
        assert depth == 0 or not np.any(constant(population))
        signals[population.name] = execute(recorded.net, population, signals).spikes
        if population.spiking:
            block = recorded.blocks[f"block{number(population.name)}"]
            np.testing.assert_array_equal(later(signals[population.name], 1 + depth), block)


def slack(population: Population) -> np.ndarray:
    """How far rounding can move v from its value in real arithmetic, in the unit of the weights.

    Less than one state unit per step, for each of u and v, of which the decay leaves a part.
    """
    steps = 60.0

    def sums(decay: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.minimum(1 / (1 - decay), steps)

    u = np.where(population.current_decay > 0, sums(population.current_decay), 0)
    v = np.where(population.decay > 0, (1 + u) * sums(population.decay), u)
    return v / UNIT


def test_the_reference_differs_from_slayer_by_rounding_only() -> None:
    """Where a neuron first differs, its potential is within the rounding of its threshold."""
    cells = mismatches = 0
    for recorded in map(Recorded, NAMES):
        spikes: dict[str, np.ndarray] = {}
        for population in recorded.net.populations:
            signals = recorded.signals(spikes)
            done = execute(recorded.net, population, signals)
            spikes[population.name] = done.spikes
            own = {**signals, population.name: done.spikes}
            current = reference.currents(recorded.net, population, own)
            found = reference.neurons(current, population)
            room = np.broadcast_to(slack(population), done.spikes.shape)
            if not population.spiking:
                assert np.all(np.abs(found.potential - done.potential / UNIT) <= room)
                continue
            differs = found.spikes != done.spikes
            first = differs & (np.cumsum(differs, axis=1) == 1)
            margin = np.abs(found.potential - population.threshold)
            assert np.all(margin[first] < room[first])
            cells, mismatches = cells + differs.size, mismatches + int(differs.sum())
    assert (mismatches, cells) == (43, 107_820)


# --- Lava ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A file's layers and spikes (samples, steps, *shape) for it."""

    layers: tuple[net_files.Layer, ...]
    x: np.ndarray


def even(rng: np.random.Generator, *shape: int, largest: int = 60) -> np.ndarray:
    return 2 * rng.integers(-largest // 3, largest // 2, shape)


def case(seed: int, *, decaying: bool) -> Case:
    """Convolution, pooling, convolution and dense, or dense, recurrent and dense, layers."""
    rng = np.random.default_rng(seed)

    def neuron(channels: int, v_th: int) -> net_files.Layer:
        count = channels if rng.random() < 0.5 else 1
        if decaying:
            decays = rng.integers(0, 4097, (2, count))
        else:  # nothing is rounded: no current, all or nothing of the potential
            decays = np.stack([np.full(count, 4096), 4096 * rng.integers(0, 2, count)])
        theta = rng.integers(v_th // 2, v_th, count)
        theta, i_decay, v_decay = (a if count > 1 else int(a[0]) for a in (theta, *decays))
        return net_files.cuba(theta, i_decay, v_decay)

    def bias(channels: int) -> np.ndarray:
        return 2.0 * rng.integers(-5, 6, channels)

    if seed % 2:
        weight = even(rng, 4, 1, 3, 2)
        layers = (
            net_files.source(2, 7, 7),
            net_files.conv(
                weight, (4, 4, 6), neuron(4, 200), groups=2,
                stride=np.array([2, 1]), padding=np.array([1, 0]), bias=bias(4),
            ),
            net_files.pool((2, 2), (4, 2, 3), neuron(4, 200)),
            net_files.conv(
                even(rng, 5, 4, 2, 2), (5, 1, 1), neuron(5, 150),
                dilation=np.array([1, 2]), bias=bias(5),
            ),
            net_files.flatten(5),
            net_files.dense(even(rng, 6, 5), neuron(6, 60)),
        )  # fmt: skip
        shape: tuple[int, ...] = (2, 7, 7)
    else:
        shape = (12,)
        layers = (
            net_files.dense(even(rng, 10, 12), neuron(10, 120), bias=bias(10)),
            net_files.dense(
                even(rng, 8, 10), neuron(8, 80), weight_rec=even(rng, 8, 8).astype(np.float32)
            ),
            net_files.dense(even(rng, 5, 8), neuron(5, 60), bias=bias(5)),
        )
    return Case(layers, spikes_for(seed, 3, 30, shape))


def in_lava(case: Case) -> LavaNetwork:
    """The same integers in Lava; layer k of neurons starts with the sample k + 1 steps later."""
    samples, steps = case.x.shape[:2]
    shape = case.x.shape[2:]
    chain = [layer for layer in case.layers if "neuron" in layer]
    total = samples * steps + len(chain)
    data = np.zeros((total, *shape), np.int64)
    data[: samples * steps] = case.x.reshape(-1, *shape)
    populations, synapses, source = [], [], "x"
    for depth, layer in enumerate(chain, start=1):
        name, before = f"n{depth}", shape
        shape = tuple(int(n) for n in layer["shape"])
        weight = layer["weight"].astype(np.int64)
        options: dict[str, Any] = {"kind": "dense"}
        if layer["type"] in ("conv", "pool"):
            pairs = {key: tuple(int(n) for n in layer[key]) for key in net_files.OPTIONS}
            options = {"kind": "conv2d", **pairs, "groups": layer.get("groups", before[0])}
            weight = weight if layer["type"] == "conv" else np.repeat(weight, before[0], axis=0)
        synapses.append(LavaSynapse(f"{source}->{name}", source, name, weight=weight, **options))
        if "weight_rec" in layer:
            loop = layer["weight_rec"].astype(np.int64)
            forget = Forget(depth, steps)
            synapses.append(
                LavaSynapse(f"{name}->{name}", name, name, "dense", loop, forget=forget)
            )

        def each(value: Any, shape: tuple[int, ...] = shape) -> np.ndarray:
            array = np.asarray(value).astype(np.int64).reshape(-1)
            column = array.reshape(-1, *(1,) * (len(shape) - 1))
            return array if array.size == 1 else np.broadcast_to(column, shape).copy()

        neuron = layer["neuron"]
        populations.append(
            LavaPopulation(
                name, shape,
                {
                    "du": each(neuron["iDecay"]) - 1, "dv": each(neuron["vDecay"]),
                    "vth": each(neuron["vThMant"]), "bias_mant": each(layer.get("bias", 0)),
                    "bias_exp": np.array([6]), "u0": np.array([0]), "v0": np.array([0]),
                },
                start=depth, period=steps, reset=True, record=("s", "v"),
            )
        )  # fmt: skip
        source = name
    inputs = (LavaInput("x", case.x.shape[2:], data),)
    return LavaNetwork("net", total, inputs, tuple(populations), tuple(synapses))


def lava_spikes(cases: Sequence[Case]) -> list[list[np.ndarray]]:
    """What Lava's neurons did, per case and layer: (samples, steps, *shape)."""
    found = []
    for one, result in zip(cases, run([in_lava(c) for c in cases], timeout=300), strict=True):
        samples, steps = one.x.shape[:2]
        done = [recorded["s"] for recorded in result.recorded.values()]
        found.append(
            [
                s[depth : depth + samples * steps].reshape(samples, steps, *s.shape[1:])
                for depth, s in enumerate(done, start=1)
            ]
        )
    return found


def loaded(case: Case, folder: Path) -> Network:
    return load(read_net(net_files.write(folder / "case.net", *case.layers)))


def test_the_reference_equals_lava_where_nothing_is_rounded(tmp_path: Path) -> None:
    """Whole networks, from the file to the spikes of every layer, without a difference."""
    cases = [case(seed, decaying=False) for seed in range(8)]
    total = 0
    for one, expected in zip(cases, lava_spikes(cases), strict=True):
        net = loaded(one, tmp_path)
        found = reference.simulate(net, one.x)
        for population, spikes in zip(net.populations, expected, strict=True):
            np.testing.assert_array_equal(found.spikes[population.name], spikes)
            total += int(spikes.sum())
    assert total > 3000


def test_the_integers_that_were_read_do_what_lava_does(tmp_path: Path) -> None:
    """Decays, biases and thresholds of all sizes, one for all neurons or one per channel."""
    cases = [case(seed, decaying=True) for seed in range(100, 108)]
    total = 0
    for one, expected in zip(cases, lava_spikes(cases), strict=True):
        net = loaded(one, tmp_path)
        signals = {"input": one.x}
        for population, spikes in zip(net.populations, expected, strict=True):
            found = execute(net, population, signals).spikes
            np.testing.assert_array_equal(found, spikes)
            signals[population.name] = found
            total += int(spikes.sum())
    assert total > 3000


# --- compiled ------------------------------------------------------------------------------------


def test_programs_for_loihi2_keep_decays_and_nearly_all_spikes() -> None:
    """The lowering chooses a scale of its own, so weights are rounded once more."""
    cells = differ = 0
    for recorded in map(Recorded, ("each", "filtered_input", "input", "norm_conv", "pool")):
        signals = {"input": recorded.blocks["x"]}
        program = nd.compile(recorded.graph, target="loihi2", calibration=signals["input"])
        trace = nd.run(program, signals["input"])
        for population, neurons in zip(recorded.net.populations, program.populations, strict=True):
            name = population.name
            signals[name] = execute(recorded.net, population, signals).spikes
            for register, decay in (("du", population.current_decay), ("dv", population.decay)):
                found = neurons.parameters[register] + (register == "du")
                assert np.all(np.broadcast_to(found, decay.shape) == 4096 * (1 - decay))
            differ += int((trace.spikes[name] != signals[name]).sum())
            cells += trace.spikes[name].size
    assert cells == 45_900
    assert 0 < differ < 0.004 * cells


def test_a_file_is_compiled_and_verified_in_lava() -> None:
    program = nd.compile(
        str(FILES / "dense.net"), target="loihi2", calibration=spikes_for(1, 4, 30, (20,))
    )
    verdict = nd.verify(program, spikes_for(2, 6, 30, (20,)))
    assert {stage.name: stage.status for stage in verdict.stages}["vendor"] == "passed"
