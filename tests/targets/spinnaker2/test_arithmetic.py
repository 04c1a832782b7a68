"""The compiled kernel rounds every operation to float32, as a model in exact products does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.program import Neurons
from neurodeploy.simulator.layout import TILE
from neurodeploy.targets.spinnaker2 import arithmetic
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.models import MODELS
from tests.targets.spinnaker2.drawn import neurons

F = np.float32


def mul(a: Any, b: Any) -> Any:
    """The float32 nearest to the exact product, which a float64 holds."""
    with np.errstate(under="ignore"):
        return (a.astype(np.float64) * b.astype(np.float64)).astype(F)


def add(a: Any, b: Any) -> Any:
    """The float32 nearest to the exact sum: 53 bits are more than 2 x 24 + 1 (Figueroa 1995)."""
    return (a.astype(np.float64) + b.astype(np.float64)).astype(F)


def model(exc: Any, inh: Any, population: Neurons, own: Any) -> tuple[Any, dict[str, Any]]:
    """Neurons over time from int64 (steps, lanes), one operation after the other."""
    r = {name: np.broadcast_to(v, exc.shape[1:]) for name, v in population.parameters.items()}
    v, e, i = r["v_init"].astype(F), np.zeros(TILE, F), np.zeros(TILE, F)
    fired, spikes = np.zeros(TILE, bool), []
    kept: dict[str, list[Any]] = {name: [] for name in ("v", "exc", "inh", "potential")}
    for t in range(len(exc)):
        x, y = (exc[t] + own * fired).astype(F), inh[t].astype(F)
        if MODELS[population.model].filtered:
            x = e = add(mul(e, r["exc_decay"]), x)
            y = i = add(mul(i, r["inh_decay"]), y)
        potential = add(mul(v, r["alpha_decay"]), add(add(x, -y), r["i_offset"]))
        fired = potential >= r["threshold"]
        to = r["v_reset"] if population.register("reset") else add(potential, -r["threshold"])
        v = np.where(fired, to, potential)
        spikes.append(fired)
        for name, value in zip(kept, (v, e, i, potential), strict=True):
            kept[name].append(value)
    return np.stack(spikes), {name: np.stack(values) for name, values in kept.items()}


def run(exc: Any, inh: Any, population: Neurons, own: Any, record: bool = True) -> Any:
    """The same in the kernel, in two calls."""
    cells = SpiNNaker2Machine().cells(population, own, (-1000, 1000))
    state = np.repeat(cells.initial[:, None], 1, axis=1)
    assert state.dtype == F
    words = np.zeros((1, len(exc), 2), np.uint64)
    pieces = []
    for part in (slice(0, 3), slice(3, len(exc))):
        currents = {
            port: np.ascontiguousarray(current[part], np.int32)[None, None]
            for port, current in zip(cells.ports, (exc, inh), strict=False)
        }
        buffers = tuple(np.zeros(currents[cells.ports[0]].shape, F) for _ in cells.recorded)
        cells.advance(currents, state, words, part.start, 0, buffers if record else (), None)
        pieces.append(buffers)
    states = {
        name: np.concatenate([a[0, 0], b[0, 0]])
        for name, a, b in zip(cells.recorded, *pieces, strict=True)
    }
    bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    return bits[0].astype(bool), states


def case(seed: int, model_name: str) -> tuple[Any, Any, Neurons, Any]:
    """Registers of every magnitude, denormal ones among them, and currents that are often 0."""
    rng = np.random.default_rng(seed)

    def wide() -> Any:
        magnitude = 2.0 ** rng.uniform(*((-149, -120) if rng.random() < 0.3 else (-12, 6)), TILE)
        return rng.choice([-1, 1], TILE) * magnitude * (rng.random(TILE) < 0.9)

    names = [n for n in MODELS[model_name].registers if n.endswith("decay")]
    changes = {name: wide() for name in ("i_offset", "v_reset", "v_init")}
    changes |= {name: rng.choice([rng.random(TILE), 2.0 ** rng.uniform(-60, 0, TILE)])
                for name in names}  # fmt: skip
    changes["threshold"] = np.abs(wide())
    population = neurons("n", (TILE,), model_name, 0, reset=rng.integers(2), **changes)
    currents = rng.integers(-30, 30, (2, 12, TILE)) * (rng.random((2, 12, TILE)) < 0.5)
    if not MODELS[model_name].filtered:
        currents[1] = 0
    own = rng.integers(-9, 9, TILE) * int(rng.random() < 0.5)
    return *currents, population, own


@pytest.mark.parametrize("name", MODELS)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_kernel_equals_single_operations_bit_for_bit(name: str, seed: int) -> None:
    exc, inh, population, own = case(seed, name)
    spikes, states = run(exc, inh, population, own)
    expected, kept = model(exc, inh, population, own)
    assert np.array_equal(spikes, expected)
    assert np.array_equal(spikes, run(exc, inh, population, own, record=False)[0])
    for state, values in states.items():
        assert values.tobytes() == kept[state].tobytes(), state


def test_denormal_numbers_are_kept() -> None:
    tiny = 2.0**-149
    population = neurons("n", (TILE,), "lif", 0, v_init=4 * tiny, alpha_decay=0.5, threshold=1)
    zero = np.zeros((4, TILE), np.int64)
    _, states = run(zero, zero, population, zero[0])
    assert (states["v"][:, 0] / F(tiny)).tolist() == [2, 1, 0, 0]  # ties to even


def test_a_fused_operation_would_be_seen() -> None:
    """The cases above tell a product that is not rounded before the sum from one that is."""
    exc, inh, population, own = case(5, "lif")
    population = replace(
        population,
        parameters={
            **population.parameters,
            "alpha_decay": np.linspace(0.3, 0.9, TILE, dtype=F),
            "i_offset": np.linspace(0.1, 0.2, TILE, dtype=F),
            "threshold": np.full(1, 50, F),
            "v_init": np.linspace(-3, 3, TILE, dtype=F),
        },
    )
    _, states = run(exc, inh, population, own)
    _, kept = model(exc, inh, population, own)
    assert states["potential"].tobytes() == kept["potential"].tobytes()
    r, before = population.parameters, kept["v"][:-1]
    x = add((exc[1:] + own * 0).astype(F), r["i_offset"])
    fused = before.astype(np.float64) * r["alpha_decay"].astype(np.float64) + x
    quiet = ~(kept["potential"][:-1] >= 50)
    differs = (fused.astype(F) != kept["potential"][1:]) & quiet
    assert 0.1 < differs.mean() < 0.9


@given(st.integers(-(1 << 24), 1 << 24))
def test_sums_within_the_limit_become_float32_exactly(total: int) -> None:
    assert int(F(total)) == total


def test_the_first_sum_beyond_the_limit_does_not() -> None:
    assert int(F(arithmetic.EXACT + 1)) != arithmetic.EXACT + 1
