"""Loihi 2 in the simulator: the arithmetic compiled by numba, and the same in plain numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import distinct
from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.simulator.layout import tiled
from neurodeploy.simulator.stepwise import States, Stepwise
from neurodeploy.target import Cells
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, INT32_MAX, STATE_LIMIT
from neurodeploy.targets.loihi.bounds import U_LIMITS, bound_u
from neurodeploy.targets.loihi.models import MODELS, model_of
from neurodeploy.targets.loihi.neurons import SigmaDelta, stepwise
from neurodeploy.targets.loihi.stepwise import Restart, lanes, received

STATES = MODELS["lif"].states


@dataclass(frozen=True)
class LoihiMachine:
    """The `Machine` of Loihi 2.

    Recorded states of LIF neurons: `u` and `v` after the step, and `potential`, v as it was
    compared with the threshold.

    Attributes
    ----------
    compiled: run the numba kernel; False runs the same arithmetic step by step in numpy, which is
        how the kernel is tested.
    """

    compiled: bool = True

    @property
    def plain(self) -> LoihiMachine:
        """The same, in numpy."""
        return replace(self, compiled=False)

    def activation(self, total: IntArray, synapses: Synapses) -> IntArray:
        """Activation from exact weight sums: `dense_activation` or `conv_activation`."""
        if synapses.kind == "conv2d":
            return np.asarray(arithmetic.conv_activation(total, synapses.exponent))
        return np.asarray(arithmetic.dense_activation(total, synapses.exponent))

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        """The exponent, if no activation can wrap and a negative one rounds nothing."""
        exponent, reach = synapses.exponent, max(-low, high)
        if exponent < 0:
            dense = synapses.kind != "conv2d" and reach <= INT32_MAX
            rounds = np.any(synapses.weight & ((1 << -exponent) - 1))
            return exponent if dense and not rounds else None
        most = STATE_LIMIT - 1 if synapses.kind == "conv2d" else INT32_MAX
        return exponent if reach << exponent <= most else None

    def cells(self, population: Neurons, own: IntArray, bounds: tuple[int, int] | None) -> Cells:
        """The neurons of one of `MODELS`; CUBA LIF in 32 bits where that gives the same.

        Raises
        ------
        InputError
            Neurons that the chip does not have, or a register that they lack.
        """
        model = model_of(population)
        if population.graded != model.graded:
            what = "integers" if model.graded else "spikes"
            raise InputError(f"neurons {population.model!r} send {what}", node=population.name)
        if population.model == "sigma-delta" and self.compiled:
            return SigmaDelta.of(population, own)
        if population.model != "lif":
            return stepwise(population, own)
        return _lif(population, own, bounds) if self.compiled else _plain_lif(population, own)


def _plain_lif(population: Neurons, own: IntArray) -> Stepwise:
    registers = _registers(population)
    return Stepwise.of(
        states={"u": registers["u0"], "v": registers["v0"]},
        recorded=STATES,
        ports=MODELS["lif"].ports,
        registers=registers,
        own=own,
        update=received(_update_lif),
        restart=Restart.of(population),
    )


def _registers(population: Neurons) -> dict[str, IntArray]:
    """Registers of every neuron, int64 (lanes,)."""
    return {name: lanes(population, name) for name in MODELS[population.model].registers}


def _update_lif(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    """One step of CUBA LIF neurons."""
    mantissa = registers["bias_mant"] + currents["bias"]
    bias = arithmetic.bias_current(mantissa, registers["bias_exp"])
    u, potential = arithmetic.integrate(
        states["u"], states["v"], currents["current"], registers["du"], registers["dv"], bias
    )
    fired = np.asarray(arithmetic.fires(potential, registers["vth"]), np.int64)
    return {"u": u, "v": arithmetic.reset(potential, fired), "potential": potential}, fired


def _lif(population: Neurons, own: IntArray, bounds: tuple[int, int] | None) -> Cells:
    values = _registers(population)
    du, dv, mantissa, exponent = (values[name] for name in ("du", "dv", "bias_mant", "bias_exp"))
    registers = (du, dv, values["vth"], arithmetic.bias_current(mantissa, exponent))
    start = (values["u0"], values["v0"], np.zeros_like(own))
    restart = Restart.of(population)
    narrow = bounds is not None and arithmetic.fits_int32(*registers, own, *start)
    dtype = np.int32 if narrow else np.int64
    flags = (
        bool(np.all(du == DECAY_ONE - 1)),
        bool(np.all(dv == DECAY_ONE)),
        bool(np.all(dv == 0)),
        bounds is None or _wraps_u(values, bounds, own, registers[3], restart is not None),
    )
    return _Compiled(
        initial=tiled(start, dtype),
        registers=tiled(registers, dtype),
        own=tiled((own,), dtype) if own.any() else None,
        flags=flags,
        bias=tiled((mantissa, exponent), np.int64),
        restart=restart,
    )


def _wraps_u(
    values: Mapping[str, IntArray],
    bounds: tuple[int, int],
    own: IntArray,
    bias: IntArray,
    restarts: bool,
) -> bool:
    """Whether u may have to be wrapped, by the bounds that a certificate rests on."""
    names = ("du", "dv", "vth", "u0")
    *rows, own, bias = distinct(*(values[name] for name in names), own, bias)
    low, high = (np.full_like(own, side) for side in bounds)
    of_each = dict(zip(names, rows, strict=True))
    u = bound_u(of_each, Interval(low, high), own, Interval(bias, bias), restarts)
    least, most = U_LIMITS
    return bool(u.low.min() < least or u.high.max() > most)


@dataclass(frozen=True, eq=False)
class _Compiled:
    """CUBA LIF.  `registers`, `own` and `flags` (what the kernel leaves out): see
    `arithmetic.run_lif`.

    `bias`: int64 (tiles, 2, 128), mantissa and exponent.
    """

    initial: NDArray[Any]
    registers: NDArray[Any]
    own: NDArray[Any] | None
    flags: tuple[bool, bool, bool, bool]
    bias: IntArray
    restart: Restart | None
    recorded = STATES
    ports = MODELS["lif"].ports

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
        biases = None
        if "bias" in currents:
            part = slice(first, first + len(current))
            mantissa, exponent = self.bias[part, None, None].transpose(3, 0, 1, 2, 4)
            biases = arithmetic.bias_current(mantissa + currents["bias"], exponent)
            biases = biases.astype(current.dtype)
        self._run(current, None, biases, state, words, step, first, record)

    def advance_on(
        self,
        sums: tuple[Any, ...],
        current: NDArray[np.int32],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
    ) -> None:
        self._run(current, sums, None, state, words, step, first, record)

    def _run(
        self,
        current: NDArray[Any],
        sums: tuple[Any, ...] | None,
        biases: NDArray[Any] | None,
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
    ) -> None:
        part = slice(first, first + len(state))
        nothing = np.empty((0, 0, 0, 0), current.dtype)
        u, v, potential = record or (nothing, nothing, nothing)
        arithmetic.run_lif(
            current,
            sums,
            self.registers[part],
            None if self.own is None else self.own[part],
            *self.flags,
            biases,
            None if self.restart is None else self.restart.at(step, current.shape[2]),
            state,
            words,
            step,
            first,
            bool(record),
            u,
            v,
            potential,
        )
