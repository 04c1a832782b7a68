"""Weights, messages and delays as Lava makes them, against examples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.targets.loihi.arithmetic_synapses import (
    delayed_activations,
    effective_weights,
    received,
    sign_mode_of,
)


@pytest.mark.parametrize(
    ("weight", "mode", "bits", "expected"),
    [
        ([-3, 3, 255, -256, -300, 300], "mixed", 8, [-4, 2, 254, -256, -256, 254]),
        ([-3, 3, 255, -256], "mixed", 9, [-3, 3, 255, -256]),
        ([-3, 3, 7, -8], "mixed", 6, [-8, 0, 0, -8]),
        ([0, 1, 255, 300], "excitatory", 8, [0, 1, 255, 255]),
        ([0, 7, 255, -5], "excitatory", 6, [0, 4, 252, 0]),
        ([0, -1, -256, 9], "inhibitory", 8, [0, -1, -255, 0]),
        ([0, -7, -255], "inhibitory", 6, [0, -4, -252]),
        ([-1, 1, 100], "mixed", 10, [0, 0, 0]),
        ([1, 100], "excitatory", 9, [0, 0]),
        ([-5, 5], "mixed", 0, [-512, 0]),
        ([-5, 5], "mixed", -30, [0, 0]),
    ],
)
def test_effective_weights(weight: list[int], mode: str, bits: int, expected: list[int]) -> None:
    found = effective_weights(np.array([weight]), mode, bits)  # type: ignore[arg-type]
    assert found.tolist() == [expected]
    assert found.dtype == np.int64


@given(st.lists(st.integers(-256, 255), min_size=1), st.integers(1, 9))
def test_effective_weights_stay(weight: list[int], bits: int) -> None:
    """What Lava has truncated, it truncates no further."""
    once = effective_weights(np.array(weight), "mixed", bits)
    assert np.array_equal(effective_weights(once, "mixed", bits), once)


@pytest.mark.parametrize(
    ("weight", "mode"),
    [([-1, 0, 1], "mixed"), ([0, 1], "excitatory"), ([-1, 0], "inhibitory"), ([0], "excitatory")],
)
def test_sign_mode_of(weight: list[int], mode: str) -> None:
    assert sign_mode_of(np.array(weight)) == mode


def test_without_message_bits_every_message_is_one_spike() -> None:
    messages = np.array([-7, 0, 1, 300])
    assert received(messages, 0).tolist() == [1, 0, 1, 1]
    assert received(messages, 8).tolist() == messages.tolist()


def test_a_negative_exponent_acts_on_the_sum_of_each_delay() -> None:
    weight, delay = np.array([[-1, -1, 4]]), np.array([[0, 2, 1]])
    found = delayed_activations(weight, delay, np.array([1, 1, 1]), -2)
    assert [a.tolist() for a in found] == [[-1], [1], [-1]]
    assert sum(a.item() for a in found) < weight.sum() >> 2


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3), st.integers(-9, 9))
def test_activations_have_32_bits(message: list[int], exponent: int) -> None:
    weight, delay = np.array([[254, -256, 254]]), np.zeros((1, 3), np.int64)
    (found,) = delayed_activations(weight, delay, np.array(message), exponent)
    total = np.array(254 * message[0] - 256 * message[1] + 254 * message[2]).astype(np.int32)
    expected = total << exponent if exponent > 0 else total >> -exponent
    assert found.tolist() == [int(expected)]
