"""Every kind of NIR node in a network: what it delivers, checked against loops written out here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir import load
from neurodeploy.frontends.nir_loader import Loader
from neurodeploy.network import Network
from neurodeploy.reference import simulate
from neurodeploy.trace import Trace
from tests.builders import DT, NONE, SUBTRACT, ZERO, chain, conv, conv1d, lif, spikes_for, whole

TAU = 4 * DT  # decay 3/4, input gain 1/4
FOURTH = np.full(2, TAU), np.ones(2), np.zeros(2)
SPIKES = spikes_for(0, 3, 12, (2,))


def graph(
    nodes: dict[str, Any], edges: list[tuple[str, str]], shape: tuple[int, ...] = (2,)
) -> nir.NIRGraph:
    """`input` of two spikes and `output` of `shape` around nodes."""
    ends = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": shape})}
    for name in ends:
        ends[name] = type(ends[name])({name: np.array([2] if name == "input" else shape)})
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


def potential(x: Any, decay: float, gain: float = 1.0) -> Any:
    """v_t = decay v_{t-1} + gain x_t along axis 1."""
    v, states = np.zeros(x[:, 0].shape), []
    for t in range(x.shape[1]):
        v = decay * v + gain * x[:, t]
        states.append(v)
    return np.stack(states, axis=1)


def run(net: Network) -> Trace:
    return simulate(net, SPIKES)


def test_a_leaky_integrator_is_read_as_its_potential() -> None:
    trace = run(load(chain((2,), li=nir.LI(*FOURTH)), ZERO))
    assert np.array_equal(trace.values["li"], potential(SPIKES.astype(float), 0.75, 0.25))
    assert not trace.spikes["li"].any()
    mean = trace.values["li"].mean(axis=1)
    assert np.array_equal(trace.decisions("li"), mean.argmax(axis=1))


def test_an_integrator_keeps_everything() -> None:
    trace = run(load(chain((2,), i=nir.I(np.full(2, 2 / DT))), ZERO))
    assert np.array_equal(trace.values["i"], 2.0 * SPIKES.cumsum(axis=1))


def test_a_synaptic_current_without_threshold() -> None:
    node = nir.CubaLI(np.full(2, 2 * DT), *FOURTH, np.full(2, 2.0))
    trace = run(load(chain((2,), li=node), ZERO))
    current = potential(SPIKES.astype(float), 0.5, 0.5 * 2.0 * 0.25)
    assert np.array_equal(trace.values["li"], potential(current, 0.75))


def test_a_potential_drives_other_neurons_as_the_number_that_it_is() -> None:
    net = load(
        chain((2,), li=nir.LI(*FOURTH), fc=nir.Linear(np.eye(2)[::-1] * 3), lif=lif([0.5, 0.5])),
        ZERO,
    )
    v = potential(SPIKES.astype(float), 0.75, 0.25)
    expected = simulate(load(chain((2,), lif=lif([0.5, 0.5]))), 3 * v[..., ::-1])
    found = run(net)
    assert np.array_equal(found.spikes["lif"], expected.spikes["lif"])
    assert 0 < found.spikes["lif"].sum() < found.spikes["lif"].size


def test_a_threshold_keeps_nothing() -> None:
    """Strictly above: 1 + 0 is not, 1 + 2 is."""
    nodes = {"fc": nir.Linear(np.array([[1.0, 2.0]])), "over": nir.Threshold(np.array([1.0]))}
    net = load(chain((2,), **nodes), SUBTRACT)
    assert net.populations[0].semantics.reset == "none"
    assert np.array_equal(run(net).spikes["over"], SPIKES[..., 1:])


def test_an_integrator_before_a_threshold_is_a_neuron_without_reset() -> None:
    theta = np.array([0.5, 0.7])
    parts = chain((2,), li=nir.LI(*FOURTH), over=nir.Threshold(theta))
    node = nir.LIF(*FOURTH, theta)
    expected = run(load(chain((2,), lif=node), NONE)).spikes["lif"]
    found = run(Loader(parts, NONE).network())
    assert np.array_equal(found.spikes["over"], expected)
    assert 0 < expected.sum() < expected.size


def test_the_loop_through_a_scale_subtracts_the_threshold_one_step_later() -> None:
    """Reference: snnTorch's default reset written in plain NIR."""
    theta = np.array([0.5, 0.7])
    nodes = {
        "li": nir.LI(*FOURTH),
        "over": nir.Threshold(theta),
        "back": nir.Scale(-theta / 0.25),
    }
    edges = [
        ("input", "li"), ("li", "over"), ("over", "back"), ("back", "li"), ("over", "output"),
    ]  # fmt: skip
    expected = run(load(chain((2,), lif=nir.LIF(*FOURTH, theta)), SUBTRACT)).spikes["lif"]
    found = run(Loader(graph(nodes, edges), SUBTRACT).network())
    assert np.array_equal(found.spikes["over"], expected)
    assert 0 < expected.sum() < expected.size


@given(st.lists(st.integers(0, 15), min_size=2, max_size=2))
def test_a_delay_holds_every_element_for_its_own_time(steps: list[int]) -> None:
    nodes = {"d": nir.Delay(np.array(steps) * DT), "over": nir.Threshold(np.full(2, 0.5))}
    found = run(load(chain((2,), **nodes), ZERO)).spikes["over"]
    for neuron, delay in enumerate(steps):
        assert not found[:, :delay, neuron].any()
        assert np.array_equal(found[:, delay:, neuron], SPIKES[:, : max(0, 12 - delay), neuron])


def delayed_loop(delay: Any, weight: Any) -> nir.NIRGraph:
    nodes = {"lif": lif([0.5, 0.75]), "w": nir.Linear(weight), "d": nir.Delay(delay)}
    edges = [("input", "lif"), ("lif", "w"), ("w", "d"), ("d", "lif"), ("lif", "output")]
    return graph(nodes, edges)


def test_a_loop_through_a_delay_takes_that_time_and_no_more() -> None:
    weight = np.array([[-0.5, 0.25], [1.0, -0.25]])
    net = load(delayed_loop(np.array([3 * DT, DT]), weight), ZERO)
    found = run(net).spikes["lif"]
    v, sent = np.zeros((3, 2)), np.zeros((3, 12, 2))
    for t in range(12):
        x = SPIKES[:, t].astype(float)
        if t >= 3:
            x[:, 0] += sent[:, t - 3] @ weight[0]
        if t >= 1:
            x[:, 1] += sent[:, t - 1] @ weight[1]
        v = np.array([0.5, 0.75]) * v + x
        sent[:, t] = v > 1
        v = np.where(v > 1, 0, v)
    assert np.array_equal(found, sent)
    assert found.sum() > 5


def test_loops_that_close_by_one_edge_each_take_their_own_time() -> None:
    """Directly one step later, and through a Delay of three steps three: not four."""
    nodes = {
        "lif": lif([0.5, 0.75]),
        "d": nir.Delay(np.full(2, 3 * DT)),
        "w": nir.Linear(np.array([[-0.5, 0.25], [1.0, -0.25]])),
    }
    edges = [
        ("input", "lif"), ("lif", "d"), ("d", "w"), ("lif", "w"), ("w", "lif"), ("lif", "output"),
    ]  # fmt: skip
    net = load(graph(nodes, edges), ZERO)
    delays = sorted((c.source, c.delay) for c in net.incoming("lif"))
    assert delays == [("input", 0), ("lif", 1), ("lif", 3)]


def test_a_loop_through_a_delay_of_no_step_is_refused() -> None:
    tiny = np.full(2, 1e-9 * DT)
    with pytest.raises(ModelError, match="d: closes a cycle and delays some elements by no step"):
        load(delayed_loop(tiny, np.eye(2)), ZERO)


def test_a_loop_of_delays_alone_is_refused() -> None:
    nodes = {"a": nir.Delay(np.full(2, DT)), "lif": lif([0.5, 0.5])}
    edges = [("input", "a"), ("a", "a"), ("a", "lif"), ("lif", "output")]
    with pytest.raises(ModelError, match="a: the cycle holds no neuron"):
        load(graph(nodes, edges), ZERO)


def test_a_delay_in_a_loop_that_is_a_text_is_refused() -> None:
    nodes = {"a": lif([0.5, 0.5]), "d": nir.Delay(np.array([b"", b""])), "w": nir.Linear(np.eye(2))}
    edges = [("input", "a"), ("a", "d"), ("d", "w"), ("w", "a"), ("a", "output")]
    with pytest.raises(ModelError, match=r"d: delay is \|S1, expected real numbers"):
        load(graph(nodes, edges), ZERO)


def test_a_constant_cannot_be_delayed() -> None:
    nodes = {
        "fc": nir.Affine(np.eye(2), np.ones(2)),
        "d": nir.Delay(np.full(2, DT)),
        "lif": lif([0.5, 0.5]),
    }
    with pytest.raises(ModelError, match="d: delays a constant"):
        load(chain((2,), **nodes))


def test_a_delay_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'input' delivers \(2,\) to a delay of \(3,\)"):
        load(chain((2,), d=nir.Delay(np.full(3, DT)), lif=lif([0.5, 0.5])), ZERO)


GEOMETRY = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 5), st.integers(5, 9))


@given(GEOMETRY, st.integers(0, 2), st.integers(1, 2), st.integers(1, 3), st.integers(0, 99))
def test_convolutions_along_one_axis_are_torchs(
    sizes: tuple[int, int, int, int], padding: int, dilation: int, stride: int, seed: int
) -> None:
    groups, per_group, kernel, length = sizes
    if dilation * (kernel - 1) >= length + 2 * padding:
        kernel = 1
    rng = np.random.default_rng(seed)
    weight, bias = whole(rng, (2 * groups, per_group, kernel)), whole(rng, (2 * groups,))
    x = whole(rng, (groups * per_group, length))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    node = conv1d(weight, bias, **options)
    expected = F.conv1d(torch.tensor(x)[None], torch.tensor(weight), torch.tensor(bias), **options)
    check_map(node, x, expected[0].numpy())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3))
def test_padding_to_the_same_size_is_torchs(rows: int, columns: int, a: int, b: int) -> None:
    """Torch pads the odd zero behind."""
    rng = np.random.default_rng(rows + 10 * columns)
    weight, x = whole(rng, (2, 1, rows, columns)), whole(rng, (1, 7, 9))
    expected = F.conv2d(
        torch.tensor(x)[None], torch.tensor(weight), padding="same", dilation=(a, b)
    )
    check_map(conv(weight, padding="same", dilation=(a, b)), x, expected[0].numpy())


def test_an_affine_map_has_a_matrix_for_each_leading_index() -> None:
    rng = np.random.default_rng(1)
    weight, bias, x = whole(rng, (2, 3, 5, 4)), whole(rng, (2, 3, 5)), whole(rng, (2, 3, 4))
    expected = np.einsum("abij,abj->abi", weight, x) + bias
    check_map(nir.Affine(weight, bias), x, expected)


def check_map(node: Any, x: Any, expected: Any) -> None:
    """A linear node between the input and a readout."""
    nodes = {"lif": lif(np.full(x.shape, 0.5)), "node": node}
    both = chain(x.shape, **nodes)
    both.edges[:] = [("input", "lif"), ("input", "node"), ("lif", "spikes"), ("node", "output")]
    both.nodes["spikes"] = nir.Output({"output": np.array(x.shape)})
    both.nodes["output"] = nir.Output({"output": np.array(expected.shape)})
    trace = simulate(load(both), x[None, None])
    assert np.array_equal(trace.values["node"][0, 0], expected)


def test_outputs_read_spikes_potentials_and_values() -> None:
    """Two inputs; a spiking layer, its potential, a linear readout, and a sum of two."""
    nodes = {
        "a": nir.Input({"input": np.array([2])}),
        "b": nir.Input({"input": np.array([2])}),
        "one": lif([0.5, 0.5]),
        "two": lif([0.25, 0.25]),
        "fc": nir.Affine(np.array([[1.0, -1.0]]), np.array([0.5])),
        "out1": nir.Output({"output": np.array([2])}),
        "out2": nir.Output({"output": np.array([1])}),
        "sum": nir.Output({"output": np.array([2])}),
    }
    edges = [
        ("a", "one"), ("b", "two"), ("one", "fc"), ("two", "out1"), ("fc", "out2"),
        ("one", "sum"), ("two", "sum"),
    ]  # fmt: skip
    net = load(nir.NIRGraph(nodes, edges, type_check=False))
    other = spikes_for(1, 3, 12, (2,))
    trace = simulate(net, {"a": SPIKES, "b": 3.0 * other})
    assert net.outputs == ("two", "sum", "fc")
    one, two = trace.spikes["one"].astype(float), trace.spikes["two"].astype(float)
    assert one.sum() > 3
    assert two.sum() > 3
    assert np.array_equal(trace.values["fc"][..., 0], one[..., 0] - one[..., 1] + 0.5)
    assert np.array_equal(trace.values["sum"], one + two)
    assert np.array_equal(trace.values["b"], 3.0 * other)
    assert set(trace.values) == {"b", "fc", "sum"}


def test_a_neuron_may_be_read_as_its_potential() -> None:
    node = lif([0.5, 0.5])
    node.metadata["neurodeploy"] = node.metadata["neurodeploy"].replace(
        '"schema"', '"readout": "membrane", "schema"'
    )
    net = load(chain((2,), lif=node))
    trace = simulate(net, 1.5 * SPIKES, record=["lif"])
    assert np.array_equal(trace.values["lif"], trace.states["lif"]["v"])
    assert trace.spikes["lif"].any()


def test_a_loaded_graph_says_all_that_the_caller_said() -> None:
    """So that a program, which holds the graph, is read again without the caller."""
    nodes = {
        "d": nir.Delay(np.full(2, 2 * DT)),
        "li": nir.LI(*FOURTH),
        "half": nir.Scale(np.full(2, 0.5)),
        "over": nir.Threshold(np.full(2, 0.125)),
    }
    net = load(chain((2,), **nodes), replace(ZERO, comparison=">="))
    again = load(net.graph)
    assert [p.semantics for p in again.populations] == [p.semantics for p in net.populations]
    assert np.array_equal(run(again).spikes["over"], run(net).spikes["over"])
