"""Neurons as several plain nodes, and these nodes as neurons again: also of other tools' files."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.frontends.nir import load
from neurodeploy.frontends.nir_joined import joined
from neurodeploy.frontends.nir_loader import Loader
from neurodeploy.frontends.nir_split import split
from neurodeploy.reference import simulate
from neurodeploy.semantics import Semantics, from_metadata, to_metadata
from tests.builders import AT_ONCE, DT, HELD, MEANINGS, NONE, SUBTRACT, ZERO, chain, spikes_for

Graph = Any
EVERY = (*MEANINGS, replace(NONE, reset_timing="delayed"))
SAID = (ZERO, replace(ZERO, reset_timing="delayed"), SUBTRACT, AT_ONCE, NONE)
KINDS = ("LIF", "IF", "CubaLIF")
TWO = np.array([0.5, 2.0])


def neuron(
    kind: str, meaning: Semantics | None = SUBTRACT, shape: Any = (2,), **entries: Any
) -> Any:
    """A neuron node with different numbers everywhere."""
    numbers = np.linspace(1.1, 1.9, max(1, int(np.prod(shape)))).reshape(shape)
    if meaning is not None:
        entries["semantics"] = meaning.to_dict()
    metadata = to_metadata(**entries) if entries else {}
    if kind == "IF":
        return nir.IF(1.3 / DT * numbers, 0.7 * numbers, metadata=metadata)
    rest = {"r": 2.1 * numbers, "v_leak": 0 * numbers, "v_threshold": 0.7 * numbers}
    if kind == "LIF":
        return nir.LIF(tau=3.3 * DT * numbers, metadata=metadata, **rest)
    times = {"tau_syn": 1.7 * DT * numbers, "tau_mem": 3.3 * DT * numbers, "w_in": 1.2 * numbers}
    return nir.CubaLIF(metadata=metadata, **times, **rest)


def one(node: nir.NIRNode, *more: tuple[str, nir.NIRNode]) -> Graph:
    """Input of two, a linear layer, the neuron `n`, and what follows."""
    layers: dict[str, Any] = {"fc": nir.Linear(np.array([[1.0, 0.4], [-0.3, 0.9]])), "n": node}
    graph = chain((2,), **layers, **dict(more))
    graph.nodes["output"] = nir.Output({"output": np.array([2])})
    return graph


def edited(graph: Graph, *edges: tuple[str, str], without: Any = (), **nodes: Any) -> Graph:
    """The graph with more nodes and edges, and without some edges."""
    kept = [edge for edge in graph.edges if edge not in without]
    return nir.NIRGraph({**graph.nodes, **nodes}, [*kept, *edges], type_check=False)


def bare(graph: Graph) -> Graph:
    """The graph without metadata."""
    nodes = {name: replace(node, metadata={}) for name, node in graph.nodes.items()}
    return nir.NIRGraph(nodes, list(graph.edges), type_check=False)


def assert_equal(a: Graph, b: Graph) -> None:
    """The same nodes bit for bit, metadata included, and the same edges."""
    assert set(a.nodes) == set(b.nodes)
    assert sorted(a.edges) == sorted(b.edges)
    for name, node in a.nodes.items():
        other = vars(b.nodes[name])
        assert type(node) is type(b.nodes[name])
        assert vars(node).keys() == other.keys()
        for key, value in vars(node).items():
            if key not in ("input_type", "output_type"):
                assert np.array_equal(value, other[key]), (name, key)


# --- the nodes of a neuron -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "meaning", "nodes", "edges"),
    [
        ("LIF", NONE, {"n": "LI", "n.threshold": "Threshold"}, ["fc>n", "n>n.threshold",
         "n.threshold>output"]),
        ("IF", NONE, {"n": "I", "n.threshold": "Threshold"}, ["fc>n", "n>n.threshold",
         "n.threshold>output"]),
        ("CubaLIF", NONE, {"n": "CubaLI", "n.threshold": "Threshold"}, ["fc>n", "n>n.threshold",
         "n.threshold>output"]),
        ("LIF", SUBTRACT, {"n": "LI", "n.threshold": "Threshold", "n.reset": "Scale"},
         ["fc>n", "n>n.threshold", "n.threshold>output", "n.threshold>n.reset", "n.reset>n"]),
        ("IF", AT_ONCE, {"n": "I", "n.threshold": "Threshold", "n.reset": "Scale"},
         ["fc>n", "n>n.threshold", "n.threshold>output", "n.threshold>n.reset", "n.reset>n"]),
        ("CubaLIF", SUBTRACT, {"n.current": "LI", "n": "LI", "n.threshold": "Threshold",
         "n.reset": "Scale"}, ["fc>n.current", "n.current>n", "n>n.threshold",
         "n.threshold>output", "n.threshold>n.reset", "n.reset>n"]),
        ("LIF", ZERO, {"n": "LIF"}, ["fc>n", "n>output"]),
        ("LIF", HELD, {"n": "LIF"}, ["fc>n", "n>output"]),
        ("CubaLIF", replace(ZERO, reset_timing="after-input"), {"n": "CubaLIF"},
         ["fc>n", "n>output"]),
        ("LIF", replace(SUBTRACT, comparison=">="), {"n": "LIF"}, ["fc>n", "n>output"]),
        ("LIF", replace(NONE, initial_state=0.1), {"n": "LIF"}, ["fc>n", "n>output"]),
        ("LIF", replace(NONE, refractory=1), {"n": "LIF"}, ["fc>n", "n>output"]),
    ],
)  # fmt: skip
def test_what_plain_nodes_can_say(
    kind: str, meaning: Semantics, nodes: dict[str, str], edges: list[str]
) -> None:
    graph = split(one(neuron(kind, meaning)))
    ends = {"input": "Input", "fc": "Linear", "output": "Output"}
    assert {name: type(node).__name__ for name, node in graph.nodes.items()} == {**ends, **nodes}
    assert sorted(graph.edges) == sorted([("input", "fc"), *(tuple(e.split(">")) for e in edges)])


@given(
    st.sampled_from(KINDS),
    st.sampled_from([SUBTRACT, replace(SUBTRACT, reset_amount=0.3), AT_ONCE]),
    st.sampled_from(["euler", "exact"]),
    st.floats(1.01, 1e6),
    st.floats(1e-3, 1e6),
    st.floats(1e-6, 1e6),
)
def test_what_the_loop_subtracts_is_the_reset(
    kind: str, meaning: Semantics, integrator: str, tau: float, r: float, theta: float
) -> None:
    node = neuron(kind, replace(meaning, integrator=integrator), (1,))  # type: ignore[arg-type]
    node.r, node.v_threshold = np.array([r]), np.array([theta])
    if kind != "IF":
        setattr(node, "tau" if kind == "LIF" else "tau_mem", np.array([tau * DT]))
    factor = split(one(node)).nodes["n.reset"].scale
    share = 1 / tau if integrator == "euler" else -np.expm1(-1 / tau)
    decay, gain = (1.0, r * DT) if kind == "IF" else (1 - share, share * r)
    amount = meaning.reset_amount * theta * (decay if meaning == AT_ONCE else 1.0)
    assert factor[0] * gain == pytest.approx(-amount, rel=1e-15)


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from(SAID))
def test_the_nodes_mean_the_neuron(seed: int, kind: str, meaning: Semantics) -> None:
    """Read node by node, without joining them and without what our metadata say of the reset."""
    numbers = np.random.default_rng(seed).uniform(0.5, 1.5, 2)
    node = neuron(kind, meaning)
    node.v_threshold = node.v_threshold * numbers
    graph = one(node)
    inputs = spikes_for(seed, 2, 40, (2,), 0.7)
    expected = simulate(load(graph), inputs).spikes["n"]
    parts = Loader(bare(split(graph)), ZERO).network()
    name = "n.threshold" if "n.threshold" in parts.shapes else "n"
    assert np.array_equal(simulate(parts, inputs).spikes[name], expected)


def test_names_that_are_taken() -> None:
    graph = one(neuron("LIF"), ("n.threshold", nir.Scale(TWO)), ("n.reset", nir.Scale(TWO)))
    again = split(graph)
    assert {"n.threshold", "n.threshold_2", "n.reset", "n.reset_2"} <= set(again.nodes)
    assert_equal(joined(again), graph)


def test_a_potential_that_only_is_read_needs_no_threshold() -> None:
    for shape, said in (((2,), [0.7 * 1.1, 0.7 * 1.9]), ((), 0.7 * 1.1)):
        graph = one(neuron("LIF", NONE, shape, readout="membrane"))
        again = split(graph)
        assert set(again.nodes) == set(graph.nodes)
        entries = from_metadata(again.nodes["n"].metadata, node="n")
        assert entries is not None
        assert entries["v_threshold"] == said
        assert_equal(joined(again), graph)


def test_a_potential_is_read_beside_spikes_that_drive() -> None:
    graph = edited(
        one(neuron("LIF", SUBTRACT, readout="membrane")),
        ("n", "w"), ("w", "n"), ("n", "sum"), ("w", "sum"),
        w=nir.Linear(np.eye(2)), sum=nir.Output({"output": np.array([2])}),
    )  # fmt: skip
    again = split(graph)
    assert ("n", "output") in again.edges
    assert {("n.threshold", "w"), ("n.threshold", "sum")} <= set(again.edges)
    assert_equal(joined(again), graph)


def test_split_needs_to_know_the_semantics() -> None:
    with pytest.raises(SemanticsError, match=r"^n: .*do not say what a time step means.*Load"):
        split(one(neuron("LIF", None)))


def test_split_names_an_impossible_neuron() -> None:
    node = neuron("LIF")
    node.tau = np.array([DT, -1.0])
    with pytest.raises(ModelError, match=r"^n: tau is -1"):
        split(one(node))


# --- and back ------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["", "float32"]))
def test_every_neuron_comes_back_bit_for_bit(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    changes = {"comparison": rng.choice([">", ">="]), "integrator": rng.choice(["euler", "exact"])}
    for kind, meaning, shape in product(KINDS, EVERY, ((2,), ())):
        more = {"readout": "membrane"} if rng.random() < 0.5 else {}
        node = neuron(kind, replace(meaning, **changes), shape, dtype=dtype, **more)
        for key in ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_threshold"):
            if hasattr(node, key):
                setattr(node, key, np.asarray(getattr(node, key) * rng.uniform(0.95, 1.05, shape)))
        node.metadata["other tool"] = np.arange(3)
        graph = one(node)
        assert_equal(joined(split(graph)), graph)


def test_neurons_on_cycles_come_back() -> None:
    """Feedback between two neurons, of a neuron to itself, and a Scale that looks like a reset."""
    graph = edited(
        one(neuron("LIF", NONE), ("m", neuron("CubaLIF", SUBTRACT))),
        ("m", "back"), ("back", "n"), ("m", "m"), ("n", "loop"), ("loop", "n"),
        back=nir.Linear(np.eye(2)),
        loop=nir.Scale(-neuron("LIF").v_threshold),
    )  # fmt: skip
    assert_equal(joined(split(graph)), graph)


def changed(graph: Graph, *, scale: float = 1.0, entries: Any = None, name: str = "n") -> Graph:
    """A split graph with another factor of the loop, or other entries of ours."""
    nodes = dict(graph.nodes)
    if "n.reset" in nodes:
        nodes["n.reset"] = nir.Scale(nodes["n.reset"].scale * scale)
    if entries is not None:
        own = from_metadata(nodes[name].metadata, node=name) or {}
        own = {**{k: v for k, v in own.items() if k != "schema"}, **entries}
        nodes[name] = replace(nodes[name], metadata=to_metadata(**own))
    return nir.NIRGraph(nodes, list(graph.edges), type_check=False)


SPLIT = split(one(neuron("LIF")))
CUBA, SELF = split(one(neuron("CubaLIF"))), {"threshold": "n.threshold", "current": "n"}
SILENT = split(one(neuron("LIF", NONE, readout="membrane")))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (changed(SPLIT, scale=1.0001), "the scale of 'n.reset'"),
        (changed(SPLIT, entries={"semantics": HELD.to_dict()}), "the reset"),
        (changed(SPLIT, entries={"semantics": NONE.to_dict()}), "the reset"),
        (changed(SPLIT, entries={"parts": ["n.threshold"]}), r"its parts \['n.threshold'\]"),
        (changed(SPLIT, entries={"parts": {"soma": "n"}}), "its parts"),
        (changed(SPLIT, entries={"parts": {"threshold": "gone"}}), "the threshold 'gone'"),
        (changed(SPLIT, entries={"parts": {"threshold": 3}}), "the threshold 3"),
        (changed(SPLIT, entries={"parts": {"reset": "n.threshold"}}), "the reset 'n.threshold'"),
        (changed(SPLIT, entries={"parts": {"reset": "n.reset"}}), r"its parameters"),
        (changed(CUBA, entries={"parts": SELF}), "its node 'n'"),
        (edited(SPLIT, **{"n.reset": nir.Scale(np.array(["x", "y"]))}), "the scale of 'n.reset'"),
        (edited(SPLIT, without=[("n.reset", "n")]), "the edge 'n.reset' -> 'n'"),
        (edited(SPLIT, ("n", "output")), "the edge 'n' -> 'output'"),
        (edited(SPLIT, ("fc", "n.threshold")), "the edge 'fc' -> 'n.threshold'"),
        (changed(SILENT, entries={"v_threshold": [1.0, 2.0, 3.0]}), "its parameters"),
        (changed(SILENT, entries={"v_threshold": "high"}), "its parameters"),
        (changed(SILENT, entries={"v_threshold": [1.0, float("nan")]}), "its parameters"),
        (edited(SILENT, ("n", "fc")), "the reset"),
    ],
)
def test_what_was_changed_since_is_refused(graph: Graph, words: str) -> None:
    with pytest.raises(SemanticsError, match=f"^n: {words}.* metadata say.*Remove the node") as e:
        load(graph)
    assert "\n" not in str(e.value)


def test_a_copy_in_float32_is_not_a_change() -> None:
    narrow = {
        name: replace(node, **{
            key: value.astype(np.float32)
            for key, value in vars(node).items()
            if isinstance(value, np.ndarray)
        })
        for name, node in SPLIT.nodes.items()
    }  # fmt: skip
    graph = joined(nir.NIRGraph(narrow, list(SPLIT.edges), type_check=False))
    assert load(graph).populations[0].semantics == SUBTRACT


# --- files of other tools ------------------------------------------------------------------------


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["LIF", "IF", "CubaLIF"]),
    st.sampled_from([SUBTRACT, replace(SUBTRACT, reset_amount=0.3), NONE]),
    st.sampled_from([np.float64, np.float32]),
)
def test_neurons_without_our_metadata_are_recognised(
    seed: int, kind: str, meaning: Semantics, dtype: Any
) -> None:
    """The caller only gives dt and integrator; the graph says the reset."""
    rng = np.random.default_rng(seed)
    node = neuron(kind, meaning)
    node.v_threshold = (node.v_threshold * rng.uniform(0.5, 1.5, 2)).astype(dtype).astype(float)
    graph = bare(split(one(node)))
    for part in graph.nodes.values():
        for key in ("scale", "tau", "r", "threshold"):
            if hasattr(part, key):
                setattr(part, key, getattr(part, key).astype(dtype))
    (population,) = load(graph, replace(ZERO, rounding="float32")).populations
    assert population.name == "n"
    found = population.semantics
    digits = 1e-15 if dtype is np.float64 else 1e-6
    assert found.reset_amount == pytest.approx(meaning.reset_amount, rel=digits)
    assert replace(found, reset_amount=1.0) == replace(
        meaning, reset_amount=1.0, rounding="float32"
    )
    assert np.array_equal(population.threshold, node.v_threshold)
    assert population.current_decay.any() == (kind == "CubaLIF")


def loop(scale: Any, integrator: Any = None, theta: Any = TWO, **more: Any) -> Graph:
    """A plain LI, Threshold and loop, of input gain 1/4, without metadata."""
    node = nir.LI(np.full(2, 4 * DT), np.ones(2), np.zeros(2)) if integrator is None else integrator
    nodes = {"n": node, "over": nir.Threshold(np.asarray(theta)), "back": nir.Scale(scale)}
    graph = chain((2,), fc=nir.Linear(4 * np.eye(2)), **nodes)
    edges = [("input", "fc"), ("fc", "n"), ("n", "over"), ("over", "back"), ("back", "n"),
             ("over", "output")]  # fmt: skip
    ends = {"output": nir.Output({"output": np.array([2])})}
    return nir.NIRGraph({**graph.nodes, **ends, **more}, edges, type_check=False)


ULP = float(np.finfo(float).eps)


@pytest.mark.parametrize(
    ("graph", "meaning"),
    [
        (loop(-4 * TWO), SUBTRACT),
        (loop(-4 * TWO * (1 + 3 * ULP)), SUBTRACT),
        (loop(np.array(-4.0), theta=np.ones(2)), SUBTRACT),
        (loop(-4 * TWO, theta=np.array(0.5)), NONE),
        (loop(-4 * TWO * np.array([1, 1 + 20 * ULP])), NONE),
        (loop(4 * TWO), NONE),
        (loop(0 * TWO), NONE),
        (edited(loop(-4 * TWO), ("back", "fc"), ("input", "n")), NONE),
        (edited(loop(-4 * TWO), ("over", "b2"), ("b2", "n"), b2=nir.Scale(-4 * TWO)), NONE),
    ],
)
def test_which_loops_are_resets(graph: Graph, meaning: Semantics) -> None:
    """Else they stay connections of a neuron that does not reset; the spikes are the same."""
    net = load(graph, HELD)
    (population,) = net.populations
    assert population.semantics == meaning
    inputs = spikes_for(3, 2, 40, (2,), 0.8)
    apart = Loader(graph, HELD).network()
    spikes = simulate(net, inputs).spikes["n"]
    assert np.array_equal(spikes, simulate(apart, inputs).spikes["over"])
    assert 0 < spikes.mean() < 1


LEAK = nir.LI(np.full(2, 4 * DT), np.ones(2), np.full(2, 0.1))
PLAIN = nir.LI(LEAK.tau, LEAK.r, 0 * LEAK.r)
OTHER = replace(PLAIN, metadata=to_metadata(semantics=replace(ZERO, dt=2 * DT).to_dict()))


@pytest.mark.parametrize(
    ("graph", "populations"),
    [
        (loop(-4 * TWO), {"n"}),
        (edited(loop(-4 * TWO), ("n", "over2"), over2=nir.Threshold(TWO)), {"n", "over", "over2"}),
        (edited(loop(-4 * TWO), ("fc", "over")), {"n", "over"}),
        (edited(loop(-4 * TWO), ("n", "o"), o=nir.Output(np.array([2]))), {"n", "over"}),
        (edited(loop(-4 * TWO), ("n", "output"), without=[("over", "output")]), {"n"}),
        (edited(loop(-4 * TWO), ("n", "output")), {"n", "over", "output"}),
        (loop(-4 * TWO, nir.I(np.full(2, 1 / DT))), {"n"}),
        (loop(-4 * TWO, nir.CubaLI(*np.full((5, 2), 4 * DT) * [[1], [1], [1], [0], [1]])), {"n"}),
        (edited(loop(-4 * TWO), ("fc", "c"), ("c", "n"), c=PLAIN,
                without=[("fc", "n")]), {"n"}),
        (edited(loop(-4 * TWO), ("fc", "c"), ("c", "n"), c=LEAK, without=[("fc", "n")]),
         {"c", "n"}),
        (edited(loop(-4 * TWO), ("fc", "c"), ("c", "n"), c=OTHER, without=[("fc", "n")]),
         {"c", "n"}),
        (edited(loop(-4 * TWO), ("fc", "c"), ("c", "n"), c=PLAIN),
         {"c", "n"}),
    ],
)  # fmt: skip
def test_which_nodes_are_one_neuron(graph: Graph, populations: set[str]) -> None:
    net = load(graph, ZERO)
    assert {population.name for population in net.populations} == populations
    apart = Loader(graph, ZERO).network()
    inputs = spikes_for(5, 2, 40, (2,), 0.8)
    found, expected = simulate(net, inputs), simulate(apart, inputs)
    over = "over" if "over" in populations else "n"
    assert np.array_equal(found.spikes[over], expected.spikes["over"])
    for name, values in expected.values.items():
        assert np.allclose(found.values[name], values, rtol=1e-14, atol=1e-14)


def test_a_threshold_may_say_its_comparison() -> None:
    graph = loop(-4 * TWO)
    meaning = replace(ZERO, comparison=">=")
    graph.nodes["over"].metadata = to_metadata(semantics=meaning.to_dict())
    assert load(graph, ZERO).populations[0].semantics == replace(SUBTRACT, comparison=">=")


def test_without_dt_nothing_is_guessed() -> None:
    graph = loop(-4 * TWO)
    assert joined(graph) is graph
    with pytest.raises(SemanticsError, match="does not say what a time step means"):
        load(graph)


@pytest.mark.parametrize("theta", [0 * TWO, -TWO, np.array([1.0, np.nan]), np.ones(3)])
def test_the_loader_says_what_is_wrong_with_a_node(theta: Any) -> None:
    graph = loop(-4 * TWO, theta=theta)
    assert joined(graph, ZERO) is graph
    with pytest.raises(ModelError, match="over: "):
        load(graph, ZERO)
