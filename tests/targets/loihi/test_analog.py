"""Analog input on Loihi 2: where it enters the neurons, what is exact, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import api
from neurodeploy.errors import InputError, ModelError
from neurodeploy.frontends.nir import load
from neurodeploy.grid import Grid
from neurodeploy.linear import Conv2d, Dense, FloatArray
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import in_model_units, simulate
from neurodeploy.targets.loihi.analog import diagonal
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.netx.writing import write_net
from neurodeploy.targets.loihi.rules import check
from neurodeploy.targets.loihi.target import Loihi
from neurodeploy.trace import Trace, check_inputs
from tests.builders import (
    NONE,
    SUBTRACT,
    ZERO,
    chain,
    compiled,
    conv,
    cuba,
    integrator,
    lif,
    merged,
    network,
    recorded,
)

MACHINE = LoihiMachine()


def levels(seed: int, *shape: int, low: int = 0, high: int = 16) -> FloatArray:
    """Whole multiples of 1/16, with both ends."""
    found = np.random.default_rng(seed).integers(low, high + 1, shape)
    found.reshape(-1)[:2] = low, high
    return found / 16


def between(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> FloatArray:
    """On no grid."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def alone(node: nir.NIRNode, shape: tuple[int, ...] = (12,)) -> Network:
    """An input straight into neurons."""
    return network(shape, lif=node)


def neurons(meaning: Semantics, *shape: int, beta: float = 0.75, theta: float = 1.0) -> nir.LIF:
    return lif(np.full(shape, beta), theta, meaning)


def run(program: Program, x: FloatArray, record: bool = True) -> Trace:
    sent = check_inputs(x, program.input_shapes, program.graded, program.grids)
    names = [population.name for population in program.populations] * record
    return simulate(program, sent, MACHINE, record=names)


def enters(program: Program) -> list[tuple[str, str, str]]:
    """(target, kind, port) of what the input reaches."""
    return [(s.target, s.kind, s.port) for s in program.synapses if s.source == "input"]


def said(program: Program, node: str, subject: str) -> str:
    (note,) = (n for n in program.lowerings if (n.node, n.subject) == (node, subject))
    return f"{note.how}: {note.text}"


# --- where it enters -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "port", "depth"),
    [
        (neurons(ZERO, 12), "bias", 0),
        (integrator(np.ones(12)), "bias", 0),
        (neurons(SUBTRACT, 12), "current", 1),
        (neurons(NONE, 12), "current", 1),
        (cuba(np.full(12, 0.5), np.full(12, 0.75)), "current", 1),
        (lif(np.full(12, 0.75), np.linspace(1, 2, 12)), "current", 1),
    ],
    ids=["zero", "no leak", "subtract", "no reset", "synaptic current", "thresholds"],
)
def test_one_value_per_neuron(node: nir.NIRNode, port: str, depth: int) -> None:
    program = compiled(alone(node), between(0, 3, 20, 12))
    assert enters(program) == [("lif", "one-to-one", port)]
    assert [p.depth for p in program.populations] == [depth]


def test_an_input_that_goes_elsewhere_too_is_a_message() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([4])}), "a": neurons(ZERO, 4), "b": neurons(ZERO, 4),
        "fc": nir.Linear(np.eye(4)), "output": nir.Output({"output": np.array([4])}),
    }  # fmt: skip
    edges = [("input", "a"), ("a", "fc"), ("fc", "b"), ("input", "b"), ("b", "output")]
    net = merged(load(nir.NIRGraph(nodes, edges, type_check=False)))
    program = compiled(net, levels(0, 2, 20, 4))
    assert sorted(enters(program)) == [
        ("a", "one-to-one", "current"), ("b", "one-to-one", "current"),
    ]  # fmt: skip
    assert [s.delay.max() for s in program.synapses if s.source == "input"] == [0, 1]


@pytest.mark.parametrize("weight", [np.diag([1.0, 2.0]), -np.eye(2), np.ones((2, 2))])
def test_other_weights_than_one_are_synapses(weight: FloatArray) -> None:
    net = network((2,), fc=nir.Linear(weight), lif=neurons(ZERO, 2))
    program = compiled(net, between(0, 2, 20, 2))
    kind = "dense" if weight.all() else "one-to-one"
    assert enters(program) == [("lif", kind, "current")]


def test_diagonal_maps() -> None:
    found = diagonal(Dense(np.diag([1.0, 0.0, 3.0]), (3,), (3,)))
    assert found is not None
    assert found.tolist() == [1, 0, 3]
    assert diagonal(Dense(np.ones((3, 3)), (3,), (3,))) is None
    assert diagonal(Dense(np.ones((3, 1)), (1,), (3,))) is None
    pixel = Conv2d(np.array([2.0, 3.0]).reshape(2, 1, 1, 1), (2, 1, 2), groups=2)
    found = diagonal(pixel)
    assert found is not None
    assert found.tolist() == [2, 2, 3, 3]
    for other in (
        Conv2d(np.ones((4, 1, 1, 1)), (2, 1, 2), groups=2),
        Conv2d(np.ones((2, 2, 1, 1)), (2, 1, 2)),
        Conv2d(np.ones((2, 1, 1, 2)), (2, 1, 2), groups=2),
        Conv2d(np.ones((2, 1, 1, 1)), (2, 1, 2), stride=(1, 2), groups=2),
        Conv2d(np.ones((2, 1, 1, 1)), (2, 1, 2), padding=(0, 1), groups=2),
    ):
        assert diagonal(other) is None


# --- exactness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT, NONE], ids=lambda m: m.reset)
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.75])
def test_on_a_grid_nothing_is_rounded_but_states(meaning: Semantics, beta: float) -> None:
    """Potentials follow the reference to the truncation of states, and no spike differs."""
    net = alone(neurons(meaning, 12, beta=beta))
    x = levels(1, 6, 60, 12, low=-4, high=24)
    program = compiled(net, x)
    assert said(program, "input", "input").startswith("exact: ")
    assert said(program, "lif", "quantisation").startswith("exact: ")
    expected, actual = recorded(net, x), run(program, x)
    assert 0 < expected.spikes["lif"].mean() < 1
    assert np.array_equal(expected.spikes["lif"], actual.spikes["lif"])
    units = program.population("lif")
    potential = in_model_units(actual.states["lif"], units)["potential"]
    slack = 1 / (1 - beta) / units.unit[0]
    assert np.abs(potential - expected.states["lif"]["v"]).max() <= slack


def test_weight_and_threshold_of_a_bias() -> None:
    """One step of the grid is one of the bias mantissa: 64 V (weight / threshold) step = 2^e."""
    net = network((6,), fc=nir.Scale(np.full(6, 3.0)), lif=neurons(ZERO, 6, theta=6.0))
    x = levels(9, 6, 50, 6, low=-4, high=24)
    program = compiled(net, x)
    assert enters(program) == [("lif", "one-to-one", "bias")]
    assert said(program, "input", "input").startswith("exact: ")
    found = {name: v.item() for name, v in program.population("lif").parameters.items()}
    step = program.grids["input"].step
    assert 64 * found["vth"] * 3 / 6 * step == 2 ** found["bias_exp"]
    expected, actual = recorded(net, x), run(program, x)
    assert 0 < expected.spikes["lif"].mean() < 1
    assert np.array_equal(expected.spikes["lif"], actual.spikes["lif"])


def test_a_bias_of_a_neuron_whose_membrane_is_u_would_be_forgotten() -> None:
    """Why it enters by a synapse: v = u + b keeps nothing, so b acts in its own step only."""
    net = alone(neurons(NONE, 1, beta=0.5), (1,))
    x = np.zeros((1, 4, 1))
    x[0, 0] = 0.5
    program = compiled(net, x)
    potential = in_model_units(run(program, x).states["lif"], program.population("lif"))
    assert potential["potential"].reshape(-1).tolist() == [0.5, 0.25, 0.125, 0.0625]
    (arriving,) = program.synapses
    wrong = replace(program, synapses=(replace(arriving, port="bias", exponent=0),))
    lost = run(wrong, x).states["lif"]["potential"].reshape(-1)
    assert lost[0] > 0
    assert lost[1:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT], ids=lambda m: m.reset)
def test_analog_and_constant_biases_add_up(meaning: Semantics) -> None:
    fc = nir.Affine(np.eye(8), np.linspace(-0.3, 0.3, 8))
    net = network((8,), fc=fc, lif=neurons(meaning, 8))
    x = levels(2, 6, 50, 8)
    program = compiled(net, x)
    expected, actual = recorded(net, x), run(program, x)
    assert (expected.spikes["lif"] != actual.spikes["lif"]).mean() < 0.01
    assert not check(program, Loihi("loihi2", "").chip)


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT], ids=lambda m: m.reset)
def test_dense_layers_of_whole_weights_are_equal(meaning: Semantics) -> None:
    """Weights on a grid times values on a grid are integers on the chip."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-20, 60, (9, 6)) / 64
    net = network((6,), fc=nir.Linear(weight), lif=neurons(meaning, 9))
    x = levels(4, 6, 60, 6, low=-4)
    program = compiled(net, x)
    assert said(program, "lif", "quantisation").startswith("exact: ")
    expected, actual = recorded(net, x), run(program, x)
    assert 0 < expected.spikes["lif"].mean() < 1
    assert np.array_equal(expected.spikes["lif"], actual.spikes["lif"])


def test_a_convolution_adds_up_in_neurons_of_its_own() -> None:
    rng = np.random.default_rng(5)
    net = network(
        (2, 5, 6),
        c=conv(rng.normal(0.1, 0.3, (3, 2, 3, 3)), bias=0.05, stride=2, padding=1),
        lif=neurons(SUBTRACT, 3, 3, 3, beta=0.9),
    )
    x = between(6, 6, 30, 2, 5, 6, low=-0.3)
    program = compiled(net, x)
    assert [(p.name, p.model, p.depth) for p in program.populations] == [
        ("lif<input", "graded", 1), ("lif", "lif", 2),
    ]  # fmt: skip
    first, second = (s for s in program.synapses if not s.recurrent)
    assert (first.kind, first.exponent, second.kind) == ("conv2d", 0, "one-to-one")
    assert second.exponent < 0
    actual = run(program, x)
    messages = check_inputs(x, program.input_shapes, program.graded, program.grids)["input"]
    op = Conv2d(first.weight.astype(float), first.in_shape, first.stride, first.padding)
    assert np.array_equal(actual.values["lif<input"], op.apply(messages.astype(float)))
    expected = recorded(net, x)
    assert (expected.spikes["lif"] != actual.spikes["lif"]).mean() < 0.03


def test_residual_branches_of_analog_input_wait() -> None:
    """Behind its sums, a convolution of the input waits for the layers beside it."""
    image = nir.Input({"input": np.array([1, 3, 3])})
    pixel = np.full((1, 1, 2, 2), 0.25)
    nodes = {
        "input": image, "a": conv(pixel), "lif1": neurons(ZERO, 1, 2, 2),
        "b": conv(np.full((1, 1, 1, 1), 0.5)), "lif2": neurons(ZERO, 1, 2, 2),
        "c": conv(np.full((1, 1, 1, 1), 0.5)), "lif3": neurons(ZERO, 1, 2, 2),
        "skip": conv(pixel), "output": nir.Output({"output": np.array([1, 2, 2])}),
    }  # fmt: skip
    names = ("input", "a", "lif1", "b", "lif2", "c", "lif3", "output")
    edges = [*pairwise(names), ("input", "skip"), ("skip", "lif3")]
    net = merged(load(nir.NIRGraph(nodes, edges, type_check=False)))
    x = levels(7, 4, 30, 1, 3, 3)
    program = compiled(net, x)
    assert {p.name: p.depth for p in program.populations} == {
        "lif1<input": 1, "lif3<input": 1, "lif1": 2, "lif2": 3, "lif3": 4,
    }  # fmt: skip
    waits = {s.name: int(s.delay.max()) for s in program.synapses}
    assert waits["lif3<input->lif3"] == 2
    assert sum(waits.values()) == 2
    expected, actual = recorded(net, x), run(program, x)
    assert expected.spikes["lif3"].any()
    for name in ("lif1", "lif2", "lif3"):
        assert np.array_equal(expected.spikes[name], actual.spikes[name])


def test_few_values_do_not_say_that_others_lie_on_their_grid() -> None:
    net = network((6,), fc=nir.Linear(np.full((4, 6), 0.2)), lif=neurons(ZERO, 4))
    x = np.zeros((2, 20, 6))
    x[0, 3] = 0.75
    program = compiled(net, x)
    assert program.grids == {"input": Grid(0.75 / 16, 0, 16)}
    assert said(program, "input", "input").startswith("exact: ")


# --- ranges --------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([ZERO, SUBTRACT, NONE]), st.booleans())
def test_no_input_on_the_grid_leaves_the_proven_ranges(
    seed: int, meaning: Semantics, single: bool
) -> None:
    rng = np.random.default_rng(seed)
    weight = np.eye(4) * rng.uniform(0.2, 2) if single else rng.normal(0, 0.5, (4, 4))
    bias = rng.uniform(-0.3, 0.3, 4)
    net = network((4,), fc=nir.Affine(weight, bias), lif=neurons(meaning, 4, beta=0.8))
    low, high = -rng.uniform(0, 2), rng.uniform(0.1, 2)
    program = compiled(net, between(seed, 2, 10, 4, low=low, high=high))
    (grid,) = program.grids.values()
    # Runs of the largest values drive the states furthest; some are drawn among all.
    extreme = np.where(rng.random((6, 1, 4)) < 0.5, grid.low, grid.high)
    sent = np.broadcast_to(extreme, (6, 60, 4)).copy()
    sent[3:, ::7] = rng.integers(grid.low, grid.high + 1, sent[3:, ::7].shape)
    states = simulate(program, sent, MACHINE, record=["lif"]).states["lif"]
    for item in program.ranges:
        assert item.proven
        seen = states["potential" if item.register == "v" else "u"]
        assert item.low <= seen.min()
        assert seen.max() <= item.high
    mantissa = program.population("lif").register("bias_mant")
    for s in program.synapses:
        if s.port == "bias":
            assert mantissa.min() + grid.low >= -4096
            assert mantissa.max() + grid.high <= 4095


def test_a_mantissa_beyond_its_bits_breaks_a_rule() -> None:
    program = compiled(alone(neurons(ZERO, 4), (4,)), between(0, 2, 20, 4))
    (port,) = program.inputs
    wide = replace(program, inputs=(replace(port, grid=Grid(1.0, 0, 4096)),))
    (broken,) = check(wide, Loihi("loihi2", "").chip)
    assert (broken.rule, broken.measured) == ("loihi2.bias-mantissa-bits", 4096)


# --- through the verbs ---------------------------------------------------------------------------


def test_the_verbs_take_analog_values() -> None:
    graph = chain((6,), fc=nir.Linear(np.full((4, 6), 0.2)), lif=neurons(SUBTRACT, 4, beta=0.9))
    x = between(8, 5, 30, 6)
    program = api.compile(graph, target="loihi2", calibration=x)
    assert program.golden is not None
    assert program.golden.inputs["input"].dtype == np.int32
    trace = api.run(program, x)
    assert np.array_equal(trace.spikes["lif"], run(program, x).spikes["lif"])
    verdict = api.verify(program, x, vendor_samples=None)
    assert [(s.name, s.status) for s in verdict.stages] == [
        ("import", "not run"), ("pass merge-linear", "passed"), ("input", "passed"),
        ("lowering", "passed"), ("mapping", "passed"), ("golden", "passed"), ("vendor", "not run"),
    ]  # fmt: skip
    on_grid = program.grids["input"].values(trace.values["input"])
    expected, rounded = (
        recorded(api.network_of(program), x),
        recorded(api.network_of(program), on_grid),
    )
    alone = int((expected.spikes["lif"] != rounded.spikes["lif"]).sum())
    assert verdict.stage("input").mismatches == alone
    assert api.verify(program, on_grid, vendor_samples=None).stage("input").mismatches == 0
    assert np.array_equal(verdict.reference.spikes["lif"], expected.spikes["lif"])
    counted = api.energy(program, x).counted
    assert api.energy(program, trace).counted == counted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: np.where(x > 0.5, np.nan, x), "not finite"),
        (lambda x: np.where(x > 0.5, np.inf, x), "not finite"),
        (lambda x: 1.5 * x, r"input: \d+ of 360 values lie outside 0\.\.1, .*span 0\.\.1\.5"),
        (lambda x: -x, r"lie outside 0\.\.1, "),
    ],
)
def test_values_that_no_integer_stands_for_are_refused(change: Any, words: str) -> None:
    graph = chain((6,), lif=neurons(ZERO, 6))
    x = levels(8, 2, 30, 6)
    program = api.compile(graph, target="loihi2", calibration=x)
    for verb in (api.run, api.verify, api.energy):
        with pytest.raises(InputError, match=words):
            verb(program, change(x))


@pytest.mark.parametrize("target", ["loihi1", "cpu16"])
def test_chips_without_graded_messages_refuse(target: str) -> None:
    graph = chain((6,), lif=neurons(ZERO, 6))
    with pytest.raises(InputError, match=r"neither 0 nor 1\. Encode analog values as spikes"):
        api.compile(graph, target=target, calibration=levels(0, 2, 20, 6))


def test_spikes_stay_spikes() -> None:
    graph = chain((6,), lif=neurons(ZERO, 6))
    program = api.compile(graph, target="loihi2", calibration=np.ones((1, 5, 6)))
    assert not program.graded
    with pytest.raises(InputError, match="or compile for a chip that takes graded messages"):
        api.run(program, levels(0, 1, 5, 6))


def test_netx_has_one_step_of_the_bias_only(tmp_path: Any) -> None:
    """Its exponent is 6 whatever the neurons have, so another one would be wrong in silence."""
    program = compiled(alone(neurons(ZERO, 12)), between(0, 3, 20, 12))
    assert program.population("lif").register("bias_exp").item() != 6
    with pytest.raises(ModelError, match=r"another exponent than 2\^6 state units"):
        write_net(program, tmp_path / "a.net")
