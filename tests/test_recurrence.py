"""Synaptic currents, cycles and the reset after the input, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import reference
from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from neurodeploy.passes import MergeLinear, run_passes
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.machine import LoihiMachine
from tests.builders import compiled, cuba

IMMEDIATE = Semantics(reset="zero")
AFTER = Semantics(reset="zero", reset_timing="after-input")
DELAYED = Semantics(reset="subtract", reset_timing="delayed")


def graph(nodes: dict[str, nir.NIRNode], *extra: tuple[str, str]) -> nir.NIRGraph:
    """A chain of `nodes` between an input of 3 and an output, with `extra` edges."""
    last = next(n for n in reversed(nodes.values()) if isinstance(n, nir.CubaLIF))
    every = {
        "input": nir.Input(np.array([3])),
        **nodes,
        "output": nir.Output(np.array(last.v_threshold.shape)),
    }
    chain = [name for name in every if not name.startswith("back")]
    edges = [*pairwise(chain), *extra]
    return nir.NIRGraph(every, edges, type_check=False)


def spikes(seed: int = 0, samples: int = 5, steps: int = 40) -> Any:
    return (np.random.default_rng(seed).random((samples, steps, 3)) < 0.5).astype(np.uint8)


def dyadic(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(-6, 10, shape) / 8


def loop(x: Any, weight: Any, back: Any, bias: Any, alpha: Any, beta: Any, kind: str) -> Any:
    """One recurrent population, one sample, in plain Python order."""
    n = len(weight)
    i, v, s = np.zeros(n), np.zeros(n), np.zeros(n)
    out = []
    for t in range(len(x)):
        i = alpha * i + weight @ x[t] + back @ s + bias
        if kind == "immediate":
            v = beta * np.where(s > 0, 0, v) + i
        elif kind == "after-input":
            v = np.where(s > 0, 0, beta * v + i)
        else:
            v = beta * v + i - s
        s = (v > 1).astype(float)
        out.append(s)
    return np.array(out)


@pytest.mark.parametrize("semantics", [IMMEDIATE, AFTER, DELAYED], ids=lambda s: s.reset_timing)
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_population_of_cuba_neurons(semantics: Semantics, recurrent: bool) -> None:
    alpha, beta = np.full(4, 0.5), np.array([0.75, 0.5, 0.875, 0.0])
    weight, bias = dyadic(1, 4, 3), dyadic(2, 4) / 8
    back = dyadic(3, 4, 4) if recurrent else np.zeros((4, 4))
    nodes: dict[str, nir.NIRNode] = {
        "fc": nir.Affine(weight, bias),
        "lif": cuba(alpha, beta, semantics),
    }
    edges = []
    if recurrent:
        nodes["back"] = nir.Affine(back, bias)
        edges = [("lif", "back"), ("back", "lif")]
    network = load(graph(nodes, *edges))
    x = spikes()
    found = reference.simulate(network, x).spikes["lif"]
    total = bias * (1 + recurrent)
    for sample, expected in zip(x, found, strict=True):
        wanted = loop(sample, weight, back, total, alpha, beta, semantics.reset_timing)
        np.testing.assert_array_equal(expected, wanted)
    assert 0.1 < found.mean() < 0.9


def two_layer_cycle() -> Network:
    nodes: dict[str, nir.NIRNode] = {
        "fc1": nir.Linear(dyadic(4, 4, 3)),
        "lif1": cuba(np.zeros(4), np.full(4, 0.5)),
        "fc2": nir.Linear(dyadic(5, 2, 4)),
        "lif2": cuba(np.full(2, 0.5), np.full(2, 0.5)),
        "back": nir.Linear(dyadic(6, 4, 2)),
    }
    return load(graph(nodes, ("lif2", "back"), ("back", "lif1")))


def test_a_cycle_of_two_populations_is_delayed_once() -> None:
    network = two_layer_cycle()
    assert [(c.name, c.delay) for c in network.connections] == [
        ("input->lif1", 0), ("lif1->lif2", 0), ("lif2->lif1", 1),
    ]  # fmt: skip
    assert [len(group) for group in network.groups] == [2]
    x = spikes(1, samples=1)
    found = reference.simulate(network, x).spikes
    w1, w2, back = dyadic(4, 4, 3), dyadic(5, 2, 4), dyadic(6, 4, 2)
    v1, i2, v2, s1, s2 = np.zeros(4), np.zeros(2), np.zeros(2), np.zeros(4), np.zeros(2)
    for t, sample in enumerate(x[0]):
        v1 = 0.5 * np.where(s1 > 0, 0, v1) + w1 @ sample + back @ s2
        s1 = (v1 > 1).astype(float)
        i2 = 0.5 * i2 + w2 @ s1
        v2 = 0.5 * np.where(s2 > 0, 0, v2) + i2
        s2 = (v2 > 1).astype(float)
        np.testing.assert_array_equal(found["lif1"][0, t], s1)
        np.testing.assert_array_equal(found["lif2"][0, t], s2)
    assert found["lif2"].any()


def test_chunks_of_a_cycle_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = two_layer_cycle(), spikes(2, samples=7)
    together = reference.simulate(network, x, record=("lif1", "lif2"))
    monkeypatch.setattr(reference, "CHUNK_VALUES", 1)
    alone = reference.simulate(network, x, record=("lif1", "lif2"))
    for name in ("lif1", "lif2"):
        for state, values in together.states[name].items():
            np.testing.assert_array_equal(values, alone.states[name][state])


def test_a_cycle_without_neurons_is_refused() -> None:
    nodes: dict[str, nir.NIRNode] = {
        "fc": nir.Linear(np.ones((4, 3))),
        "mid": nir.Linear(np.ones((4, 4))),
        "lif": cuba(np.zeros(4), np.full(4, 0.5)),
        "back": nir.Linear(np.ones((4, 4))),
    }
    with pytest.raises(ModelError, match=r"cycle through .*back, lif, mid"):
        load(graph(nodes, ("mid", "back"), ("back", "mid")))


def test_an_output_that_is_fed_back_is_refused() -> None:
    nodes: dict[str, nir.NIRNode] = {
        "fc": nir.Linear(np.ones((4, 3))),
        "lif": cuba(np.zeros(4), np.full(4, 0.5)),
    }
    with pytest.raises(ModelError, match="lif: it reads the output 'output'"):
        load(graph(nodes, ("output", "lif")))


def test_connections_that_close_cycles_have_one_order() -> None:
    """By name, whatever the process's hash seed: the same graph gives the same program."""
    nodes: dict[str, nir.NIRNode] = {
        "fc": nir.Linear(np.ones((4, 3))),
        "lif": cuba(np.zeros(4), np.full(4, 0.5)),
    }
    loops = []
    for k in range(8):
        nodes[f"back{k}"] = nir.Linear(np.full((4, 4), k / 8))
        loops += [(f"back{k}", "lif"), ("lif", f"back{k}")]
    weights = [c.apply(np.eye(4))[0, 0] for c in load(graph(nodes, *loops)).connections if c.delay]
    assert weights == [k / 8 for k in range(8)]


def test_a_leak_potential_acts_past_the_synaptic_current() -> None:
    """tau dv/dt = v_leak - v + r i: v_leak dt/tau is added to v in every step, never to i."""
    node = cuba(np.full(4, 0.5), np.full(4, 0.75))
    node.v_leak = np.array([0.0, 0.5, 1.0, -1.0])
    weight, x = dyadic(3, 4, 3), spikes(4)
    found = reference.simulate(load(graph({"fc": nir.Linear(weight), "lif": node})), x)
    for sample in range(len(x)):
        i, v = np.zeros(4), np.zeros(4)
        for t in range(x.shape[1]):
            i = 0.5 * i + weight @ x[sample, t]
            v = 0.75 * v + i + node.v_leak / 4
            assert np.array_equal(found.spikes["lif"][sample, t], v > 1)
            v = np.where(v > 1, 0, v)
    assert 0.05 < found.spikes["lif"].mean() < 0.95


# --- on Loihi 2 ----------------------------------------------------------------------------------


def feed_forward(
    semantics: Semantics, alpha: float, bias: float = 0.0, leak: float = 0.0
) -> Network:
    weight = np.random.default_rng(7).integers(-60, 127, (4, 3)) / 127
    weight[0, 0] = 1.0  # then all weights lie on the grid
    nodes: dict[str, nir.NIRNode] = {
        "fc": nir.Affine(weight, np.full(4, bias)),
        "lif": cuba(np.full(4, alpha), np.full(4, 0.75), semantics),
    }
    nodes["lif"].v_leak = np.full(4, 4 * leak)
    return load(graph(nodes))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9375])
@pytest.mark.parametrize(("bias", "leak"), [(0.0, 0.0), (0.125, 0.0), (0.0, 0.25), (0.125, -0.1)])
def test_a_synaptic_current_has_the_register_u(alpha: float, bias: float, leak: float) -> None:
    """Decays on the grid; what differs is rounding, at the threshold only."""
    network, x = feed_forward(IMMEDIATE, alpha, bias, leak), spikes(3, samples=60)
    network = run_passes(network, [MergeLinear()])
    program = compiled(network, x)
    found = simulate(program, x, LoihiMachine(), record=("lif",))
    expected = reference.simulate(network, x, record=("lif",))
    differs = found.spikes["lif"] != expected.spikes["lif"]
    assert differs.mean() < 0.002
    unit = program.populations[0].unit.reshape(-1)[0]
    potential = found.states["lif"]["potential"] / unit
    same = ~np.logical_or.accumulate(differs, axis=1)
    assert np.abs(potential - expected.states["lif"]["v"])[same].max() < 0.02
    for item in program.ranges:
        states = found.states["lif"]["u" if item.register == "u" else "potential"]
        assert item.proven
        assert item.low <= states.min() <= states.max() <= item.high


def test_what_loihi_cannot_do_is_refused() -> None:
    with pytest.raises(SemanticsError, match="both need the register u"):
        compiled(feed_forward(DELAYED, 0.5), spikes())
    with pytest.raises(SemanticsError, match=r"after-input .*with reset_delay=False"):
        compiled(feed_forward(AFTER, 0.0), spikes())
    with pytest.raises(
        SemanticsError, match=r"lif2->lif1: the loop .* has 2 synapses.*takes 1 step"
    ):
        compiled(two_layer_cycle(), spikes())


def test_a_neuron_without_leak_is_named_as_such_whatever_its_bias() -> None:
    network = run_passes(feed_forward(DELAYED, 0.0, 500.0), [MergeLinear()])
    population = replace(network.populations[0], decay=np.ones(4))
    with pytest.raises(ModelError, match="lif: a neuron without leak"):
        compiled(replace(network, populations=(population,)), spikes())
