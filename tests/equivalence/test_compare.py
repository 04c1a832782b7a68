"""Counts of differing cells are exact, and the first difference is the first."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.equivalence.compare import Cell, compare
from neurodeploy.errors import InputError
from neurodeploy.trace import Trace
from tests.builders import spikes_for

SHAPES = {"a": (2, 3), "b": (4,)}
CELL = st.tuples(
    st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 4), st.integers(0, 99)
)


def two_traces(
    flips: list[tuple[str, int, int, int]],
) -> tuple[Trace, Trace, set[tuple[str, int, int, tuple[int, ...]]]]:
    """A trace, the same with some cells flipped, and which."""
    spikes = {name: spikes_for(i, 3, 5, shape) for i, (name, shape) in enumerate(SHAPES.items())}
    other = {name: values.copy() for name, values in spikes.items()}
    cells = set()
    for name, sample, step, number in flips:
        index = np.unravel_index(number % int(np.prod(SHAPES[name])), SHAPES[name])
        neuron = tuple(int(i) for i in index)
        other[name][(sample, step, *neuron)] = 1 - spikes[name][(sample, step, *neuron)]
        cells.add((name, sample, step, neuron))
    return Trace(spikes), Trace(other), cells


def test_messages_are_compared_where_both_traces_have_them() -> None:
    a, b = (np.array([[[1, 2], [0, last]]], np.int32) for last in (3, 4))
    graded, other = Trace.of_sent({"x": a}), Trace.of_sent({"x": b})
    (layer,) = compare(graded, other, ["x"])
    assert (layer.mismatches, layer.first) == (1, Cell("x", 0, 1, (1,)))
    (layer,) = compare(Trace(graded.spikes), other, ["x"])
    assert (layer.mismatches, layer.spikes, layer.expected_spikes) == (0, 3, 3)


@given(st.lists(CELL, max_size=12))
def test_counts_and_first_differences(flips: list[tuple[str, int, int, int]]) -> None:
    expected, actual, cells = two_traces(flips)
    layers = compare(expected, actual, ["a", "b"])
    assert [layer.population for layer in layers] == ["a", "b"]
    for layer in layers:
        mine = [c for c in cells if c[0] == layer.population]
        assert layer.cells == 15 * int(np.prod(SHAPES[layer.population]))
        assert layer.mismatches == len(mine)
        assert layer.rate == len(mine) / layer.cells
        assert layer.expected_spikes == int(expected.spikes[layer.population].sum())
        assert layer.spikes == int(actual.spikes[layer.population].sum())
        assert layer.samples == len({c[1] for c in mine})
        first = min(mine, key=lambda c: (c[2], c[1], c[3]), default=None)
        assert layer.first == (None if first is None else Cell(*first))
        json.dumps(layer.to_dict())


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.zeros((3, 5, 2, 3), np.uint8)},
        {"a": np.zeros((3, 5, 2, 3), np.uint8), "b": np.zeros((2, 5, 4), np.uint8)},
        {"a": np.zeros((3, 5, 2, 3), np.uint8), "b": np.zeros((3, 4, 4), np.uint8)},
        {"a": np.zeros((3, 5, 2, 3), np.uint8), "b": np.zeros((3, 5, 2, 2), np.uint8)},
    ],
)
def test_what_cannot_be_compared_is_an_error(other: dict[str, np.ndarray]) -> None:
    """Also where broadcasting would make a comparison possible."""
    whole = two_traces([])[0]
    for pair in ((whole, Trace(other)), (Trace(other), whole)):
        with pytest.raises(InputError, match="b: "):
            compare(*pair, ["a", "b"])


def test_broadcastable_shapes_are_not_compared() -> None:
    one = Trace({"a": np.zeros((1, 5, 4), np.uint8)})
    with pytest.raises(InputError, match="cannot be compared"):
        compare(Trace({"a": np.zeros((3, 5, 4), np.uint8)}), one, ["a"])
