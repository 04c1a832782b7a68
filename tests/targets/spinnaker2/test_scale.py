"""Rounding, clipping and the scales that keep most of a population."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InputError, ModelError
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.spinnaker2.lowering import lower
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.options import Options
from neurodeploy.targets.spinnaker2.scale import above, integers, split
from tests.builders import AT_ONCE, SUBTRACT, ZERO, integrator, lif, network, recorded, spikes_for

FLOATS = st.floats(-1e30, 1e30, allow_subnormal=False)


def lowered(net: Network, options: Options | None = None) -> Program:
    return lower(net, recorded(net, spikes_for(0, 1, 2, net.inputs[0].shape)), options)


def dense(
    weight: np.ndarray, beta: object = 0.9, theta: object = 1.0, meaning: Semantics = SUBTRACT
) -> Network:
    one = np.ones(len(weight))
    return network(
        weight.shape[1:], fc=nir.Linear(weight), lif=lif(one * beta, one * theta, meaning)
    )


@given(FLOATS, st.booleans())
def test_the_least_float32_above(value: float, strict: bool) -> None:
    (found,) = above(np.array([value]), strict=strict)
    below = np.nextafter(found, np.float32(-np.inf))
    assert found.dtype == np.float32
    assert (float(found) > value) if strict else (float(found) >= value)
    assert (float(below) <= value) if strict else (float(below) < value)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from([15, 127]))
def test_weights_are_rounded_and_clipped_never_wrapped(values: list[float], limit: int) -> None:
    array = np.array(values)
    weights, clipped = integers(array, limit)
    inside = np.abs(np.rint(array)) <= limit
    assert weights.dtype == np.int64
    assert clipped == np.count_nonzero(~inside)
    assert np.all(np.abs(weights[inside] - array[inside]) <= 0.5)
    assert np.array_equal(weights[~inside], limit * np.sign(array[~inside]))


def test_halves_go_to_even() -> None:
    weights, _ = integers(np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5]), 127)
    assert weights.tolist() == [0, 2, 2, 0, -2, 126, 127]


@given(st.lists(st.integers(-1000, 1000), min_size=1), st.sampled_from([15, 127]))
def test_several_synapses_of_a_pair_add_up(values: list[int], limit: int) -> None:
    total = np.array(values)
    parts = split(total, limit)
    assert len(parts) == -(-np.abs(total).max() // limit)
    assert all(np.abs(part).max() <= limit for part in parts)
    assert np.array_equal(sum(parts, np.zeros_like(total)), total)


def test_the_largest_weight_of_all_connections_is_the_chips() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.3, (5, 8))
    program = lowered(dense(weight, meaning=ZERO))
    (synapses,) = program.synapses
    assert np.abs(synapses.weight).max() == 127
    unit = 127 / np.abs(weight).max()
    assert program.population("lif").unit == pytest.approx([unit])
    assert np.array_equal(synapses.weight, np.rint(weight * unit))


def test_a_percentile_clips_what_is_beyond_it_and_says_how_much() -> None:
    weight = np.append(np.linspace(0.01, 1, 99), 4.0).reshape(10, 10)
    program = lowered(dense(weight, meaning=ZERO), Options(percentile=99))
    (synapses,) = program.synapses
    unit = 127 / np.percentile(weight, 99)
    assert program.population("lif").unit == pytest.approx([unit])
    assert synapses.weight[-1, -1] == synapses.weight.max() == 127
    assert np.array_equal(synapses.weight, np.minimum(np.rint(weight * unit), 127))
    (note,) = (x.text for x in program.lowerings if x.subject == "quantisation")
    assert "1 of 100 clipped, 0" not in note
    assert "1 of 100 clipped" in note
    with pytest.raises(InputError):
        Options(percentile=0)


def test_dead_synapses_are_counted() -> None:
    weight = np.array([[1.0, 0.001, 0.0, -0.002]])
    (note,) = (
        x.text
        for x in lowered(dense(weight, meaning=ZERO)).lowerings
        if x.subject == "quantisation"
    )
    assert "2 of 3 rounded to 0" in note


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT, AT_ONCE])
def test_integers_stay_what_they_are(meaning: Semantics) -> None:
    rng = np.random.default_rng(1)
    whole = rng.integers(-31, 32, (6, 9))
    whole[0, 0] = 31
    program = lowered(dense(whole / 64, 0.75, meaning=meaning))
    weight = next(s.weight for s in program.synapses if s.kind == "dense")
    factor, rest = divmod(weight[0, 0], 31)
    assert (factor, rest) == (4, 0)
    assert np.array_equal(weight, factor * whole)
    (note,) = (x for x in program.lowerings if x.subject == "quantisation")
    assert note.how == "exact", note.text


@pytest.mark.parametrize("meaning", [ZERO, AT_ONCE])
def test_batch_norm_goes_into_thresholds_and_four_bits_stay(meaning: Semantics) -> None:
    """Whole weights times gamma/sigma of either sign, and a bias; per neuron."""
    rng = np.random.default_rng(6)
    whole = {"a": rng.integers(-7, 8, (12, 20)), "b": rng.integers(-7, 8, (8, 12))}
    layers: dict[str, nir.NIRNode] = {}
    for name, levels in whole.items():
        size = len(levels)
        gain = rng.uniform(0.05, 0.15, (size, 1)) * rng.choice([-1, 1], (size, 1))
        layers[f"fc_{name}"] = nir.Affine(levels * gain, rng.normal(0.1, 0.1, size))
        layers[name] = lif(np.full(size, 0.75), np.ones(size), meaning)
    net, spikes = network((20,), **layers), spikes_for(3, 10, 60, (20,))
    program = lowered(net, Options(weight_bits=4))
    expected, actual = recorded(net, spikes), simulate(program, spikes, SpiNNaker2Machine())
    for name, levels in whole.items():
        weight = program.incoming(name)[0].weight
        factor = weight[levels != 0] / levels[levels != 0]
        assert set(np.abs(factor)) == {16}
        assert np.unique(program.population(name).unit).size == len(weight)
        assert expected.spikes[name].any()
        assert np.array_equal(expected.spikes[name], actual.spikes[name])


def test_fewer_bits_leave_room_for_self_synapses() -> None:
    """Arriving weights are -3..3 times 32; the reset has all eight bits."""
    weight = np.random.default_rng(7).normal(0, 0.3, (5, 8))
    program = lowered(dense(weight), Options(weight_bits=3))
    arriving, own = (s.weight for s in program.synapses)
    assert set(np.unique(arriving)) <= {*range(-96, 97, 32)}
    assert np.abs(arriving).max() == 96
    assert np.all(own % 32 != 0)
    for bad in ({"weight_bits": 1}, {"weight_bits": 9}, {"weight_bits": 4, "upstream": True}):
        with pytest.raises(InputError):
            Options(**bad)


def test_a_self_synapse_lowers_the_scale_until_it_is_whole() -> None:
    rng = np.random.default_rng(2)
    program = lowered(dense(rng.normal(0, 0.2, (7, 9)), 0.9, 1.0))
    neurons, own = program.population("lif"), program.synapses[-1]
    k = -own.weight[0]
    assert own.kind == "one-to-one"
    assert 0 < k == own.weight.max() * -1
    # T is the least float32 above k / (1 - alpha): the threshold that the neuron has is alpha T + k
    threshold = float(neurons.float_register("threshold")[0])
    alpha = float(neurons.float_register("alpha_decay")[0])
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    assert below <= alpha * threshold + k < threshold
    assert np.abs(program.synapses[0].weight).max() > 127 * k / (k + 1) - 1


def test_every_neuron_has_the_scale_that_its_self_synapse_needs() -> None:
    rng = np.random.default_rng(3)
    beta, theta = rng.uniform(0.5, 0.97, 20), rng.uniform(0.5, 2, 20)
    weight = rng.normal(0, 0.2, (20, 9))
    program = lowered(dense(weight, beta, theta))
    unit, (fan_in, *own) = program.population("lif").unit, program.synapses
    threshold = program.population("lif").float_register("threshold").astype(np.float64)
    alpha = program.population("lif").float_register("alpha_decay").astype(np.float64)
    assert np.unique(unit).size == 20
    assert len(own) == 2, "some weigh more than 127"
    assert any(x.subject == "synapses" for x in program.lowerings)
    taken = alpha * threshold - sum(s.weight for s in own)
    assert np.abs(taken / threshold - 1).max() < 2**-22
    assert np.abs(taken / (theta * unit) - 1).max() < 1e-6
    assert np.array_equal(fan_in.weight, np.rint(weight * unit[:, None]))


def test_a_reset_that_no_scale_makes_exact_is_refused_or_nearest() -> None:
    net = dense(np.array([[1.0, -0.5]]), 0.995)
    with pytest.raises(ModelError, match=r"would weigh 0\.6[34], less than 1.*nearest_reset"):
        lowered(net)
    program = lowered(net, Options(nearest_reset=True))
    assert program.synapses[-1].weight.tolist() == [-1]
    notes = {x.subject: x for x in program.lowerings}
    assert notes["reset"].how == "approximate"
    assert "the reset by 0.0029" in notes["quantisation"].text


def test_an_integrators_potential_is_half_a_unit_below_a_whole_number() -> None:
    rng = np.random.default_rng(4)
    meaning = replace(AT_ONCE, comparison=">")
    net = network(
        (9,), fc=nir.Linear(rng.normal(0, 0.3, (5, 9))), out=integrator(np.full(5, 0.9), meaning)
    )
    neurons = lowered(net).population("out")
    assert neurons.float_register("v_init").tolist() == [-0.5]
    threshold = neurons.float_register("threshold")
    assert np.array_equal(threshold, np.rint(threshold))


def test_an_integrator_whose_threshold_is_below_a_unit_keeps_its_weights() -> None:
    net = network(
        (2,), fc=nir.Linear(np.array([[1.0, 0.5]])), out=integrator(np.full(1, 0.005), AT_ONCE)
    )
    neurons = lowered(net).population("out")
    assert neurons.float_register("v_init").tolist() == [0]
    assert neurons.float_register("threshold")[0] == pytest.approx(0.005 * 126)


def test_sums_that_float32_does_not_hold_are_refused() -> None:
    with pytest.raises(ModelError, match=r"may sum up to 16891000, float32"):
        lowered(dense(np.ones((1, 133_000)), meaning=ZERO))
