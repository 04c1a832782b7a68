"""Cells of every model: cut anywhere, compiled or not, on any tile, they do the same.

What they do is compared with Lava in `tests/conformance/test_lava.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons
from neurodeploy.simulator.layout import TILE, WORD
from neurodeploy.target import Cells
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.models import MODELS
from tests.conformance.lava_programs import draw_registers

LANES, SAMPLES, STEPS = 2 * TILE, 2, 7
Found = tuple[IntArray, IntArray, dict[str, IntArray]]


def population(model: str, seed: int, **changes: Any) -> Neurons:
    registers = draw_registers(np.random.default_rng(seed), model, LANES)
    values = {"graded": MODELS[model].graded, **changes}
    return Neurons("n", (LANES,), 1, registers, np.ones(1), model, **values)


def advanced(cells: Cells, seed: int, tiles: slice, cuts: tuple[int, ...], graded: bool) -> Found:
    """(messages or spikes, final state, recorded states) of some tiles, in several calls."""
    rng = np.random.default_rng([seed, 1])
    shape = (LANES // TILE, SAMPLES, STEPS, TILE)
    most = rng.choice([40, 1 << 20, 1 << 31])
    currents = {port: rng.integers(-most, most, shape)[tiles] for port in cells.ports}
    state = np.repeat(cells.initial[:, None], SAMPLES, axis=1)[tiles].copy()
    words = np.zeros((SAMPLES, STEPS, LANES // WORD), np.uint64)
    messages = np.zeros((tiles.stop - tiles.start, *shape[1:]), np.int32)
    kept = {name: np.zeros(messages.shape, np.int64) for name in cells.recorded}
    for start, stop in zip((0, *cuts), (*cuts, STEPS), strict=True):
        part = slice(start, stop)
        piece = np.ascontiguousarray(messages[:, :, part])
        record = tuple(np.ascontiguousarray(values[:, :, part]) for values in kept.values())
        cells.advance(
            {port: np.ascontiguousarray(x[:, :, part]) for port, x in currents.items()},
            state, words, start, tiles.start, record, piece if graded else None,
        )  # fmt: skip
        messages[:, :, part] = piece
        for values, new in zip(kept.values(), record, strict=True):
            values[:, :, part] = new
    return (messages if graded else words[..., tiles.start * 2 : tiles.stop * 2]), state, kept


def assert_same(one: Found, other: Found) -> None:
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert list(one[2]) == list(other[2])
    for name, values in one[2].items():
        np.testing.assert_array_equal(values, other[2][name], err_msg=name)


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("seed", range(3))
def test_cuts_change_nothing(model: str, seed: int) -> None:
    neurons = population(model, seed)
    own = np.random.default_rng(seed).integers(-300, 300, LANES)
    whole, part = slice(0, 2), slice(1, 2)
    cells = LoihiMachine().cells(neurons, own, None)
    at_once = advanced(cells, seed, whole, (), neurons.graded)
    assert at_once[0].any() or at_once[1].any()
    assert_same(at_once, advanced(cells, seed, whole, (1, 4), neurons.graded))
    second = advanced(cells, seed, part, (3,), neurons.graded)
    np.testing.assert_array_equal(second[1], at_once[1][part])
    for name, values in second[2].items():
        np.testing.assert_array_equal(values, at_once[2][name][part], err_msg=name)


@pytest.mark.parametrize("seed", range(8))
def test_compiled_sigma_delta_equals_numpy(seed: int) -> None:
    neurons = population("sigma-delta", seed)
    own = np.random.default_rng(seed).integers(-300, 300, LANES)
    compiled, plain = (
        advanced(LoihiMachine(compiled).cells(neurons, own, None), seed, slice(0, 2), (2,), True)
        for compiled in (True, False)
    )
    assert_same(compiled, plain)


def test_what_a_population_sends_must_be_what_its_model_sends() -> None:
    none = np.zeros(LANES, np.int64)
    with pytest.raises(InputError, match="n: neurons 'sigma' send integers"):
        LoihiMachine().cells(population("sigma", 0, graded=False), none, None)
    with pytest.raises(InputError, match="n: neurons 'lif' send spikes"):
        LoihiMachine().cells(population("lif", 0, graded=True), none, None)
    with pytest.raises(InputError, match="n: Loihi has no neuron model 'alif'"):
        LoihiMachine().cells(Neurons("n", (LANES,), 1, {}, np.ones(1), "alif"), none, None)
