"""The float64 reference against the equations of `Semantics`, written out per neuron and step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy import reference
from neurodeploy.errors import InputError, SemanticsError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network, Population
from neurodeploy.semantics import Semantics
from neurodeploy.trace import Spikes, Trace
from tests.builders import (
    AT_ONCE,
    HELD,
    NONE,
    SUBTRACT,
    ZERO,
    lif,
    network,
    recorded,
    small_program,
    spikes_for,
)

EVERY = {
    "zero at once": ZERO,
    "zero delayed": replace(ZERO, reset_timing="delayed"),
    "subtract at once": AT_ONCE,
    "subtract delayed": SUBTRACT,
    "subtract held": HELD,
    "none": NONE,
}
SEEDS = st.integers(0, 2**32 - 1)


def one_neuron(x: FloatArray, beta: float, theta: float, meaning: Semantics) -> list[int]:
    """Spikes of one neuron for currents x[t]: the table of `Semantics`, a line per reset."""
    a = meaning.reset_amount
    kind = (meaning.reset, "any" if meaning.reset == "none" else meaning.reset_timing)
    v, spike, out = meaning.initial_state, 0, []

    def h(potential: float, level: float) -> int:
        return int(potential >= level if meaning.comparison == ">=" else potential > level)

    for current in x:
        if kind == ("zero", "immediate"):
            v = beta * v + current
            spike = h(v, theta)
            v = 0.0 if spike else v
        elif kind == ("zero", "delayed"):
            v = beta * (1 - spike) * v + current
            spike = h(v, theta)
        elif kind == ("subtract", "immediate"):
            v = beta * v + current
            spike = h(v, theta)
            v = v - a * theta * spike
        elif kind == ("subtract", "delayed"):
            v = beta * v + current - a * theta * spike
            spike = h(v, theta)
        elif kind == ("subtract", "held"):
            r = v > theta
            v = beta * v + current
            spike = h(v, theta * (1 + r))
            v = v - theta * spike
        else:
            v = beta * v + current
            spike = h(v, theta)
        out.append(spike)
    return out


def run(x: FloatArray, beta: Any, theta: Any, meaning: Semantics) -> Any:
    """`reference.neurons` for one sample and currents x (steps, n)."""
    shape = x.shape[1:]
    full = [np.broadcast_to(np.asarray(p, float), shape).copy() for p in (beta, theta)]
    none = np.zeros(shape)
    found = reference.neurons(x[None], Population("n", shape, none, *full, none, meaning))
    return found.spikes, found.potential


@given(SEEDS, st.sampled_from(sorted(EVERY)), st.sampled_from([">", ">="]), st.booleans())
def test_every_reset_follows_its_equation(
    seed: int, name: str, comparison: Any, ties: bool
) -> None:
    """With `ties`, dyadic numbers make potentials meet thresholds exactly."""
    rng = np.random.default_rng(seed)
    steps, n = 40, 6
    x = rng.integers(-3, 8, (steps, n)) / 4 if ties else rng.normal(0.3, 0.6, (steps, n))
    beta = rng.choice([0.0, 0.5, 0.75, 1.0], n) if ties else rng.uniform(0, 1, n)
    theta = rng.choice([0.5, 1.0, 1.5], n) if ties else rng.uniform(0.5, 1.5, n)
    meaning = replace(EVERY[name], comparison=comparison)
    if meaning.reset == "subtract" and name != "subtract held":
        meaning = replace(meaning, reset_amount=float(rng.choice([0.5, 1.0, 2.0])))
    spikes, potential = run(x, beta, theta, meaning)
    for i in range(n):
        expected = one_neuron(x[:, i], float(beta[i]), float(theta[i]), meaning)
        assert spikes[0, :, i].tolist() == expected
    assert potential.shape == (1, steps, n)


def test_states_are_rounded_as_the_model_rounds_them() -> None:
    """In float32, one rounding per operation, (beta v + x) - reset; the weights are dyadic."""
    meaning = replace(SUBTRACT, rounding="float32")
    weight = np.random.default_rng(0).integers(-8, 12, (5, 6)) / 16
    net = network((6,), fc=nir.Linear(weight), lif=lif(np.full(5, 0.9), 0.7, semantics=meaning))
    spikes = spikes_for(2, 1, 60, (6,))
    found = reference.simulate(net, spikes, record=["lif"], rounded=True)
    (population,) = net.populations
    beta, theta = population.decay.astype(np.float32), population.threshold.astype(np.float32)
    v, fired = np.zeros(5, np.float32), np.zeros(5, np.float32)
    for t in range(60):
        v = (beta * v + (weight @ spikes[0, t]).astype(np.float32)) - fired * theta
        fired = (v > theta).astype(np.float32)
        assert np.array_equal(found.states["lif"]["v"][0, t], v)
        assert np.array_equal(found.spikes["lif"][0, t], fired)
    assert found.states["lif"]["v"].dtype == np.float32
    assert recorded(net, spikes).states["lif"]["v"].dtype == np.float64
    assert 0.1 < found.spikes["lif"].mean() < 0.9


@given(SEEDS)
def test_zero_reset_gives_the_same_spikes_now_or_later(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, beta = rng.normal(0.3, 0.6, (50, 5)), rng.uniform(0, 1, 5)
    for timing in ("delayed", "held"):
        other = replace(ZERO, reset_timing=timing)  # type: ignore[arg-type]
        assert np.array_equal(run(x, beta, 1.0, ZERO)[0], run(x, beta, 1.0, other)[0])


def test_held_needs_twice_the_threshold_after_a_residual() -> None:
    """The published demonstration: beta 1, threshold 1, one input of 3.5."""
    x = np.array([3.5, 0, 0, 0, 0])[:, None]
    assert run(x, 1.0, 1.0, HELD)[0][0, :, 0].tolist() == [1, 1, 0, 0, 0]
    assert run(x, 1.0, 1.0, SUBTRACT)[0][0, :, 0].tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"subtract at once"}))
def test_snntorch_agrees(name: str) -> None:
    """snnTorch's own neuron in float64, where the front end maps it to these semantics."""
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch")
    meaning = EVERY[name]
    rng = np.random.default_rng(8)
    x, beta = rng.normal(0.2, 0.7, (200, 16)), rng.uniform(0.3, 1, 16)
    theta = rng.uniform(0.7, 1.3, 16)
    neuron = snn.Leaky(
        beta=torch.from_numpy(beta),
        threshold=torch.from_numpy(theta),
        reset_mechanism=meaning.reset,
        reset_delay=meaning.reset_timing == "delayed" or meaning.reset == "none",
    )
    memory, spikes = torch.zeros(1, 16, dtype=torch.float64), []
    with torch.no_grad():
        for current in torch.from_numpy(x):
            spike, memory = neuron(current[None], memory)
            spikes.append(spike[0].numpy())
    assert np.array_equal(run(x, beta, theta, meaning)[0][0], np.stack(spikes))


def test_the_initial_state_counts() -> None:
    x = np.zeros((3, 1))
    assert run(x, 0.5, 1.0, replace(NONE, initial_state=8))[0][0, :, 0].tolist() == [1, 1, 0]


def test_the_potential_is_the_one_that_was_compared() -> None:
    spikes, v = run(np.array([[0.75], [0.75], [0.75]]), 1.0, 1.0, ZERO)
    assert v[0, :, 0].tolist() == [0.75, 1.5, 0.75]
    assert spikes[0, :, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("change", [{"refractory": 1}, {"edge_delay": 1}, {"spikes_per_step": 2}])
def test_undefined_semantics_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SemanticsError, match="n: "):
        run(np.zeros((2, 1)), 0.5, 1.0, replace(ZERO, **change))


def test_layers_feed_each_other_within_a_step() -> None:
    """The reference has no delay between populations."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 0.5, (5, 3)), rng.normal(0.2, 0.5, (2, 5))
    net = network(
        (3,),
        a=nir.Linear(first),
        lif1=lif(np.full(5, 0.75)),
        b=nir.Linear(second),
        lif2=lif(np.full(2, 0.5), semantics=SUBTRACT),
    )
    inputs = spikes_for(0, 2, 30, (3,))
    trace = recorded(net, inputs)
    assert set(trace.spikes) == {"input", "lif1", "lif2"}
    assert set(trace.states) == {"lif1", "lif2"}
    for sample in range(2):
        hidden = run(inputs[sample] @ first.T, 0.75, 1.0, ZERO)[0][0]
        assert np.array_equal(trace.spikes["lif1"][sample], hidden)
        assert np.array_equal(
            trace.spikes["lif2"][sample], run(hidden @ second.T, 0.5, 1.0, SUBTRACT)[0][0]
        )


@pytest.fixture(scope="module")
def wide() -> tuple[Network, Spikes]:
    """Large enough for matrix libraries to choose their order of additions by size."""
    rng = np.random.default_rng(5)
    net = network(
        (64,),
        a=nir.Linear(rng.normal(0, 0.3, (32, 64))),
        lif1=lif(np.full(32, 0.9)),
        b=nir.Linear(rng.normal(0, 0.3, (10, 32))),
        lif2=lif(np.full(10, 0.9), semantics=SUBTRACT),
    )
    return net, spikes_for(3, 9, 25, (64,))


def assert_same_states(a: Trace, b: Trace) -> None:
    for name, values in a.spikes.items():
        assert np.array_equal(values, b.spikes[name]), name
    for name, states in a.states.items():
        for key, values in states.items():
            differing = np.count_nonzero(values != b.states[name][key])
            assert differing == 0, (name, key)


@pytest.mark.parametrize("limit", [1, 64 * 25 * 4])
def test_chunks_change_nothing(
    limit: int, wide: tuple[Network, Spikes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit of every state, though the weights are arbitrary real numbers."""
    together = recorded(*wide)
    monkeypatch.setattr(reference, "CHUNK_VALUES", limit)
    assert_same_states(together, recorded(*wide))


def test_chunks_of_convolutions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _, spikes = small_program()
    together = recorded(net, spikes)
    monkeypatch.setattr(reference, "CHUNK_VALUES", 1)
    assert_same_states(together, recorded(net, spikes))


def test_the_future_does_not_change_the_past(wide: tuple[Network, Spikes]) -> None:
    net, spikes = wide
    short, long = recorded(net, spikes[:, :7]), recorded(net, spikes)
    for name in short.spikes:
        assert np.array_equal(short.spikes[name], long.spikes[name][:, :7]), name
    for name, states in short.states.items():
        np.testing.assert_allclose(states["v"], long.states[name]["v"][:, :7], rtol=1e-12)


def test_recording_an_unknown_population_is_an_error() -> None:
    net, _, spikes = small_program()
    with pytest.raises(InputError, match="typo"):
        reference.simulate(net, spikes, record=["typo"])
