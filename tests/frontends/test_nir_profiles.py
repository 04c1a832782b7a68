"""Portable graphs, what a file says of a neuron, and what an importer makes of it, in numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.frontends.nir import load
from neurodeploy.frontends.nir_profiles import (
    deviation,
    literal,
    portable,
    random_spikes,
    statements,
)
from neurodeploy.frontends.nir_split import split
from neurodeploy.reference import simulate
from neurodeploy.semantics import Semantics, to_metadata
from tests.builders import AT_ONCE, DT, HELD, NONE, SUBTRACT, ZERO, chain, lif, spikes_for

EXACT = replace(ZERO, integrator="exact")


def graph(node: nir.NIRNode) -> nir.NIRGraph:
    """Three inputs, a layer, the neurons `n`."""
    weight = np.random.default_rng(4).normal(0.3, 1, (2, 3))
    found = chain((3,), fc=nir.Affine(weight, np.array([0.1, -0.1])), n=node)
    found.nodes["output"] = nir.Output({"output": np.array([2])})
    return found


def node(kind: str, seed: int, meaning: Semantics, *, gain: float = 1.0, **entries: Any) -> Any:
    """A neuron of random parameters and about this input gain."""
    rng = np.random.default_rng(seed)
    tau, r, theta = DT * rng.uniform(1.5, 9, 2), gain * rng.uniform(1, 3, 2), rng.uniform(0.4, 2, 2)
    metadata = to_metadata(semantics=meaning.to_dict(), **entries)
    if kind == "IF":
        return nir.IF(r / DT, theta, metadata=metadata)
    if kind == "LIF":
        leak = rng.normal(0, 0.1, 2)
        return nir.LIF(tau, r * tau / DT, leak, theta, metadata=metadata)
    syn, zero = DT * rng.uniform(1.5, 9, 2), np.zeros(2)
    return nir.CubaLIF(syn, tau, r, zero, theta, w_in=syn * tau / DT**2, metadata=metadata)


# --- portable ------------------------------------------------------------------------------------


@given(
    st.sampled_from(["LIF", "IF", "CubaLIF"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([ZERO, EXACT, SUBTRACT, replace(HELD, integrator="exact")]),
    st.sampled_from(["", "float32"]),
    st.sampled_from([0.1, 1.0, 30.0]),
)
def test_portable_neurons_have_gain_one_by_euler(
    kind: str, seed: int, meaning: Semantics, dtype: str, gain: float
) -> None:
    """r = tau/dt and w_in = tau_syn/dt, or 1/dt for IF; decays stay, spikes too."""
    before = graph(node(kind, seed, meaning, gain=gain, dtype=dtype))
    after = portable(before)
    found = after.nodes["n"]
    assert set(after.nodes) == set(before.nodes)
    if kind == "IF":
        assert np.allclose(found.r, 1 / DT, rtol=1e-15)
    else:
        tau = found.tau if kind == "LIF" else found.tau_mem
        assert np.allclose(found.r, tau / DT, rtol=1e-15)
    if kind == "CubaLIF":
        assert np.allclose(found.w_in, found.tau_syn / DT, rtol=1e-15)
    old, new = load(before), load(after)
    for key in ("decay", "current_decay"):
        values = (getattr(net.populations[0], key) for net in (new, old))
        assert np.allclose(*values, rtol=0, atol=2e-16)
    if kind != "IF":
        assert new.populations[0].semantics == replace(meaning, integrator="euler")
    inputs = spikes_for(seed, 2, 40, (3,), 0.5)
    assert np.array_equal(simulate(new, inputs).spikes["n"], simulate(old, inputs).spikes["n"])


@pytest.mark.parametrize(
    ("meaning", "entries", "gain"),
    [
        (replace(ZERO, initial_state=0.2), {}, 0.5),
        (NONE, {"readout": "membrane"}, 0.5),
        (replace(EXACT, initial_state=0.2), {"readout": "membrane"}, 0.5),
        (ZERO, {}, -0.5),
        (ZERO, {}, 1e-310),
    ],
)
def test_a_gain_that_must_stay_stays(
    meaning: Semantics, entries: dict[str, str], gain: float
) -> None:
    """A potential that is read, or that starts somewhere, is not scaled."""
    before = graph(node("LIF", 1, meaning, gain=gain, **entries))
    after = portable(before)
    assert np.array_equal(after.nodes["n"].v_threshold, before.nodes["n"].v_threshold)
    inputs = spikes_for(2, 2, 40, (3,), 0.5)
    states = [simulate(load(g), inputs, record=["n"]).states["n"]["v"] for g in (before, after)]
    assert np.allclose(*states, rtol=1e-13, atol=1e-13)
    if meaning.integrator == "exact":
        literally = simulate(load(literal(after)), inputs).spikes["n"]
        assert literally.shape == states[0].shape
        assert load(literal(after)).populations[0].semantics.integrator == "euler"


def test_portable_changes_no_bit_of_what_is_portable() -> None:
    before = graph(lif([0.3, 0.9], 0.7, SUBTRACT))
    assert portable(before).nodes["n"] is before.nodes["n"]


def test_a_decay_without_time_constant_stays() -> None:
    """exp(-dt/tau) rounds to 1 in float32: no tau says that by Euler."""
    slow = lif([0.5, 0.5], 1.0, EXACT)
    slow.tau = np.full(2, 1e9 * DT)
    slow.metadata = to_metadata(semantics=EXACT.to_dict(), dtype="float32")
    assert portable(graph(slow)).nodes["n"] is slow


# --- what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meaning", "entries", "exact", "in_metadata", "portably"),
    [
        (ZERO, {}, ("LIF",), (), ()),
        (replace(ZERO, reset_timing="delayed"), {}, ("LIF",), (), ()),
        (ZERO, {"readout": "membrane"}, ("LIF",), ("readout",), ("readout",)),
        (NONE, {}, ("LI", "Threshold"), (), ("reset",)),
        (NONE, {"readout": "membrane"}, ("LI",), (), ("reset", "readout")),
        (SUBTRACT, {}, ("LI", "Threshold", "Scale"), (), ("reset",)),
        (AT_ONCE, {"readout": "membrane"}, ("LI", "Threshold", "Scale"), (), ("reset", "readout")),
        (HELD, {}, ("LIF",), ("reset",), ("reset",)),
        (ZERO, {"parts": None}, ("LIF",), (), ()),
        (replace(ZERO, reset_timing="after-input"), {}, ("LIF",), ("reset",), ("reset",)),
        (replace(SUBTRACT, comparison=">="), {}, ("LIF",), ("reset", "comparison"),
         ("reset", "comparison")),
        (replace(NONE, initial_state=0.5, refractory=2), {}, ("LIF",),
         ("reset", "refractory", "initial_state"), ("reset", "refractory", "initial_state")),
    ],
)  # fmt: skip
def test_what_the_nodes_say_and_what_only_metadata(
    meaning: Semantics, entries: Any, exact: Any, in_metadata: Any, portably: Any
) -> None:
    found = graph(node("LIF", 0, meaning, **entries))
    (said,) = statements(split(found))
    assert (said.population, said.nodes, said.only_in_metadata) == ("n", exact, in_metadata)
    (said,) = statements(portable(found))
    assert (said.nodes, said.only_in_metadata) == (("LIF",), portably)


def test_integrators_and_thresholds_speak_for_themselves() -> None:
    own = to_metadata(semantics=NONE.to_dict())
    two = np.ones(2)
    found = chain((2,), li=nir.LI(4 * DT * two, two, 0 * two, metadata=own),
                  half=nir.Scale(0.5 * two), over=nir.Threshold(two, metadata=own))  # fmt: skip
    said = {s.population: (s.nodes, s.reset, s.only_in_metadata) for s in statements(found)}
    assert said == {"li": (("LI",), "none", ()), "over": (("Threshold",), "none", ())}


# --- what becomes of it --------------------------------------------------------------------------


def literally(found: nir.NIRGraph, inputs: Any) -> Any:
    """NIR's LIF by forward Euler, reset to zero at once, written out."""
    fc, n = found.nodes["fc"], found.nodes["n"]
    v, spikes = np.zeros((len(inputs), 2)), []
    for t in range(inputs.shape[1]):
        x = inputs[:, t] @ fc.weight.T + fc.bias
        v = v + DT / n.tau * (n.v_leak - v + n.r * x)
        spikes.append(v > n.v_threshold)
        v = np.where(spikes[-1], 0, v)
    return np.stack(spikes, axis=1)


@pytest.mark.parametrize(
    "meaning", [ZERO, EXACT, SUBTRACT, AT_ONCE, HELD, NONE, replace(SUBTRACT, comparison=">=")],
    ids=lambda m: f"{m.reset}-{m.reset_timing}-{m.integrator}",
)  # fmt: skip
def test_the_deviation_is_what_a_literal_importer_computes(meaning: Semantics) -> None:
    found = graph(node("LIF", 3, meaning))
    net, file = load(found), portable(found)
    inputs = spikes_for(6, 4, 50, (3,), 0.5)
    (layer,) = deviation(net, file, inputs)
    expected = simulate(net, inputs).spikes["n"]
    taken = literally(file, inputs.astype(float))
    assert (layer.population, layer.cells) == ("n", expected.size)
    assert layer.mismatches == np.count_nonzero(taken != expected)
    assert (layer.expected_spikes, layer.spikes) == (expected.sum(), taken.sum())
    assert (layer.mismatches > 0) == (meaning.reset != "zero")


def test_an_exact_graph_deviates_where_its_nodes_do_not_say_everything() -> None:
    for kind in ("LIF", "IF", "CubaLIF"):
        for meaning in (ZERO, SUBTRACT, AT_ONCE, NONE, HELD):
            found = graph(node(kind, 3, meaning))
            (layer,) = deviation(load(found), split(found))
            assert (layer.mismatches > 0) == (meaning == HELD)


def test_random_inputs_are_always_the_same() -> None:
    net = load(graph(node("LIF", 0, ZERO)))
    inputs = random_spikes(net)
    assert inputs["input"].shape == (4, 64, 3)
    assert int(inputs["input"].sum()) == int(random_spikes(net)["input"].sum()) == 181
    assert set(np.unique(inputs["input"])) == {0, 1}


def test_what_never_spikes_is_not_compared() -> None:
    own = to_metadata(semantics=NONE.to_dict())
    two = np.ones(2)
    found = graph(node("LIF", 3, ZERO))
    found.nodes["li"] = nir.LI(4 * DT * two, two, 0 * two, metadata=own)
    edges = [("input", "fc"), ("fc", "n"), ("n", "li"), ("li", "output")]
    found = nir.NIRGraph(found.nodes, edges, type_check=False)
    assert [layer.population for layer in deviation(load(found), portable(found))] == ["n"]
