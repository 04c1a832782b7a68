"""Analog input in Lava itself, and trained digits on the brightness of their pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.frontends.nir import load
from neurodeploy.linear import FloatArray
from neurodeploy.models.digits_data import LEVELS, load_data
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics, to_metadata
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.lava.runner import run
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Messages, Trace, check_inputs
from tests.builders import (
    DT,
    NONE,
    SUBTRACT,
    ZERO,
    compiled,
    conv,
    cuba,
    integrator,
    lif,
    merged,
    network,
    recorded,
    spikes_for,
)
from tests.pages_of_docs import check, row

MACHINE = LoihiMachine()
LAVA_SAMPLES = 12
RANDOM = 16

Case = tuple[Network, dict[str, FloatArray]]
Sent = dict[str, Messages]


def neurons(*shape: int, meaning: Semantics = SUBTRACT) -> nir.LIF:
    return lif(np.full(shape, 0.875), semantics=meaning)


def drawn(seed: int, *shape: int, low: float = -0.3) -> FloatArray:
    return np.random.default_rng(seed).uniform(low, 1.2, (3, 20, *shape))


def alone(node: nir.NIRNode, *shape: int) -> Case:
    return network(shape, lif=node), {"input": drawn(1, *shape)}


def layer(meaning: Semantics, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    fc = nir.Affine(rng.normal(0.1, 0.4, (9, 7)), rng.normal(0, 0.1, 9))
    net = network(
        (7,), fc=fc, lif=neurons(9, meaning=meaning), b=nir.Linear(rng.normal(0.2, 0.4, (5, 9))),
        out=neurons(5),
    )  # fmt: skip
    return net, {"input": drawn(seed, 7)}


def joined(nodes: dict[str, nir.NIRNode], last: int, *more: tuple[str, str]) -> Network:
    """A chain of nodes, of which those named `_...` are loose, with `more` edges."""
    everything = {**nodes, "output": nir.Output({"output": np.array([last])})}
    names = [name for name in everything if not name.startswith("_")]
    return merged(load(nir.NIRGraph(everything, [*pairwise(names), *more], type_check=False)))


def residual() -> Case:
    """Analog values that wait in the delays of dense synapses."""
    rng = np.random.default_rng(3)
    nodes = {
        "input": nir.Input({"input": np.array([6])}),
        "a": nir.Linear(rng.normal(0.2, 0.4, (8, 6))), "lif1": neurons(8),
        "b": nir.Linear(rng.normal(0.2, 0.4, (4, 8))), "lif2": neurons(4, meaning=ZERO),
        "_skip": nir.Linear(rng.normal(0.1, 0.4, (4, 6))),
    }  # fmt: skip
    return joined(nodes, 4, ("input", "_skip"), ("_skip", "lif2")), {"input": drawn(4, 6)}


def residual_image() -> Case:
    """A convolution of the input beside two layers, and strides, groups and padding."""
    rng = np.random.default_rng(5)
    nodes = {
        "input": nir.Input({"input": np.array([2, 5, 6])}),
        "a": conv(rng.normal(0.1, 0.4, (4, 1, 3, 3)), stride=2, padding=1, groups=2),
        "lif1": neurons(4, 3, 3),
        "b": conv(rng.normal(0.1, 0.3, (3, 4, 1, 1)), bias=0.03), "lif2": neurons(3, 3, 3),
        "flat": nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        "c": nir.Linear(rng.normal(0.1, 0.3, (5, 27))), "lif3": neurons(5),
        "_skip": conv(rng.normal(0.1, 0.4, (3, 2, 3, 4)), stride=2, padding=(1, 1)),
    }  # fmt: skip
    net = joined(nodes, 5, ("input", "_skip"), ("_skip", "lif2"))
    return net, {"input": drawn(6, 2, 5, 6)}


def bias_behind(late: int) -> Case:
    """A bias of neurons that run behind their input, beside spikes, in a loop; or at once."""
    rng = np.random.default_rng(7)
    nodes = {
        "input": nir.Input({"input": np.array([6])}), "lif": neurons(6, meaning=ZERO),
        "out": nir.Linear(rng.normal(0.2, 0.4, (4, 6))), "last": neurons(4),
        "_back": nir.Linear(rng.normal(0, 0.2, (6, 6))),
    }  # fmt: skip
    edges = [("lif", "_back"), ("_back", "lif")]
    given = {"input": drawn(8, 6)}
    if late:
        nodes["_spikes"] = nir.Input({"input": np.array([3])})
        nodes["_fc"] = nir.Linear(rng.normal(0.2, 0.4, (6, 3)))
        edges += [("_spikes", "_fc"), ("_fc", "lif")]
        given["_spikes"] = spikes_for(9, 3, 20, (3,), 0.3)
    return joined(nodes, 4, *edges), given


def read(meaning: Semantics) -> Case:
    """A potential that is read, of neurons with an analog bias."""
    entries = to_metadata(semantics=meaning.to_dict(), readout="membrane")
    if meaning is NONE:
        return alone(nir.I(np.full(6, 1 / DT), metadata=entries), 6)
    return alone(lif(np.full(6, 0.875), semantics=meaning, metadata=entries), 6)


CASES: dict[str, Callable[[], Case]] = {
    "bias": lambda: alone(neurons(12, meaning=ZERO), 12),
    "bias of an image": lambda: alone(neurons(2, 3, 4, meaning=ZERO), 2, 3, 4),
    "bias without leak": lambda: alone(integrator(np.ones(12)), 12),
    "bias in a loop": lambda: bias_behind(0),
    "bias behind the input": lambda: bias_behind(1),
    "one to one, subtracting": lambda: alone(neurons(12), 12),
    "one to one, an image": lambda: alone(neurons(2, 3, 4), 2, 3, 4),
    "one to one, no reset": lambda: alone(neurons(12, meaning=NONE), 12),
    "one to one, filtered": lambda: alone(cuba(np.full(12, 0.5), np.full(12, 0.75)), 12),
    "many neurons": lambda: alone(neurons(520), 520),
    "dense, subtracting": lambda: layer(SUBTRACT, 1),
    "dense, to zero": lambda: layer(ZERO, 2),
    "dense residual": residual,
    "convolutions": residual_image,
    "read": lambda: read(ZERO),
    "read, without leak": lambda: read(NONE),
}


def random_case(seed: int) -> Case:
    """A layer of any kind before another, on values with or without a grid of their own."""
    rng = np.random.default_rng(seed)
    meaning = (ZERO, SUBTRACT, NONE)[seed % 3]
    beta = float(rng.choice([0.0, 0.5, 0.9, 0.97]))
    if seed % 2:
        shape: tuple[int, ...] = (int(rng.integers(1, 9)),)
        weight = rng.normal(0.1, 0.6, (8, *shape)) * 10 ** rng.uniform(-1, 1)
        first: nir.NIRNode = nir.Affine(weight, rng.normal(0, 0.2, 8))
        node, flat = lif(np.full(8, beta), rng.uniform(0.5, 2, 8), meaning), 8
        between: dict[str, nir.NIRNode] = {}
    else:
        shape = (int(rng.integers(1, 4)), 5, 5)
        kernel = rng.normal(0.1, 0.6, (3, shape[0], 3, 2)) * 10 ** rng.uniform(-1, 1)
        first = conv(kernel, bias=rng.normal(0, 0.1, 3), padding=int(rng.integers(0, 2)), stride=2)
        size = (3, 3, 3) if first.padding[0] else (3, 2, 2)
        node, flat = lif(np.full(size, beta), 1.0, meaning), int(np.prod(size))
        between = {"flat": nir.Flatten({"input": np.array(size)}, 0, -1)}
    fc = nir.Linear(rng.normal(0.1, 0.5, (4, flat)))
    net = network(shape, first=first, lif=node, **between, fc=fc, out=neurons(4))
    x = rng.uniform(-rng.uniform(0, 2), rng.uniform(0.1, 3), (2, 20, *shape))
    return net, {"input": np.rint(x * 7) / 7 if rng.random() < 0.5 else x}


def sent(program: Program, x: dict[str, FloatArray]) -> Sent:
    return check_inputs(x, program.input_shapes, program.graded, program.grids)


def differences(pairs: dict[str, tuple[Program, Sent]]) -> dict[str, tuple[int, int]]:
    """(differing, all) values of everything sent and all states, simulator against Lava."""
    results = run([to_lava(p, x, states=True) for p, x in pairs.values()], timeout=600)
    found = {}
    for (name, (program, x)), result in zip(pairs.items(), results, strict=True):
        names = [population.name for population in program.populations]
        ours = simulate(program, x, MACHINE, record=names)
        lava = from_lava(program, x, result)
        arrays = [(ours.sent(n), lava.sent(n)) for n in names]
        arrays += [(ours.states[n][s], lava.states[n][s]) for n in names for s in ours.states[n]]
        arrays += [(ours.values[n], lava.values[n]) for n in program.outputs if n in ours.values]
        wrong = sum(int((a != b).sum()) for a, b in arrays)
        found[name] = wrong, sum(a.size for a, _ in arrays)
    return found


@pytest.fixture(scope="module")
def programs() -> dict[str, tuple[Program, Sent, Case]]:
    cases = {name: make() for name, make in CASES.items()}
    cases |= {f"random {seed}": random_case(seed) for seed in range(RANDOM)}
    found = {}
    for name, (net, x) in cases.items():
        program = compiled(net, x)  # type: ignore[arg-type]
        found[name] = program, sent(program, x), (net, x)
    return found


def test_lava_gives_the_same(programs: dict[str, tuple[Program, Sent, Case]]) -> None:
    found = differences({name: (program, x) for name, (program, x, _) in programs.items()})
    assert {name: wrong for name, (wrong, _) in found.items() if wrong} == {}
    assert sum(values for _, values in found.values()) > 100_000


def test_it_stays_close_to_the_model(programs: dict[str, tuple[Program, Sent, Case]]) -> None:
    for name, (program, x, (net, given)) in programs.items():
        expected: Trace = recorded(net, given)  # type: ignore[arg-type]
        actual = simulate(program, x, MACHINE)
        # Loops and later layers carry every difference on.
        first = net.populations[0].name if not any(c.delay for c in net.connections) else ""
        for population in net.populations:
            a, b = expected.spikes[population.name], actual.spikes[population.name]
            most = 0.03 if population.name == first else 0.1
            assert (a != b).mean() < most, (name, population.name)


# --- digits --------------------------------------------------------------------------------------

DIGITS = ("dense_bias", "dense_plain", "conv_bias", "conv_plain")
STEPS = 16


def shown(images: np.ndarray, gamma: float) -> FloatArray:
    """Brightness in 0..1, the same in every step: (samples, 16, 1, 8, 8)."""
    return np.repeat(((images / LEVELS) ** gamma)[:, None, None], STEPS, axis=1)


def test_digits_on_the_brightness_of_pixels() -> None:
    """Networks that were trained on spikes take the mean of these in every step."""
    data = load_data()
    heads = (
        "network", "biases", "brightness", "cells", "differ by rounding the input alone", "differ",
        "correct: model", "chip",
    )  # fmt: skip
    table, pairs = [row(*heads), row(*["---"] * len(heads))], {}
    for gamma, said in ((1.0, "p/16"), (0.7, "(p/16)^0.7")):
        x = shown(data.test_images, gamma)
        for name in DIGITS:
            file = Path(__file__).with_name("digits") / f"{name}.nir"
            calibration = shown(data.train_images[:128], gamma)
            program = api.compile(file, target="loihi2", calibration=calibration)
            verdict = api.verify(program, x, labels=data.test_labels, vendor_samples=None)
            rounding, lowering = verdict.stage("input"), verdict.stage("lowering")
            assert (rounding.mismatches == 0) == (gamma == 1)
            assert lowering.mismatches < 0.04 * lowering.cells
            before, after = verdict.reference_accuracy, verdict.accuracy
            assert before is not None
            assert after is not None
            assert before.value > 0.94
            assert before.value - after.value <= 0.005
            kind, biases = name.split("_")
            shares = (f"{s.mismatches / s.cells:.2%}" for s in (rounding, lowering))
            correct = (before.successes, after.successes)
            with_bias = "yes" if biases == "bias" else "no"
            table.append(row(kind, with_bias, said, f"{lowering.cells:,}", *shares, *correct))
            pairs[f"{name} {gamma}"] = program, sent(program, {"input": x[:LAVA_SAMPLES]})
    assert {name: wrong for name, (wrong, _) in differences(pairs).items() if wrong} == {}
    check("loihi2.md", "analog", "\n".join(table))
