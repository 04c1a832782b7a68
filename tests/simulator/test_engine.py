"""Exact sums of weights, and the run of a program layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InputError
from neurodeploy.linear import Conv2d, Dense
from neurodeploy.program import Synapses
from neurodeploy.simulator import engine
from neurodeploy.simulator.engine import in_model_units, simulate, weight_sums
from neurodeploy.targets.loihi.machine import LoihiMachine
from tests.builders import convolutions, small_program, spikes_for

MACHINE = LoihiMachine()


def dense(weight: Any, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Synapses:
    return Synapses("a->b", "a", "b", "dense", np.asarray(weight, np.int64), 0, in_shape, out_shape)


def convolution(op: Conv2d) -> Synapses:
    return Synapses(
        "a->b", "a", "b", "conv2d", op.weight.astype(np.int64), 0, op.in_shape, op.out_shape,
        op.stride, op.padding, op.dilation, op.groups,
    )  # fmt: skip


@given(convolutions(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_sums_of_convolutions(op: Conv2d, seed: int, density: float) -> None:
    spikes = spikes_for(seed, 2, 3, op.in_shape, density)
    sums = weight_sums(spikes, convolution(op))
    assert sums.dtype == np.int64
    assert np.array_equal(sums, op.apply(spikes.astype(float)).reshape(2, 3, -1))


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 254, 2**20]),
)
def test_sums_of_dense_maps(source: list[int], target: list[int], seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-size, size + 1, (int(np.prod(target)), int(np.prod(source))))
    op = Dense(weight.astype(float), tuple(source), tuple(target))
    spikes = spikes_for(seed, 2, 3, op.in_shape)
    sums = weight_sums(spikes, dense(weight, op.in_shape, op.out_shape))
    assert sums.dtype == np.int64
    assert np.array_equal(sums, op.apply(spikes.astype(float)).reshape(2, 3, -1))


@given(st.integers(0, 2**32 - 1))
def test_sums_of_one_to_one_synapses(seed: int) -> None:
    weight = np.random.default_rng(seed).integers(-300, 300, 6)
    synapses = Synapses("a->b", "a", "b", "one-to-one", weight, 0, (2, 3), (6,))
    spikes = spikes_for(seed, 2, 3, (2, 3))
    sums = weight_sums(spikes, synapses)
    assert sums.dtype == np.int64
    assert np.array_equal(sums, spikes.reshape(2, 3, 6) * weight)


def test_sums_of_spikes_that_are_not_contiguous() -> None:
    rng = np.random.default_rng(0)
    op = Conv2d(rng.integers(-9, 9, (2, 3, 2, 2)).astype(float), (3, 4, 4))
    spikes = spikes_for(0, 4, 6, (3, 4, 4))
    flat = dense(rng.integers(-9, 9, (5, 48)), (3, 4, 4), (5,))
    for synapses in (convolution(op), flat):
        expected = weight_sums(spikes, synapses)
        views = spikes[::2], np.asfortranarray(spikes)[::2], np.repeat(spikes, 2, 1)[::2, ::2]
        for view in views:
            assert np.array_equal(weight_sums(view, synapses), expected[::2])


def test_sums_at_the_edge_of_32_bits() -> None:
    most = 2**31 - 1
    spikes = np.ones((1, 1, 2), np.uint8)
    for weight, ok in (([most - 5, 5], True), ([-most, 0], True), ([most, 1], False),
                       ([-most, -1], False), ([-(2**63), 0], False)):  # fmt: skip
        synapses = dense([weight], (2,), (1,))
        if ok:
            assert weight_sums(spikes, synapses).tolist() == [[[sum(weight)]]]
        else:
            with pytest.raises(InputError, match=r"a->b: .*more than 2147483647"):
                weight_sums(spikes, synapses)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, program, spikes = small_program()
    names = [p.name for p in program.populations]
    together = simulate(program, spikes, MACHINE, record=names)
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(engine, "CHUNK_VALUES", 72 * 12 * 4)
    parts = simulate(
        program, spikes, MACHINE, record=names, progress=lambda done, of: calls.append((done, of))
    )
    assert calls == [(4, 6), (6, 6)]
    assert set(together.spikes) == set(parts.spikes) == {"input", *names}
    for name in names:
        assert np.array_equal(together.spikes[name], parts.spikes[name])
        assert set(together.states[name]) == {"u", "v", "potential"}
        for key, values in together.states[name].items():
            assert np.array_equal(values, parts.states[name][key])


def test_recording_changes_no_spike_and_keeps_only_what_was_asked() -> None:
    _, program, spikes = small_program()
    plain, one = (
        simulate(program, spikes, MACHINE),
        simulate(program, spikes, MACHINE, record=["lif2"]),
    )
    assert plain.states == {}
    assert set(one.states) == {"lif2"}
    for name, values in plain.spikes.items():
        assert np.array_equal(values, one.spikes[name])
        assert values.dtype == np.uint8


def test_recording_an_unknown_population_is_an_error() -> None:
    _, program, spikes = small_program()
    with pytest.raises(InputError, match="typo"):
        simulate(program, spikes, MACHINE, record=["typo"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :, 0], "expected"),
        (lambda x: x * 2, "neither 0 nor 1"),
        (lambda x: x.astype(complex), "not numeric"),
        (lambda x: x[:0], "empty"),
        (lambda x: {"x": x}, "inputs are named x, the network's input"),
    ],
)
def test_inputs_that_do_not_fit(change: Any, words: str) -> None:
    _, program, spikes = small_program()
    with pytest.raises(InputError, match=words):
        simulate(program, change(spikes), MACHINE)


def test_a_missing_synapse_changes_the_result() -> None:
    """Every synapse is used, the self-synapse too."""
    _, program, spikes = small_program()
    whole = simulate(program, spikes, MACHINE)
    assert whole.spikes["lif3"].any()
    for index, synapses in enumerate(program.synapses):
        rest = tuple(s for i, s in enumerate(program.synapses) if i != index)
        partial = simulate(replace(program, synapses=rest), spikes, MACHINE)
        name = synapses.target
        assert not np.array_equal(partial.spikes[name], whole.spikes[name])


def test_states_in_model_units() -> None:
    _, program, spikes = small_program()
    population = program.population("lif2")
    trace = simulate(program, spikes, MACHINE, record=["lif2"])
    scaled = in_model_units(trace.states["lif2"], population)
    unit = np.broadcast_to(population.unit, population.shape)
    assert np.allclose(scaled["v"] * unit, trace.states["lif2"]["v"], rtol=1e-14)
    fired = scaled["potential"] > np.linspace(0.8, 1.2, 8)
    assert np.array_equal(fired, trace.spikes["lif2"].astype(bool))
