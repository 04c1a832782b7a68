"""Traces, and what may be fed into a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InputError
from neurodeploy.grid import Grid
from neurodeploy.trace import Trace, check_currents, check_inputs, concatenate
from tests.builders import spikes_for

PORTS = {"input": (2, 3)}


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", "i8", "u4", "f2", "f4", "f8", ">f8"])
def test_any_numeric_dtype_becomes_uint8(dtype: str) -> None:
    spikes = spikes_for(0, 2, 5, (2, 3))
    result = check_inputs(spikes.astype(dtype), PORTS)["input"]
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert np.array_equal(result, spikes)


def test_the_layout_in_memory_does_not_matter() -> None:
    spikes = spikes_for(0, 4, 6, (2, 3))
    for view in (
        np.asfortranarray(spikes),
        np.repeat(spikes, 2, axis=1)[:, ::2],
        spikes[::-1][::-1],
    ):
        assert np.array_equal(check_inputs(view, PORTS)["input"], spikes)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((1, 4, 3)), r"shape \(1, 4, 3\), expected \(samples, steps, 2, 3\)"),
        (np.zeros((4, 2, 3)), "expected"),
        (np.zeros((1, 4, 3, 2)), "expected"),
        (np.zeros((0, 4, 2, 3)), "empty"),
        (np.zeros((1, 0, 2, 3)), "empty"),
        (np.full((1, 1, 2, 3), 0.5), "6 of 6 values"),
        (np.full((1, 1, 2, 3), 2), "neither 0 nor 1"),
        (np.full((1, 1, 2, 3), -1), "neither 0 nor 1"),
        (np.full((1, 1, 2, 3), np.nan), "6 of 6 values are not finite"),
        (np.full((1, 1, 2, 3), 256), "neither 0 nor 1"),
        (np.zeros((1, 1, 2, 3), complex), "complex128"),
        (np.full((1, 1, 2, 3), "1"), "not numeric"),
        (np.full((1, 1, 2, 3), None), "not numeric"),
        (None, "not numeric"),
        ([[1], [1, 2]], "input"),
    ],
)
def test_what_is_not_a_spike_train_is_refused(values: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_inputs(values, PORTS)
    assert caught.value.node == "input"
    assert "\n" not in str(caught.value)


def test_ports_are_matched_by_name() -> None:
    ports = {"a": (2,), "b": (3,)}
    a, b = spikes_for(0, 2, 4, (2,)), spikes_for(1, 2, 4, (3,))
    result = check_inputs({"b": b, "a": a}, ports)
    assert list(result) == ["a", "b"]
    assert np.array_equal(result["b"], b)
    for inputs, words in (
        (a, "2 inputs"),
        ({"a": a}, "inputs are named a"),
        ({"a": a, "b": b, "c": a}, "named a, b, c"),
        ({"a": a, "b": b[:1]}, "differ"),
        ({"a": a, "b": b[:, :3]}, "differ"),
    ):
        with pytest.raises(InputError, match=words):
            check_inputs(inputs, ports)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.float32, np.float64])
def test_graded_inputs_are_any_integers_of_32_bits(dtype: Any) -> None:
    values = np.array([-128, -2, -1, 0, 1, 127]).astype(dtype).reshape(1, 1, 2, 3)
    found = check_inputs({"input": values, "b": values == 1}, {**PORTS, "b": (2, 3)}, {"input"})
    assert (found["input"].dtype, found["b"].dtype) == (np.int32, np.uint8)
    assert np.array_equal(found["input"], values)
    ones = check_inputs(np.ones((1, 1, 2, 3), np.uint8), PORTS, {"input"})["input"]
    assert ones.dtype == np.int32
    assert ones.all()


def test_graded_inputs_at_the_edge_of_32_bits() -> None:
    edges = np.array([-(2**31), 2**31 - 1])
    assert np.array_equal(
        check_inputs(edges.reshape(1, 1, 2), {"x": (2,)}, {"x"})["x"][0, 0], edges
    )
    for wrong in (2**31, -(2**31) - 1, 2**63 - 1, 0.5, 1e29):
        values = np.array([wrong, 1]).reshape(1, 1, 2)
        with pytest.raises(InputError, match="1 of 2 values are not integers of 32 bits"):
            check_inputs(values, {"x": (2,)}, {"x"})


def test_counts_do_not_wrap_at_255() -> None:
    trace = Trace({"out": np.ones((1, 700, 2), np.uint8)})
    assert trace.counts("out").tolist() == [[700, 700]]
    assert (trace.samples, trace.steps) == (1, 700)


def test_the_first_of_equal_counts_decides() -> None:
    spikes = np.zeros((3, 4, 2, 2), np.uint8)
    spikes[1, :2, 1, 0] = spikes[1, 2:, 1, 1] = 1
    spikes[2, 0, 0, 1] = 1
    assert Trace({"out": spikes}).decisions("out").tolist() == [0, 2, 1]


def test_what_is_sent_are_messages_where_there_are_any() -> None:
    messages = np.array([[[0, -(2**31)], [3, 0]]], np.int32)
    trace = Trace.of_sent({"a": messages, "b": (messages != 0).astype(np.uint8)})
    assert trace.spikes["a"].dtype == np.uint8
    assert trace.spikes["a"].tolist() == trace.sent("b").tolist() == [[[0, 1], [1, 0]]]
    assert trace.sent("a") is messages
    assert trace.decisions("a").tolist() == [0]
    assert trace.counts("a").tolist() == [[1, 1]]
    potential = Trace({"a": trace.spikes["a"]}, values={"a": messages / 2})
    assert potential.sent("a").dtype == np.uint8


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_joining_traces_undoes_splitting(sizes: list[int]) -> None:
    spikes = spikes_for(0, sum(sizes), 5, (3,))
    states = np.arange(spikes.size).reshape(spikes.shape)
    ends = np.cumsum(sizes)
    parts = [
        Trace({"a": spikes[e - n : e]}, {"a": {"v": states[e - n : e]}})
        for n, e in zip(sizes, ends, strict=True)
    ]
    whole = concatenate(parts)
    assert np.array_equal(whole.spikes["a"], spikes)
    assert np.array_equal(whole.states["a"]["v"], states)


def test_currents_may_be_any_numbers() -> None:
    values = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 4, 2, 3)
    found = check_currents(values, PORTS)["input"]
    assert found.dtype == np.float64
    assert np.array_equal(found, values)
    assert check_currents(np.ones((1, 4, 2, 3)), PORTS)["input"].dtype == np.uint8


def test_analog_values_become_messages_on_their_grid() -> None:
    """Also where all happen to be 0 or 1; a port beside it takes spikes as ever."""
    ports, grids = {"x": (2,), "s": (2,)}, {"x": Grid(0.25, -4, 8)}
    spikes = spikes_for(0, 1, 3, (2,))
    given = {"x": np.array([[[-1.0, 2.0], [0.3, 0.0], [1, 1]]]), "s": spikes}
    found = check_inputs(given, ports, {"x"}, grids)
    assert found["x"].dtype == np.int32
    assert found["x"].tolist() == [[[-4, 8], [1, 0], [4, 4]]]
    assert np.array_equal(found["s"], spikes)
    ones = check_inputs({"x": np.ones((1, 3, 2), np.uint8), "s": spikes}, ports, {"x"}, grids)
    assert np.all(ones["x"] == 4)
    for wrong, words in ((np.nan, "not finite"), (2.2, "lie outside -1..2")):
        with pytest.raises(InputError, match=words):
            check_inputs({"x": np.full((1, 3, 2), wrong), "s": spikes}, ports, {"x"}, grids)
