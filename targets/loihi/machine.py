"""Loihi 2 in the simulator: the arithmetic compiled by numba, and the same in plain numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.simulator.layout import TILE, WORD, tiled
from neurodeploy.target import Cells
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, INT32_MAX, STATE_LIMIT

REGISTERS = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")
STATES = ("u", "v", "potential")
PORTS = ("current",)


@dataclass(frozen=True)
class LoihiMachine:
    """The `Machine` of Loihi 2.

    Recorded states: `u` and `v` after the step, and `potential`, v as it was compared with the
    threshold.

    Attributes
    ----------
    compiled: run the numba kernel; False runs the same arithmetic step by step in numpy, which is
        how the kernel is tested.
    """

    compiled: bool = True

    def activation(self, total: IntArray, synapses: Synapses) -> IntArray:
        """Activation from exact weight sums: `dense_activation` or `conv_activation`."""
        if synapses.kind == "conv2d":
            return np.asarray(arithmetic.conv_activation(total, synapses.exponent))
        return np.asarray(arithmetic.dense_activation(total, synapses.exponent))

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        """The exponent, if it is not negative and no activation can wrap."""
        most = STATE_LIMIT - 1 if synapses.kind == "conv2d" else INT32_MAX
        exponent = synapses.exponent
        return exponent if exponent >= 0 and max(-low, high) << exponent <= most else None

    def cells(self, population: Neurons, own: IntArray, bounds: tuple[int, int] | None) -> Cells:
        """CUBA LIF neurons; in 32 bits where that gives the same."""
        values = {
            name: np.broadcast_to(population.register(name).reshape(-1), (population.size,))
            for name in REGISTERS
        }
        bias = arithmetic.bias_current(values["bias_mant"], values["bias_exp"])
        registers = (values["du"], values["dv"], values["vth"], bias, own)
        start = (values["u0"], values["v0"], np.zeros_like(own))
        if not self.compiled:
            return _Plain(tiled(start, np.int64), np.stack(registers))
        narrow = bounds is not None and arithmetic.fits_int32(*registers, *start)
        dtype = np.int32 if narrow else np.int64
        du, dv = values["du"], values["dv"]
        flags = (
            bool(np.all(du == DECAY_ONE - 1)),
            bool(np.all(dv == DECAY_ONE)),
            bool(np.all(dv == 0)),
        )
        return _Compiled(tiled(start, dtype), tiled(registers, dtype), flags)


@dataclass(frozen=True, eq=False)
class _Compiled:
    """`registers` and `flags` (what is forgotten and kept): see `arithmetic.run_lif`."""

    initial: NDArray[Any]
    registers: NDArray[Any]
    flags: tuple[bool, bool, bool]
    recorded = STATES
    ports = PORTS

    def advance(
        self,
        currents: Mapping[str, NDArray[Any]],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
        messages: NDArray[np.int32] | None,
    ) -> None:
        current = currents["current"]
        nothing = np.empty((0, 0, 0, 0), current.dtype)
        u, v, potential = record or (nothing, nothing, nothing)
        arithmetic.run_lif(
            current,
            self.registers[first : first + len(current)],
            *self.flags,
            state,
            words,
            step,
            first,
            bool(record),
            u,
            v,
            potential,
        )


@dataclass(frozen=True, eq=False)
class _Plain:
    """All samples at once, step by step.  `registers`: int64 (5, lanes)."""

    initial: NDArray[Any]
    registers: NDArray[Any]
    recorded = STATES
    ports = PORTS

    def advance(
        self,
        currents: Mapping[str, NDArray[Any]],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
        messages: NDArray[np.int32] | None,
    ) -> None:
        current = currents["current"]
        tiles, samples, steps, _ = current.shape
        lanes = slice(first * TILE, (first + tiles) * TILE)
        du, dv, vth, bias, own = (row.reshape(-1, 1, TILE) for row in self.registers[:, lanes])
        u, v, fired = (state[:, :, i] for i in range(3))
        for t in range(steps):
            a = arithmetic.wrap_int32(current[:, :, t] + own * fired)
            u, potential = arithmetic.integrate(u, v, a, du, dv, bias)
            fired = arithmetic.fires(potential, vth).astype(np.int64)
            v = arithmetic.reset(potential, fired)
            bits = np.packbits(fired.astype(np.uint8), axis=-1, bitorder="little")
            place = slice(first * TILE // WORD, (first + tiles) * TILE // WORD)
            words[:, step + t, place] = bits.view(np.uint64).swapaxes(0, 1).reshape(samples, -1)
            for values, kept in zip((u, v, potential), record, strict=False):
                kept[:, :, t] = values
        for i, values in enumerate((u, v, fired)):
            state[:, :, i] = values
