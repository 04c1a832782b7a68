"""What reaches neurons: bounds of sums are attained, and messages of 32 bits add up exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.arrivals import ANY_MESSAGE, sums, totals
from neurodeploy.errors import InputError
from neurodeploy.linear import Conv2d
from neurodeploy.program import Synapses
from tests.builders import convolutions


def synapses_of(op: Conv2d) -> Synapses:
    return Synapses(
        "a->b", "a", "b", "conv2d", op.weight.astype(np.int64), 0, op.in_shape, op.out_shape,
        op.stride, op.padding, op.dilation, op.groups,
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_the_bounds_of_every_pixel_are_attained(op: Conv2d, seed: int) -> None:
    """By the spikes that the pixel's own weights ask for, borders included."""
    synapses = synapses_of(op)
    bounds, size = sums(synapses), int(np.prod(op.out_shape))
    neuron = np.random.default_rng(seed).integers(size)
    row = op.adjoint(np.eye(size)[neuron].reshape(1, *op.out_shape))
    for wanted, sign in ((bounds.high, 1), (bounds.low, -1)):
        spikes = (sign * row > 0).astype(np.int64)
        assert totals(synapses, spikes)[0, neuron] == wanted[neuron]


@pytest.mark.parametrize("kind", ["dense", "one-to-one"])
def test_the_largest_messages_add_up_exactly(kind: str) -> None:
    weight = np.array([2**30, -(2**30) + 1])
    shape = (2, 2) if kind == "one-to-one" else (2, 1)
    weight = weight if kind == "one-to-one" else weight[None]
    synapses = Synapses("a->b", "a", "b", kind, weight, 0, (2,), (shape[1],), graded=True)  # type: ignore[arg-type]
    low, high = ANY_MESSAGE
    found = totals(synapses, np.array([[high, low], [low, high]]))
    products = weight.reshape(-1).astype(object) * np.array([[high, low], [low, high]], object)
    expected = products if kind == "one-to-one" else products.sum(axis=1, keepdims=True)
    assert found.tolist() == expected.tolist()
    bounds = sums(synapses, ANY_MESSAGE)
    assert bounds.extremes == (int(expected.min()), int(expected.max()))


def test_sums_beyond_32_bits_are_refused() -> None:
    synapses = Synapses("a->b", "a", "b", "dense", np.array([[2**31]]), 0, (1,), (1,))
    with pytest.raises(InputError, match=r"a->b: .*more than 2147483647"):
        sums(synapses)
