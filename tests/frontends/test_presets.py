"""Semantics by name: what each does to a graph, what it refuses, and what it leaves alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.errors import FileError, ModelError, SemanticsError
from neurodeploy.frontends.nir_presets import applied
from neurodeploy.frontends.presets import PRESETS, Preset
from neurodeploy.reference import simulate
from neurodeploy.semantics import from_metadata, to_metadata
from tests.builders import SUBTRACT, chain, lif

TAU, SYNAPSE, R = np.array([4.0, 10.0]), np.array([3.0, 5.0]), np.array([2.0, 3.0])
"""Time constants in steps."""
ONE, NONE = np.ones(2), np.zeros(2)


def bare(kind: str, dt: float = 1.0, **changes: Any) -> nir.NIRNode:
    """Two neurons without metadata."""
    fields: dict[str, dict[str, Any]] = {
        "IF": {"r": ONE, "v_threshold": ONE, "v_reset": NONE},
        "LI": {"tau": TAU * dt, "r": ONE, "v_leak": NONE},
        "LIF": {"tau": TAU * dt, "r": ONE, "v_leak": NONE, "v_threshold": ONE, "v_reset": NONE},
        "CubaLIF": {
            "tau_syn": SYNAPSE * dt,
            "tau_mem": TAU * dt,
            "r": ONE,
            "v_leak": NONE,
            "v_threshold": ONE,
            "v_reset": NONE,
            "w_in": ONE,
        },
    }
    return getattr(nir, kind)(**copy.deepcopy(fields[kind]) | changes)


def one_layer(node: nir.NIRNode) -> nir.NIRGraph:
    return chain((2,), fc=nir.Linear(np.eye(2)), n=node)


def steps(graph: nir.NIRGraph, semantics: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decay of the current and of the potential, and the weight of an input, of the neurons."""
    network = nd.load(graph, semantics)
    population = network.populations[-1]
    (connection,) = network.incoming(population.name)
    return population.current_decay, population.decay, np.diag(connection.apply(np.eye(2)))


E, A, B = 1 / TAU, np.exp(-1 / TAU), np.exp(-1 / SYNAPSE)
SHARE = 1 / SYNAPSE


@pytest.mark.parametrize(
    ("name", "kind", "changes", "expected"),
    [
        ("euler", "LIF", {"r": R}, (NONE, 1 - E, E * R)),
        ("euler", "CubaLIF", {"r": R, "w_in": R}, (1 - SHARE, 1 - E, SHARE * R * E * R)),
        ("exact", "LIF", {"r": R}, (NONE, A, (1 - A) * R)),
        ("snntorch", "LIF", {"r": TAU}, (NONE, 1 - E, ONE)),
        ("norse", "IF", {}, (NONE, ONE, ONE)),
        ("norse", "LIF", {}, (NONE, 1 - E, E)),
        ("norse", "CubaLIF", {"r": R, "w_in": R}, (1 - SHARE, 1 - E, SHARE * R * E * R)),
        ("spikingjelly", "LIF", {"r": TAU}, (NONE, 1 - E, ONE)),
        ("sinabs", "IF", {}, (NONE, ONE, ONE)),
        ("sinabs", "LIF", {}, (NONE, A, 1 - A)),
        ("sinabs", "LI", {}, (NONE, A, ONE)),
        ("rockpool", "LIF", {"r": A * TAU}, (NONE, A, ONE)),
        ("rockpool", "CubaLIF", {"r": A * TAU}, (B, A, B)),
        ("rockpool", "LI", {"r": A * TAU}, (NONE, A, A)),
        ("spyx", "IF", {"r": R}, (NONE, ONE, ONE)),
        ("spyx", "LIF", {"r": R}, (NONE, 1 - E, ONE)),
        ("spyx", "CubaLIF", {"r": R, "w_in": R}, (1 - SHARE, 1 - E, ONE)),
        ("lava", "LIF", {}, (NONE, 1 - E, E)),
        ("spinnaker2", "IF", {"r": R}, (NONE, ONE, R)),
        ("spinnaker2", "LIF", {"r": R}, (NONE, A, (1 - A) * R)),
    ],
)
def test_what_a_step_is(name: str, kind: str, changes: dict[str, Any], expected: Any) -> None:
    """Whatever the length of a step; time constants are given in multiples of it."""
    for dt in (1.0, 1e-3):
        graph = one_layer(bare(kind, dt, **changes))
        for found, right in zip(steps(graph, nd.preset(name, dt=dt)), expected, strict=True):
            assert np.allclose(found, right, rtol=2e-7, atol=0)  # float32


def test_inputs_that_are_added_as_they_are_have_a_weight_of_exactly_one() -> None:
    tau = np.random.default_rng(0).uniform(1.5, 40, 2)
    assert np.array_equal(steps(one_layer(bare("LIF", tau=tau)), "spyx")[2], ONE)


# --- by name -------------------------------------------------------------------------------------


def test_an_unknown_name() -> None:
    with pytest.raises(SemanticsError, match=r"no semantics are called 'nosre'. There are: euler"):
        nd.load(one_layer(bare("LIF")), "nosre")


def test_a_field_is_chosen_over_the_preset() -> None:
    chosen = nd.preset("norse", dt=0.5, reset="subtract")
    (population,) = nd.load(one_layer(bare("LIF")), chosen).populations
    assert (population.semantics.dt, population.semantics.reset) == (0.5, "subtract")
    with pytest.raises(FileError, match="dt is -1"):
        nd.preset("norse", dt=-1)


def test_a_field_is_chosen_over_what_a_type_has_of_its_own() -> None:
    graph = one_layer(bare("CubaLIF"))
    (population,) = nd.load(graph, "spyx").populations
    assert population.semantics.reset_timing == "immediate"
    (population,) = nd.load(graph, nd.preset("spyx", reset_timing="delayed")).populations
    assert population.semantics.reset_timing == "delayed"


def test_the_name_is_stored_beside_the_semantics() -> None:
    graph = one_layer(bare("LIF", metadata={"theirs": "kept", **to_metadata(readout="membrane")}))
    before = copy.deepcopy(graph.to_dict())
    network = nd.load(graph, nd.preset("norse", dt=0.5))
    metadata = network.graph.nodes["n"].metadata
    entries = from_metadata(metadata, node="n")
    assert metadata["theirs"] == "kept"
    assert entries is not None
    assert entries["semantics_from"] == "norse with dt=0.5"
    assert (entries["readout"], entries["dtype"]) == ("membrane", "float32")
    assert str(graph.to_dict()) == str(before), "the argument is unchanged"
    again = nd.load(network.graph)
    assert again.populations[0].semantics == network.populations[0].semantics
    given = nd.load(one_layer(bare("LIF")), nd.Semantics(dt=1.0)).graph.nodes["n"]
    assert from_metadata(given.metadata, node="n")["semantics_from"] == "caller"


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_that_says_what_it_means_is_left_alone(name: str) -> None:
    graph = one_layer(lif([0.5, 0.75], semantics=SUBTRACT, r=R))
    assert applied(graph, PRESETS[name]) is graph
    assert nd.load(graph, name).populations[0].semantics == SUBTRACT


# --- what a tool does with edges -----------------------------------------------------------------


def loop(weights: nir.NIRNode) -> nir.NIRGraph:
    """Two neurons that feed themselves through `weights`."""
    graph = one_layer(bare("LIF", tau=2 * ONE))
    nodes = {**graph.nodes, "loop": weights, "output": nir.Output(np.array([2]))}
    return nir.NIRGraph(nodes, [*graph.edges, ("n", "loop"), ("loop", "n")], type_check=False)


@pytest.mark.parametrize(("name", "first"), [("euler", 0), ("norse", 1), ("spikingjelly", 1)])
def test_when_a_bias_in_a_loop_starts(name: str, first: int) -> None:
    graph = loop(nir.Affine(np.zeros((2, 2)), np.array([4.0, -4.0])))
    trace = simulate(nd.load(graph, nd.preset(name, dt=1.0)), np.zeros((1, 5, 2)))
    assert trace.spikes["n"][0].tolist() == [[int(t >= first), 0] for t in range(5)]


def test_a_bias_in_a_loop_of_maps() -> None:
    """From an input of two axes, through a map behind the bias."""
    graph = loop(nir.Affine(np.zeros((2, 2)), np.array([4.0, 0.0])))
    nodes = {
        **graph.nodes,
        "input": nir.Input(np.array([1, 2])),
        "flat": nir.Flatten({"input": np.array([1, 2])}, 0, -1),
        "double": nir.Scale(np.array([2.0, 1.0])),
    }
    edges = [("input", "flat"), ("flat", "fc"), ("fc", "n"), ("n", "output"), ("n", "loop")]
    edges += [("loop", "double"), ("double", "n")]
    network = nd.load(nir.NIRGraph(nodes, edges, type_check=False), nd.preset("norse", dt=1.0))
    trace = simulate(network, np.zeros((1, 3, 1, 2)), record=["n"])
    assert trace.states["n"]["x"][0, :, 0].tolist() == [0.0, 4.0, 4.0]


def test_names_that_are_taken() -> None:
    weights = nir.Affine(np.zeros((2, 2)), np.array([4.0, 0.0]))
    for name, taken in (("norse", "loop.bias"), ("lava", "n.delay")):
        graph = loop(weights)
        nodes = {taken if x == "fc" else x: node for x, node in graph.nodes.items()}
        edges = [tuple(taken if x == "fc" else x for x in edge) for edge in graph.edges]
        renamed = nir.NIRGraph(nodes, edges, type_check=False)
        semantics = nd.preset(name, dt=1.0)
        found = simulate(nd.load(renamed, semantics), np.ones((1, 9, 2))).spikes["n"]
        plain = simulate(nd.load(graph, semantics), np.ones((1, 9, 2))).spikes["n"]
        assert found.any()
        assert np.array_equal(found, plain)


def test_spikes_that_leave_one_step_later() -> None:
    graph = chain(
        (2,), fc=nir.Linear(np.eye(2)), a=bare("LIF"), mid=nir.Linear(np.eye(2)), b=bare("IF")
    )
    for name, of_inputs in (("spyx", 0), ("spinnaker2", 1)):
        network = nd.load(graph, name)
        delays = {(c.source, c.target): c.delay for c in network.connections}
        assert delays == {("input", "a"): of_inputs, ("a", "b"): 1}
        assert network.outputs == ("b",)
        assert "b.delay" not in network.graph.nodes
        assert all(p.semantics.edge_delay == 0 for p in network.populations)


def test_a_loop_takes_no_more_than_the_delay_of_its_edges() -> None:
    network = nd.load(loop(nir.Linear(np.eye(2))), nd.preset("lava", dt=1.0))
    delays = {(c.source, c.target): c.delay for c in network.connections}
    assert delays == {("input", "n"): 1, ("n", "n"): 1}


# --- refusals ------------------------------------------------------------------------------------


def joined() -> nir.NIRGraph:
    graph = one_layer(bare("LIF"))
    nodes = {**graph.nodes, "skip": nir.Linear(np.eye(2))}
    edges = [*graph.edges, ("input", "skip"), ("skip", "n")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def convolution(channels: int) -> nir.NIRGraph:
    """Flattened and led to something else than a dense layer."""
    size = 4 * channels
    graph = chain(
        (channels, 2, 2),
        flat=nir.Flatten({"input": np.array([channels, 2, 2])}, 0, -1),
        scale=nir.Scale(np.ones(size)),
    )
    fields = {"v_threshold": np.ones(size), "v_reset": np.zeros(size)}
    node = nir.IF(np.ones(size), **fields)
    nodes = {**graph.nodes, "n": node, "output": nir.Output(np.array([size]))}
    edges = [e for e in graph.edges if e != ("scale", "output")]
    return nir.NIRGraph(nodes, [*edges, ("scale", "n"), ("n", "output")], type_check=False)


REFUSED: dict[str, tuple[nir.NIRGraph, Any, str]] = {
    "r that Norse ignores": (
        one_layer(bare("LIF", r=R)),
        nd.preset("norse", dt=1.0),
        r"n: r is 2, which 'norse with dt=1.0' takes for 1. Write 1 there, or choose other",
    ),
    "v_leak that Norse starts from": (
        one_layer(bare("LIF", v_leak=R)),
        nd.preset("norse", dt=1.0),
        "n: v_leak is 2, which .* takes for 0",
    ),
    "r of IF in sinabs": (one_layer(bare("IF", r=R)), "sinabs", "n: r is 2, which 'sinabs'"),
    "a neuron that a tool does not have": (
        one_layer(bare("CubaLIF")),
        "sinabs",
        r"n: the semantics 'sinabs' say nothing about nir.CubaLIF. Choose others",
    ),
    "branches in Norse": (joined(), nd.preset("norse", dt=1.0), "n: fc and skip meet here"),
    "another step than the file's": (
        one_layer(bare("LIF", 1e-3, r=A * TAU)),
        nd.preset("rockpool", dt=2e-3),
        r"n: r says that a step is 0.001 s, and .* it is 0.002 s. Choose the file's: --dt 0.001\.",
    ),
    "channels last before no dense layer": (
        convolution(2),
        "spyx",
        "scale: 'spyx' has the channels last here",
    ),
    "a time constant of NaN": (
        one_layer(bare("LIF", tau=np.array([np.nan, 4.0]))),
        "spyx",
        "n: 1 of 2 values of tau are not finite",
    ),
    "a bias in a loop that is no number": (
        loop(nir.Affine(np.zeros((2, 2)), np.array([np.nan, 1.0]))),
        nd.preset("spikingjelly", dt=1.0),
        "loop: 1 of 2 values of bias are not finite",
    ),
    "a bias in a loop of another shape": (
        loop(nir.Affine(np.zeros((1, 2, 2)), np.ones((1, 2)))),
        nd.preset("norse", dt=1.0),
        "loop: its bias acts one step late",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    graph, semantics, words = REFUSED[case]
    with pytest.raises((SemanticsError, ModelError), match=words):
        nd.load(graph, semantics)


def test_the_same_graphs_under_semantics_that_say_it() -> None:
    for case in ("r that Norse ignores", "branches in Norse", "a neuron that a tool does not have"):
        assert nd.load(REFUSED[case][0], nd.preset("euler", dt=1.0)).populations
    one_channel = nd.load(convolution(1), "euler")
    assert one_channel.populations[0].shape == (4,)


def test_a_rule_of_every_preset_names_its_source() -> None:
    for name, preset in PRESETS.items():
        assert (preset.rules is None) == (name in ("euler", "exact"))
        assert preset.summary
        assert preset.rules is None or any(c.isdigit() for c in preset.source)
        assert replace(preset.semantics, edge_delay=0).validate()


# --- the table in the documentation --------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "nir.md"


def row(preset: Preset) -> str:
    """The preset's line of the table."""
    meaning = preset.semantics
    timings = {"immediate": "at once", "delayed": "one step later"}
    reset = (
        f"{meaning.reset} {timings[meaning.reset_timing]}" if meaning.reset != "zero" else "zero"
    )
    cells = (
        f"`{preset.name}`",
        f"{meaning.dt:g}",
        {"euler": "1 − dt/τ", "exact": "exp(−dt/τ)"}[meaning.integrator],
        reset,
        f"v {'≥' if meaning.comparison == '>=' else '>'} θ",
        "1 spike" if meaning.spikes_per_step == 1 else "any number",
        f"{meaning.edge_delay} step" if meaning.edge_delay else "",
        "all" if preset.rules is None else ", ".join(preset.rules),
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def test_the_documentation_has_every_preset() -> None:
    lines = DOCUMENT.read_text("utf-8").splitlines()
    start = lines.index("|---|---|---|---|---|---|---|---|") + 1
    assert lines[start : start + len(PRESETS)] == [row(preset) for preset in PRESETS.values()]
    assert lines[start + len(PRESETS)] == ""
