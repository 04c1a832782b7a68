"""Lowering to Loihi 2: what is exact, how far the rest can be off, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from neurodeploy.program import Lowering, Program, Synapses
from neurodeploy.semantics import Semantics, to_metadata
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.vendor import to_lava
from neurodeploy.trace import Trace
from tests.builders import (
    AT_ONCE,
    DT,
    HELD,
    NONE,
    SUBTRACT,
    ZERO,
    chain,
    compiled,
    conv,
    integrator,
    lif,
    merged,
    network,
    origins,
    recorded,
    small_program,
    spikes_for,
)

MACHINE = LoihiMachine()
MEANINGS = st.sampled_from([ZERO, SUBTRACT, NONE, replace(ZERO, reset_timing="delayed")])


def registers(program: Program, name: str) -> dict[str, list[int]]:
    parameters = program.population(name).parameters
    return {key: values.reshape(-1).tolist() for key, values in parameters.items()}


def synapses(program: Program, name: str) -> Synapses:
    (found,) = [s for s in program.synapses if s.name == name]
    return found


def note(program: Program, name: str, subject: str) -> Lowering:
    (found,) = [x for x in program.lowerings if (x.node, x.subject) == (name, subject)]
    return found


def dense(
    weight: Any, decay: Any, threshold: Any = 1.0, meaning: Semantics = ZERO, bias: Any = 0.0
) -> Network:
    """One dense population."""
    weight = np.asarray(weight, float)
    full = np.broadcast_to(np.asarray(bias, float), len(weight)).copy()
    node = lif(np.broadcast_to(decay, len(weight)), threshold, meaning)
    return network((weight.shape[1],), fc=nir.Affine(weight, full), lif=node)


# --- the grid ------------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32 - 1),
    MEANINGS,
    st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
    st.sampled_from([0.0, 0.01, 0.3, 3.0]),
)
def test_everything_is_on_the_grid(seed: int, meaning: Any, size: float, bias: float) -> None:
    """Weights even within +-254, one exponent, registers within their bits, threshold exact."""
    rng = np.random.default_rng(seed)
    n, inputs = int(rng.integers(1, 6)), int(rng.integers(1, 40))
    threshold = rng.uniform(0.3, 3, n)
    net = dense(
        size * rng.normal(0, 1, (n, inputs)),
        rng.uniform(0, 0.99, n),
        threshold,
        meaning,
        bias * rng.normal(0, 1, n),
    )
    program = compiled(net, spikes_for(seed, 2, 10, (inputs,)))
    found, (population,) = registers(program, "lif"), program.populations
    assert len(found["vth"]) == 1
    vth = found["vth"][0]
    assert 2 <= vth < 2**17
    assert np.allclose(population.unit * threshold, vth * 64, rtol=1e-15)
    arriving = synapses(program, "input->lif")
    assert np.all(arriving.weight % 2 == 0)
    assert np.abs(arriving.weight).max() <= 254
    assert 0 <= arriving.exponent <= 6
    assert min(found["du"]) >= 0
    assert max(found["du"]) <= 4095
    assert min(found["dv"]) >= 0
    assert max(found["dv"]) <= 4096
    assert min(found["bias_mant"]) >= -4096
    assert max(found["bias_mant"]) <= 4095
    assert found["bias_exp"][0] in range(8)
    for register in ("u0", "v0"):
        assert np.abs(found[register]).max() < 2**23
    if meaning.reset == "subtract":
        own = synapses(program, "lif->lif")
        assert own.kind == "one-to-one"
        assert set((own.weight << own.exponent).tolist()) == {-vth}
        assert -own.weight[0] in range(2, 255, 2)
    else:
        assert [s.name for s in program.synapses] == ["input->lif"]


@given(st.integers(0, 2**32 - 1), MEANINGS)
def test_rounding_is_to_the_nearest(seed: int, meaning: Any) -> None:
    """No weight, decay or bias is off by more than half a step of its grid."""
    rng = np.random.default_rng(seed)
    weight, beta = rng.normal(0, 0.5, (3, 8)), rng.uniform(0.2, 0.98, 3)
    threshold, bias = rng.uniform(0.5, 2, 3), rng.normal(0, 0.05, 3)
    program = compiled(dense(weight, beta, threshold, meaning, bias), spikes_for(0, 2, 10, (8,)))
    found, arriving = registers(program, "lif"), synapses(program, "input->lif")
    vth = found["vth"][0]
    exact = weight / threshold[:, None] * vth
    half = 2.0**arriving.exponent
    assert np.abs(exact - arriving.weight * 2.0**arriving.exponent).max() <= half * (1 + 1e-9)
    current = meaning.reset != "zero"
    iota = np.array(found["du"]) + 1 if current else np.array(found["dv"])
    assert np.abs((1 - beta) * 4096 - iota).max() <= 0.5
    scaled = bias / threshold * vth * 64 * (4096 / iota if current else 1)
    kept = np.array(found["bias_mant"]) * 2.0 ** found["bias_exp"][0]
    assert np.abs(scaled - kept).max() <= 2.0 ** found["bias_exp"][0] / 2 * (1 + 1e-9)
    assert found["u0"] == ((-kept).tolist() if current else [0])


def test_weights_use_their_eight_bits() -> None:
    rng = np.random.default_rng(0)
    for size in (1e-2, 0.1, 1.0, 5.0):
        program = compiled(
            dense(size * rng.normal(0, 1, (5, 20)), 0.9), spikes_for(0, 2, 20, (20,))
        )
        assert np.abs(synapses(program, "input->lif").weight).max() >= 126


def test_thresholds_move_into_the_weights_of_their_neurons() -> None:
    """Twice the threshold, weights and bias is the same neuron."""
    weight, bias = np.array([[0.5, -0.25, 1.0]]), 0.125
    for meaning in (ZERO, SUBTRACT, NONE):
        net = dense(
            np.vstack([weight, 2 * weight, 3 * weight]),
            0.75,
            np.array([1.0, 2.0, 3.0]),
            meaning,
            np.array([bias, 2 * bias, 3 * bias]),
        )
        program = compiled(net, spikes_for(0, 2, 20, (3,)))
        rows = synapses(program, "input->lif").weight
        assert rows.tolist() == [rows[0].tolist()] * 3
        assert len(registers(program, "lif")["bias_mant"]) == 1
        trace = simulate(program, spikes_for(1, 4, 50, (3,)), MACHINE).spikes["lif"]
        assert trace.any()
        assert np.array_equal(trace[..., :1].repeat(3, axis=-1), trace)


def test_convolutions_take_a_threshold_per_channel() -> None:
    kernel = np.array([[[[1.0, -0.5], [0.25, 0]]]])
    threshold = np.array([1.0, 2.0])[:, None, None] * np.ones((2, 3, 3))
    node = lif(np.full((2, 3, 3), 0.75), threshold)
    net = network((1, 4, 4), c=conv(np.vstack([kernel, 2 * kernel])), lif=node)
    program = compiled(net, spikes_for(0, 2, 20, (1, 4, 4)))
    weight = synapses(program, "input->lif").weight
    assert np.array_equal(weight[0], weight[1])
    threshold[0, 1, 1] = 1.5
    uneven = lif(np.full((2, 3, 3), 0.75), threshold)
    net = network((1, 4, 4), c=conv(np.vstack([kernel, 2 * kernel])), lif=uneven)
    with pytest.raises(ModelError, match=r"input->lif: thresholds differ within a channel"):
        compiled(net, spikes_for(0, 2, 20, (1, 4, 4)))


def test_decays_and_biases_of_convolutions_may_differ_by_pixel() -> None:
    rng = np.random.default_rng(0)
    net = network(
        (1, 4, 4),
        c=conv(rng.normal(0.3, 0.4, (2, 1, 2, 2)), bias=[0.01, -0.02], padding=1),
        pool=nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1])),
        lif=lif(rng.uniform(0.2, 0.9, (2, 3, 3))),
    )
    program = compiled(net, spikes_for(0, 2, 20, (1, 4, 4)))
    assert len(set(registers(program, "lif")["dv"])) == 18
    assert len(set(registers(program, "lif")["bias_mant"])) > 2


# --- equality ------------------------------------------------------------------------------------


def assert_off_by_truncation_only(net: Network, program: Program, spikes: Any) -> int:
    """Where a sample first differs, the reference is within the truncation of its threshold.

    Parameters lie on the grid, so only the state's rounding toward zero acts: each step loses less
    than one unit, and a decay b keeps the share b of what was lost: less than 1/(1 - b) in all, of
    units of 1/64 of the weights' unit.  Returns how many samples differ.
    """
    expected = recorded(net, spikes)
    actual = simulate(program, spikes, MACHINE)
    cells = origins(expected, actual, [p.name for p in net.populations])
    for cell in cells:
        population = next(p for p in net.populations if p.name == cell.population)
        unit = np.broadcast_to(
            program.population(cell.population).unit.reshape(-1), population.size
        ).reshape(population.shape)[cell.neuron]
        beta, theta = population.decay[cell.neuron], population.threshold[cell.neuron]
        v = expected.states[cell.population]["v"][(cell.sample, cell.step, *cell.neuron)]
        assert abs(v - theta) * unit < 1 / max(1 - beta, 1 / 4096), cell
    return len(cells)


def on_the_grid(rng: np.random.Generator, n: int, inputs: int) -> Any:
    """Weights in 1/64 of the threshold, the largest 127/64: V is 128 times a power of two."""
    weight = rng.integers(-40, 60, (n, inputs)) / 64
    weight[0, 0] = 127 / 64
    return weight


def assert_nothing_is_rounded(program: Program, name: str) -> None:
    quantisation = note(program, name, "quantisation")
    assert quantisation.how == "exact"
    assert "off by at most 0 thresholds, the bias by 0, decays by 0" in quantisation.text


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([ZERO, SUBTRACT, NONE, AT_ONCE, replace(SUBTRACT, reset_amount=0.5)]),
    st.sampled_from([0.5, 0.75, 0.875, 0.9375, 0.96875]),
    st.booleans(),
)
def test_on_the_grid_only_truncation_differs(
    seed: int, meaning: Any, beta: float, shared: bool
) -> None:
    rng = np.random.default_rng(seed)
    decay = np.full(6, beta) if shared else rng.choice([0.0, 0.5, 0.75, beta], 6)
    net = dense(on_the_grid(rng, 6, 8), decay, 1.0, meaning)
    spikes = spikes_for(seed, 8, 60, (8,), 0.3)
    program = compiled(net, spikes)
    assert_nothing_is_rounded(program, "lif")
    assert_off_by_truncation_only(net, program, spikes)


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT, NONE], ids=lambda m: m.reset)
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.75, 0.9375])
def test_on_the_grid_two_layers_are_equal(meaning: Any, beta: float) -> None:
    """0 of 52,000 cells: only ties within the truncation could differ, and none is met here."""
    rng = np.random.default_rng(11)
    net = network(
        (12,),
        a=nir.Linear(on_the_grid(rng, 20, 12)),
        lif0=lif(np.full(20, beta), semantics=meaning),
        b=nir.Linear(on_the_grid(rng, 6, 20)),
        lif1=lif(np.full(6, beta), semantics=meaning),
    )
    spikes = spikes_for(1, 20, 100, (12,), 0.3)
    program = compiled(net, spikes)
    expected, actual = recorded(net, spikes), simulate(program, spikes, MACHINE)
    for name in ("lif0", "lif1"):
        assert_nothing_is_rounded(program, name)
        assert 0 < expected.spikes[name].mean() < 1
        assert np.array_equal(expected.spikes[name], actual.spikes[name])


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_without_fractions_even_ties_are_equal(beta: float) -> None:
    """No memory, or no leak, leaves whole numbers: potentials that meet the threshold stay put."""
    rng = np.random.default_rng(3)
    node = integrator(np.ones(10)) if beta else lif(np.zeros(10))
    net = network((16,), fc=nir.Linear(on_the_grid(rng, 10, 16)), lif=node)
    spikes = spikes_for(0, 40, 200, (16,), 0.3)
    program = compiled(net, spikes)
    assert registers(program, "lif")["dv"] == [0 if beta else 4096]
    assert_nothing_is_rounded(program, "lif")
    expected = recorded(net, spikes)
    actual = simulate(program, spikes, MACHINE, record=["lif"])
    assert (expected.states["lif"]["v"] == 1).sum() > 100
    assert np.array_equal(expected.spikes["lif"], actual.spikes["lif"])
    unit = program.population("lif").unit
    assert np.array_equal(expected.states["lif"]["v"] * unit, actual.states["lif"]["potential"])


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT, NONE], ids=lambda m: m.reset)
@pytest.mark.parametrize("bias", [0.3, -0.3, 0.05])
def test_biases_act_from_the_first_step(meaning: Any, bias: float) -> None:
    """Potentials with no input at all follow b, b(1 + beta), ... to within the grid."""
    net = dense([[0.5, 0.25]], 0.75, 4.0, meaning, bias)
    silent = np.zeros((1, 30, 2), np.uint8)
    program = compiled(net, spikes_for(0, 2, 30, (2,)))
    expected = recorded(net, silent).states["lif"]["v"]
    states = simulate(program, silent, MACHINE, record=["lif"]).states["lif"]
    unit = program.population("lif").unit[0]
    step = 2.0 ** registers(program, "lif")["bias_exp"][0]
    error = np.abs(states["potential"] / unit - expected).max()
    assert error <= (step / 2 + 1) / (1 - 0.75) / unit


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT, NONE], ids=lambda m: m.reset)
@pytest.mark.parametrize("beta", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("inputs", [1, 8, 200])
@pytest.mark.parametrize("bias", [0.1, 0.5, 1.5])
def test_ordinary_biases_fit(meaning: Any, beta: float, inputs: int, bias: float) -> None:
    """Biases as training leaves them are lowered, whatever the size of the layer."""
    rng = np.random.default_rng(inputs)
    net = dense(
        rng.uniform(-1, 1, (10, inputs)) / math.sqrt(inputs), beta, 1.0, meaning,
        rng.uniform(-bias, bias, 10),
    )  # fmt: skip
    spikes = spikes_for(0, 8, 40, (inputs,))
    program = compiled(net, spikes)
    expected, actual = recorded(net, spikes), simulate(program, spikes, MACHINE)
    assert (expected.spikes["lif"] != actual.spikes["lif"]).mean() < 0.05


def test_a_bias_that_is_rounded_is_not_called_exact() -> None:
    weight = np.array([[127, -64, 32]]) / 127
    assert note(compiled(dense(weight, 0.5), spikes_for(0, 1, 9, (3,))), "lif",
                "quantisation").how == "exact"  # fmt: skip
    program = compiled(dense(weight, 0.5, bias=1 / 3), spikes_for(0, 1, 9, (3,)))
    found = registers(program, "lif")
    kept = found["bias_mant"][0] * 2 ** found["bias_exp"][0] / program.population("lif").unit[0]
    assert kept != 1 / 3
    assert note(program, "lif", "quantisation").how == "approximate"


def test_small_networks_stay_close() -> None:
    net, program, spikes = small_program()
    expected, actual = recorded(net, spikes), simulate(program, spikes, MACHINE)
    for name in ("lif1", "lif2", "lif3"):
        assert expected.spikes[name].any()
        assert (expected.spikes[name] != actual.spikes[name]).mean() < 0.05


# --- structure -----------------------------------------------------------------------------------


def test_depths_count_the_steps_behind_the_input() -> None:
    program = small_program()[1]
    assert [p.depth for p in program.populations] == [1, 2, 3]


def test_the_program_carries_its_graph_and_its_notes() -> None:
    net, program, _ = small_program()
    assert program.target == "loihi2"
    assert program.outputs == ("lif3",)
    assert set(program.graph["nodes"]) == set(net.graph.nodes)
    subjects = {x.node: set() for x in program.lowerings}
    for x in program.lowerings:
        subjects[x.node].add(x.subject)
    assert subjects["lif1"] >= {"reset", "edge_delay", "rounding", "quantisation", "overflow"}
    assert {item.node for item in program.ranges} == {"lif1", "lif2", "lif3"}


def branches(first: int, second: int) -> nir.NIRGraph:
    """Two paths of `first` and `second` layers from the input to one population."""
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([3])})}
    edges = []
    for path, length in (("a", first), ("b", second)):
        last = "input"
        for i in range(length):
            nodes[f"{path}fc{i}"] = nir.Linear(np.full((3, 3), 0.5))
            edges.append((last, f"{path}fc{i}"))
            last = f"{path}fc{i}"
            if i < length - 1:
                nodes[f"{path}lif{i}"] = lif(np.full(3, 0.5))
                edges.append((last, f"{path}lif{i}"))
                last = f"{path}lif{i}"
        edges.append((last, "end"))
    nodes |= {"end": lif(np.full(3, 0.5)), "output": nir.Output({"output": np.array([3])})}
    return nir.NIRGraph(nodes, [*edges, ("end", "output")], type_check=False)


def test_branches_of_equal_depth_join() -> None:
    net = merged(load(branches(2, 2)))
    spikes = spikes_for(0, 2, 20, (3,))
    program = compiled(net, spikes)
    expected, actual = recorded(net, spikes), simulate(program, spikes, MACHINE)
    assert expected.spikes["end"].any()
    assert np.array_equal(expected.spikes["end"], actual.spikes["end"])


@pytest.mark.parametrize(("lengths", "steps"), [((1, 2), 1), ((3, 1), 2)])
def test_the_shorter_branch_waits_in_its_synapses(lengths: tuple[int, int], steps: int) -> None:
    program = compiled(merged(load(branches(*lengths))), spikes_for(0, 1, 5, (3,)))
    assert {s.name: s.delay.tolist() for s in program.incoming("end")} == {
        s.name: [steps if s.source == "input" else 0] for s in program.incoming("end")
    }
    assert program.population("end").depth == max(lengths)


def test_an_input_of_two_axes_has_a_place_in_lava() -> None:
    flatten = nir.Flatten({"input": np.array([4, 4])}, 0, -1)
    net = network((4, 4), f=flatten, fc=nir.Linear(np.ones((3, 16))), lif=lif(np.full(3, 0.5)))
    spikes = spikes_for(0, 2, 5, (4, 4))
    from neurodeploy.targets.loihi.lava.checks import validate

    validate(to_lava(compiled(net, spikes), {"input": spikes}, states=False))


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meaning", "words"),
    [
        (HELD, "reset is subtract.*reset_timing is held"),
        (replace(SUBTRACT, reset_amount=-2.0), "reset_amount is -2.0"),
        (replace(ZERO, comparison=">="), "comparison is >="),
        (replace(ZERO, initial_state=0.5), "initial_state is 0.5"),
    ],
)
def test_refused_semantics(meaning: Semantics, words: str) -> None:
    net = dense(np.ones((2, 3)), 0.5, meaning=meaning)
    with pytest.raises(SemanticsError, match=f"lif: cannot run on Loihi: .*{words}") as caught:
        compiled(net, spikes_for(0, 1, 5, (3,)))
    assert caught.value.hint


def test_refused_refractoriness() -> None:
    """The reference has no refractory period, so the calibration trace is made without it."""
    net = dense(np.ones((2, 3)), 0.5)
    trace = recorded(net, spikes_for(0, 1, 5, (3,)))
    (population,) = net.populations
    for change in ({"refractory": 2}, {"spikes_per_step": 3}):
        meaning = replace(ZERO, **change)  # type: ignore[arg-type]
        changed = replace(net, populations=(replace(population, semantics=meaning),))
        assert_refused(changed, trace, next(iter(change)))


def assert_refused(net: Network, trace: Trace, words: str) -> None:
    from neurodeploy.targets.loihi.lowering import lower

    with pytest.raises(SemanticsError, match=words):
        lower(net, trace, "loihi2")


def test_all_populations_are_named_at_once() -> None:
    eye = nir.Linear(np.eye(2))
    graph = chain(
        (2,),
        a=eye,
        first=lif([0.5, 0.5], semantics=HELD),
        b=eye,
        good=lif([0.5, 0.5]),
        c=eye,
        second=lif([0.5, 0.5], semantics=replace(ZERO, comparison=">=")),
        d=eye,
        third=integrator(np.ones(2), SUBTRACT),
    )
    with pytest.raises(NeurodeployError) as caught:
        compiled(merged(load(graph)), spikes_for(0, 1, 5, (2,)))
    text = str(caught.value)
    assert text.startswith("3 things cannot be lowered")
    for words in ("first: ", "held", "second: ", ">=", "third: ", "without leak"):
        assert words in text
    assert "good" not in text
    assert "\n" not in text


@pytest.mark.parametrize("meaning", [SUBTRACT, NONE], ids=lambda m: m.reset)
@pytest.mark.parametrize("bias", [0.0, 0.5])
@pytest.mark.parametrize("beta", [1.0, 1 - 2.0**-14])
def test_a_neuron_without_leak_is_refused_where_the_chip_always_leaks(
    meaning: Semantics, bias: float, beta: float
) -> None:
    node = integrator(np.ones(1), meaning) if beta == 1 else lif([beta], semantics=meaning)
    net = network((3,), fc=nir.Affine(np.ones((1, 3)), np.array([bias])), lif=node)
    with pytest.raises(ModelError, match="lif: a neuron without leak"):
        compiled(net, spikes_for(0, 1, 5, (3,)))


def test_potentials_cannot_be_sent() -> None:
    """All that is wrong with a population, and with others, comes at once."""
    beta = np.full(2, 0.5)
    entries = to_metadata(semantics=NONE.to_dict())
    net = network(
        (2,),
        a=nir.Linear(np.eye(2)),
        li=nir.LI(DT / (1 - beta), 1 / (1 - beta), np.zeros(2), metadata=entries),
        b=nir.Linear(np.eye(2)),
        lif=integrator(np.ones(2), replace(SUBTRACT, comparison=">=")),
    )
    with pytest.raises(NeurodeployError, match=r"^3 things cannot") as caught:
        compiled(net, spikes_for(0, 1, 5, (2,)))
    for words in ("li: its membrane potential is sent", "lif: cannot run", "lif: a neuron without"):
        assert words in str(caught.value)


def test_delays_of_single_synapses_are_one_matrix() -> None:
    """A NIR Delay of many values becomes many connections, which never share a synapse."""
    steps = np.array([3, 0, 7, 3])
    net = network(
        (4,),
        d=nir.Delay(steps * DT, metadata=to_metadata(dt=DT)),
        a=nir.Linear(np.arange(1, 9).reshape(2, 4) / 4),
        lif=lif([0.5, 0.5]),
    )
    assert len(net.connections) == 3
    program = compiled(net, spikes_for(0, 2, 20, (4,)))
    (arriving,) = program.synapses
    assert arriving.delay.tolist() == [steps.tolist()] * 2
    assert np.all(arriving.weight != 0)


def test_a_diagonal_loop_is_one_synapse_per_neuron() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "a": nir.Linear(np.eye(3)),
        "lif": lif(np.full(3, 0.5), semantics=SUBTRACT),
        "own": nir.Scale(np.array([0.5, -0.25, 1.0])),
        "output": nir.Output({"output": np.array([3])}),
    }
    edges = [("input", "a"), ("a", "lif"), ("lif", "own"), ("own", "lif"), ("lif", "output")]
    program = compiled(merged(load(nir.NIRGraph(nodes, edges))), spikes_for(0, 2, 20, (3,)))
    own = [s for s in program.synapses if s.recurrent]
    assert [(s.name, s.kind) for s in own] == [
        ("lif->lif", "one-to-one"), ("lif->lif#2", "one-to-one"),
    ]  # fmt: skip
    unit = program.population("lif").register("vth")[0]
    total = sum(s.weight * 2.0**s.exponent for s in own) / unit
    assert total.tolist() == [-0.5, -1.25, 0.0]


def test_relays_are_shared_and_follow_their_source() -> None:
    """Two convolutions read the input, one two steps later than the other."""
    image = nir.Input({"input": np.array([1, 4, 4])})
    kernel = np.full((1, 1, 1, 1), 0.75)
    nodes: dict[str, nir.NIRNode] = {"input": image}
    edges = []
    for i in range(3):
        nodes |= {f"c{i}": conv(kernel), f"lif{i}": lif(np.full((1, 4, 4), 0.5))}
        edges += [(f"lif{i - 1}" if i else "input", f"c{i}"), (f"c{i}", f"lif{i}")]
        if i:
            nodes[f"skip{i}"] = conv(kernel)
            edges += [("input", f"skip{i}"), (f"skip{i}", f"lif{i}")]
    nodes["output"] = nir.Output({"output": np.array([1, 4, 4])})
    net = merged(load(nir.NIRGraph(nodes, [*edges, ("lif2", "output")], type_check=False)))
    spikes = spikes_for(0, 3, 20, (1, 4, 4))
    program = compiled(net, spikes)
    names = [(p.name, p.depth) for p in program.populations]
    assert names == [("lif0", 1), ("input+1", 1), ("lif1", 2), ("input+2", 2), ("lif2", 3)]
    sources = {s.name: s.source for s in program.synapses}
    assert sources["input->lif1"] == "input+1"
    assert sources["input->lif2"] == "input+2"
    trace = simulate(program, spikes, MACHINE)
    for relay in ("input+1", "input+2"):
        assert np.array_equal(trace.spikes[relay], spikes)


def test_a_threshold_below_the_grid_is_refused() -> None:
    net = dense(np.full((1, 3), 1e6), 0.5)
    with pytest.raises(ModelError, match=r"lif: the threshold is below one step"):
        compiled(net, spikes_for(0, 1, 5, (3,)))


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT, NONE], ids=lambda m: m.reset)
def test_all_weights_zero(meaning: Semantics) -> None:
    net = dense(np.zeros((2, 3)), 0.5, meaning=meaning, bias=[0.75, 0.25])
    spikes = spikes_for(0, 1, 20, (3,))
    program = compiled(net, spikes)
    expected, actual = recorded(net, spikes), simulate(program, spikes, MACHINE)
    assert expected.spikes["lif"].any()
    assert np.array_equal(expected.spikes["lif"], actual.spikes["lif"])


def test_no_neurons_are_refused_clearly() -> None:
    with pytest.raises(ModelError):
        compiled(network((3,), fc=nir.Linear(np.ones((0, 3))), lif=lif(np.ones(0) / 2)),
                 spikes_for(0, 1, 5, (3,)))  # fmt: skip
