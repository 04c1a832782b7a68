"""SpiNNaker2 in the simulator: the arithmetic compiled by numba.

A core updates its neurons from tick 0 on.  What reaches a population of depth k arrives k ticks
later, so k ticks without input precede its first step of the model; its state after these follows
from `v_init` and `i_offset` (see `settled`), and a spike in them is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.program import POTENTIAL, Float32Array, IntArray, Neurons, Synapses
from neurodeploy.simulator.layout import TILE, tiled
from neurodeploy.simulator.stepwise import States, Stepwise
from neurodeploy.target import Cells
from neurodeploy.targets.spinnaker2 import arithmetic
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.models import (
    LONGEST_DELAY,
    SUBTRACT,
    TO_V_RESET,
    Model,
    model_of,
)

KERNEL = ("alpha_decay", "i_offset", "threshold", "v_reset", "exc_decay", "inh_decay")
"""Registers in the order of `arithmetic.run`."""


def registers_of(population: Neurons) -> dict[str, Float32Array]:
    """Values of `KERNEL` and of `v_init` for each neuron, float32 (neurons,); 0 where unused.

    Raises
    ------
    InputError
        One is missing, of another dtype, or not finite.
    """
    model, found = model_of(population), {}
    for name in (*KERNEL, "v_init"):
        used = name in model.registers
        values = population.float_register(name) if used else np.zeros(1, np.float32)
        if not np.all(np.isfinite(values)):
            raise InputError(
                f"register {name} holds what is not a finite number", node=population.name
            )
        found[name] = np.broadcast_to(values.reshape(-1), (population.size,))
    return found


def resets_to(population: Neurons) -> bool:
    """Whether a spike sets v to `v_reset`; otherwise it subtracts the threshold.

    Raises
    ------
    InputError
        The register `reset` is missing, or holds several values or an unknown one.
    """
    values = population.register("reset")
    if values.size != 1 or int(values.reshape(-1)[0]) not in (SUBTRACT, TO_V_RESET):
        raise InputError(
            f"register reset holds {values.reshape(-1)[:4].tolist()}, expected one value: "
            f"{SUBTRACT} (reset_by_subtraction) or {TO_V_RESET} (reset_to_v_reset)",
            node=population.name,
        )
    return bool(values.reshape(-1)[0] == TO_V_RESET)


def check_refractory(population: Neurons, model: Model) -> None:
    """Raises `InputError` where neurons would have a refractory period.

    As read in the chip code, v is held for `t_refrac` ticks while the threshold is still tested; no
    recording tells whether that is what the chip does.
    """
    if model.filtered and np.any(population.register("t_refrac")):
        raise InputError(
            "register t_refrac is not 0: how the chip counts a refractory period is not known",
            node=population.name,
            hint="Leave the refractory period out of the model.",
        )


def settled(population: Neurons) -> Float32Array:
    """v before the model's first step: after `depth` ticks without input, float32 (neurons,).

    v = v alpha_decay + (0 + i_offset) in each of them, from v_init; both synaptic currents stay 0.

    Raises
    ------
    InputError
        A neuron reaches its threshold meanwhile.
    """
    registers = registers_of(population)
    v, zero = registers["v_init"], np.float32(0)
    for tick in range(population.depth):
        with np.errstate(over="ignore", invalid="ignore"):  # infinities, as on the chip
            v = arithmetic.integrate(v, zero, registers["alpha_decay"], registers["i_offset"])
        if np.any(arithmetic.fires(v, registers["threshold"])):
            raise InputError(
                f"neurons spike at tick {tick} already, but input reaches them at tick "
                f"{population.depth}",
                node=population.name,
                hint="Lower v_init or i_offset.",
            )
    return np.asarray(v)


@dataclass(frozen=True)
class SpiNNaker2Machine:
    """The `Machine` of SpiNNaker2.

    Recorded states, float32: `v` after the tick, `potential`, v as it was compared with the
    threshold, and of neurons with synaptic currents `exc` and `inh` after the tick.

    `compiled`: run the numba kernel; False runs the same arithmetic step by step in numpy.
    """

    compiled: bool = True

    @property
    def plain(self) -> SpiNNaker2Machine:
        """The same, in numpy."""
        return replace(self, compiled=False)

    def activation(self, total: IntArray, synapses: Synapses) -> IntArray:
        """The sum itself."""
        return total

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        """0: sums are taken as they are.

        Raises
        ------
        InputError
            An exponent, graded messages, a negative weight at a port for magnitudes, or a delay
            that its field cannot hold.
        """
        if synapses.exponent or synapses.graded:
            raise InputError("synapses have neither exponents nor messages", node=synapses.name)
        if synapses.port != "current" and low < 0:
            raise InputError(
                f"a weight is negative, but port {synapses.port} takes magnitudes",
                node=synapses.name,
            )
        if synapses.delay.max() > LONGEST_DELAY:
            raise InputError(
                f"its delay field is {synapses.delay.max()}, at most {LONGEST_DELAY} fits",
                node=synapses.name,
            )
        return 0

    def cells(self, population: Neurons, own: IntArray, bounds: tuple[int, int] | None) -> Cells:
        """The neurons of one of `models.MODELS`.

        Raises
        ------
        InputError
            Neurons or registers that the chip does not have, spikes before any input, or sums of
            weights that float32 might round.
        """
        model = model_of(population)
        if population.graded:
            raise InputError("its neurons send spikes only", node=population.name)
        check_refractory(population, model)
        low, high = bounds or (-EXACT, EXACT)
        reach = max(high + int(own.max(initial=0)), -low - int(own.min(initial=0)))
        if bounds is None or reach > EXACT:
            raise InputError(
                f"weights that arrive in one tick may sum up to {reach:,}; float32 holds every "
                f"integer up to {EXACT:,} only",
                node=population.name,
            )
        registers = registers_of(population)
        zero = np.zeros(population.size, np.float32)
        if not self.compiled:
            return _plain(model, resets_to(population), registers, settled(population), own)
        return _Compiled(
            initial=tiled((settled(population), zero, zero, zero), np.float32),
            registers=tiled(tuple(registers[name] for name in KERNEL), np.float32),
            own=tiled((own,), np.int32)[:, 0],
            model=model,
            to=resets_to(population),
        )


def _plain(
    model: Model,
    to: bool,
    registers: Mapping[str, Float32Array],
    v: Float32Array,
    own: IntArray,
) -> Stepwise:
    @np.errstate(over="ignore", invalid="ignore")  # float32 has infinities, and so has the chip
    def update(states: States, currents: States, values: States) -> tuple[States, IntArray]:
        x = currents[model.ports[0]].astype(np.float32)
        y = currents["inhibitory"].astype(np.float32) if model.filtered else np.float32(0)
        after: dict[str, NDArray[Any]] = {}
        if model.filtered:
            x = after["exc"] = arithmetic.decay_current(states["exc"], values["exc_decay"], x)
            y = after["inh"] = arithmetic.decay_current(states["inh"], values["inh_decay"], y)
        potential = arithmetic.integrate(
            states["v"], x - y, values["alpha_decay"], values["i_offset"]
        )
        fired = arithmetic.fires(potential, values["threshold"])
        after["v"] = arithmetic.reset(potential, fired, values["threshold"], values["v_reset"], to)
        return {**after, POTENTIAL: potential}, fired.astype(np.int64)

    zero = np.zeros_like(v)
    kept = {"exc": zero, "inh": zero} if model.filtered else {}
    return Stepwise.of(
        states={"v": v, **kept},
        recorded=model.states,
        ports=model.ports,
        registers={name: registers[name] for name in KERNEL},
        own=own,
        update=update,
        dtype=np.float32,
    )


@dataclass(frozen=True, eq=False)
class _Compiled:
    """See `arithmetic.run`."""

    initial: Float32Array
    registers: Float32Array
    own: NDArray[np.int32]
    model: Model
    to: bool

    @property
    def ports(self) -> tuple[str, ...]:
        return self.model.ports

    @property
    def recorded(self) -> tuple[str, ...]:
        return self.model.states

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
        exc = currents[self.ports[0]]
        inh = currents.get("inhibitory")
        nothing = np.empty((0, 0, 0, TILE), np.float32)
        kept = dict(zip(self.recorded, record, strict=False))
        part = slice(first, first + len(exc))
        arithmetic.run(
            exc,
            inh,
            self.registers[part],
            self.own[part],
            self.model.filtered,
            self.to,
            state,
            words,
            step,
            first,
            bool(record),
            *(kept.get(name, nothing) for name in ("v", "exc", "inh", "potential")),
        )
