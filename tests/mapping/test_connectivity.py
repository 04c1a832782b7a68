"""Fan-out and reached cores against synapses written out one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.mapping import fan_out, reached
from neurodeploy.program import Synapses

Adjacency = Callable[[Synapses], NDArray[np.int64]]


@given(data=st.data())
def test_fan_out_is_the_number_of_synapses(
    data: st.DataObject, any_synapses: st.SearchStrategy[Synapses], adjacency: Adjacency
) -> None:
    synapses = data.draw(any_synapses)
    counts = fan_out(synapses)
    assert counts.dtype == np.int64
    assert counts.tolist() == adjacency(synapses).sum(axis=0).tolist()


@given(data=st.data())
def test_reached_counts_synapses_on_each_core(
    data: st.DataObject, any_synapses: st.SearchStrategy[Synapses], adjacency: Adjacency
) -> None:
    synapses = data.draw(any_synapses)
    size = int(np.prod(synapses.out_shape))
    core = np.array(data.draw(st.lists(st.integers(3, 6), min_size=size, max_size=size)))
    cores, counts = reached(synapses, core)
    matrix = adjacency(synapses)
    assert cores.tolist() == sorted(set(core.tolist()))
    for one, row in zip(cores, counts, strict=True):
        assert row.tolist() == matrix[core == one].sum(axis=0).tolist()
    assert counts.sum(axis=0).tolist() == fan_out(synapses).tolist()


def test_a_border_neuron_of_a_convolution_reaches_less() -> None:
    weight = np.ones((8, 1, 3, 3), np.int64)
    synapses = Synapses("a->b", "a", "b", "conv2d", weight, 0, (1, 5, 5), (8, 5, 5), padding=(1, 1))
    counts = fan_out(synapses).reshape(5, 5)
    assert (counts[0, 0], counts[0, 2], counts[2, 2]) == (8 * 4, 8 * 6, 8 * 9)


def test_unknown_kinds_are_refused() -> None:
    synapses = Synapses("a->b", "a", "b", "dense", np.ones((1, 1), np.int64), 0, (1,), (1,))
    with pytest.raises(ModelError, match="sparse"):
        fan_out(replace(synapses, kind="sparse"))  # type: ignore[arg-type]
