"""The scale of a population: integers that a model was trained on stay what they are."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.equivalence.compare import compare, totals
from neurodeploy.network import Network
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi import scale
from neurodeploy.targets.loihi.lowering import lower
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.scale import quantise, quantised_sum, self_weight
from neurodeploy.trace import Spikes
from tests.builders import SUBTRACT, ZERO, compiled, lif, network, recorded, spikes_for
from tests.pages_of_docs import check, row

MACHINE = LoihiMachine()
FIRST = np.random.default_rng(4).integers(-30, 60, (30, 20))
SECOND = np.random.default_rng(5).integers(-30, 60, (15, 30))
VALUES = st.lists(st.floats(-16000, 16000), min_size=1, max_size=8).map(np.array)


@given(st.floats(2, 254 * 64, exclude_max=False))
def test_the_self_synapse_is_the_largest_that_fits(limit: float) -> None:
    weight, shift = self_weight(limit)
    assert weight % 2 == 0
    assert weight <= 254
    assert weight << shift <= limit
    best = max(w << k for k in range(7) for w in range(2, 255, 2) if w << k <= limit)
    assert weight << shift == best


@given(VALUES, st.integers(2, 8))
def test_weights_are_the_nearest_with_the_least_exponent(values: Any, bits: int) -> None:
    weight, exponent = quantise(values, 0, bits)
    step = 2 ** (9 - bits)
    assert np.all(weight % step == 0)
    assert np.abs(weight).max() <= 256 - step
    assert np.abs(values - weight * 2.0**exponent).max() <= step / 2 * 2.0**exponent
    finer = step * np.rint(np.abs(values).max() / (step * 2.0 ** (exponent - 1)))
    assert exponent == 0 or finer > 256 - step


def test_a_model_of_few_levels_keeps_its_integers_in_few_bits() -> None:
    whole = np.clip(FIRST, -7, 7)
    net = network((20,), a=nir.Linear(whole * 0.0625), lif0=lif(np.full(30, 0.75)))
    calibration = recorded(net, spikes_for(3, 10, 100, (20,), 0.2))
    for bits, kept in ((4, True), (3, False)):
        (arriving,) = lower(net, calibration, "loihi2", {"lif0": bits}).incoming("lif0")
        unit = arriving.weight.max() / 7
        assert np.array_equal(arriving.weight, whole * unit) is kept


def test_a_percentile_clips_what_is_beyond_it_and_says_how_much() -> None:
    weight = np.append(np.linspace(0.01, 1, 99), 4.0).reshape(10, 10)
    net = network((10,), fc=nir.Linear(weight), lif=lif(np.full(10, 0.75)))
    calibration = recorded(net, spikes_for(3, 2, 5, (10,)))
    program = lower(net, calibration, "loihi2", {"lif": 4}, {"lif": 99.0})
    (arriving,) = program.synapses
    unit = program.population("lif").register("vth")[0] * 2.0**-arriving.exponent
    assert arriving.weight.max() == arriving.weight[-1, -1] == 256 - 32
    assert unit * np.percentile(weight, 99) == pytest.approx(256 - 32, rel=0.01)
    assert np.array_equal(arriving.weight, 32 * np.minimum(np.rint(weight * unit / 32), 7))
    (note,) = (x.text for x in program.lowerings if x.subject == "quantisation")
    assert ", 1 clipped" in note


def test_a_batch_norm_cannot_go_into_thresholds_and_that_is_said() -> None:
    net = network(
        (20,),
        fc=nir.Linear(np.clip(FIRST, -7, 7) * np.linspace(0.05, 0.15, 30)[:, None]),
        lif=lif(np.full(30, 0.75)),
    )
    (note,) = (
        x
        for x in compiled(net, spikes_for(3, 2, 5, (20,))).lowerings
        if x.subject == "quantisation"
    )
    assert note.how == "approximate"
    assert "all neurons share one threshold here, so they were rounded anew" in note.text


@given(VALUES)
def test_two_weights_hold_fourteen_bits(values: Any) -> None:
    found = quantised_sum(values)
    assert len(found) <= 2
    total = sum((w * 2.0**e for w, e in found), np.zeros(values.shape))
    assert np.abs(values - total).max() <= 1


def quantised_layers(meaning: Semantics, theta: float, step: float) -> tuple[Network, Spikes]:
    net = network(
        (20,),
        a=nir.Linear(FIRST * step),
        lif0=lif(np.full(30, 0.75), theta * step, meaning),
        b=nir.Linear(SECOND * step),
        lif1=lif(np.full(15, 0.75), theta * step, meaning),
    )
    return net, spikes_for(3, 10, 100, (20,), 0.2)


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT], ids=lambda m: m.reset)
@pytest.mark.parametrize("theta", [37, 74, 201])
@pytest.mark.parametrize("step", [1.0, 1 / 64, 0.0173])
def test_a_quantised_model_keeps_its_integers(meaning: Semantics, theta: int, step: float) -> None:
    """As from a `.net` file: whole weights and thresholds times one step."""
    net, spikes = quantised_layers(meaning, theta, step)
    program = compiled(net, spikes)
    for name, whole in (("lif0", FIRST), ("lif1", SECOND)):
        (arriving,) = [s for s in program.incoming(name) if not s.recurrent]
        unit = program.population(name).register("vth")[0] / theta
        assert np.array_equal(arriving.weight * 2.0**arriving.exponent, whole * unit)
    if step == 0.0173:
        return  # what is equal to a threshold depends on the order of float64 sums
    expected, actual = recorded(net, spikes), simulate(program, spikes, MACHINE)
    for name in ("lif0", "lif1"):
        assert expected.spikes[name].any()
        assert np.array_equal(expected.spikes[name], actual.spikes[name])


@pytest.mark.parametrize("meaning", [ZERO, SUBTRACT], ids=lambda m: m.reset)
def test_a_threshold_beside_the_grid_is_rounded_and_the_weights_are_not(meaning: Any) -> None:
    whole = FIRST
    net = network((20,), a=nir.Linear(whole), lif=lif(np.full(30, 0.75), 123.4, meaning))
    program = compiled(net, spikes_for(3, 10, 100, (20,), 0.2))
    (arriving,) = [s for s in program.incoming("lif") if not s.recurrent]
    ratio = arriving.weight[whole != 0] * 2.0**arriving.exponent / whole[whole != 0]
    assert np.all(ratio == ratio[0])
    vth = program.population("lif").register("vth")[0]
    assert vth / ratio[0] == pytest.approx(123.4, abs=1 / ratio[0])
    own = [s.weight[0] * 2.0**s.exponent for s in program.synapses if s.recurrent]
    assert sum(own) == (-vth if meaning is SUBTRACT else 0)


def test_what_keeping_integers_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks with the scale that only uses the weights' bits best."""
    table = [row("reset", "threshold", "kept", "largest weight 254"), row(*["---"] * 4)]
    for meaning in (ZERO, SUBTRACT):
        for theta in (74.0, 123.4):
            net, spikes = quantised_layers(meaning, theta, 1.0)
            expected = recorded(net, spikes)
            wrong = []
            for rule in (scale._on_the_weights_grid, lambda unit, limit: None):
                with monkeypatch.context() as patch:
                    patch.setattr(scale, "_on_the_weights_grid", rule)
                    actual = simulate(compiled(net, spikes), spikes, MACHINE)
                wrong.append(totals(compare(expected, actual, ["lif0", "lif1"]))[0])
            assert 10 * wrong[0] < wrong[1]
            table.append(row(meaning.reset, f"{theta:g}", *wrong))
    check("loihi2.md", "integers", "\n".join(table))
