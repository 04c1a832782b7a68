"""A fixed-point format as a `Target`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import Register
from neurodeploy.chip import Chip
from neurodeploy.choices import Choice, Settings, weight_widths, widths_of
from neurodeploy.equivalence.dynamics import Dynamics
from neurodeploy.errors import TargetError, Violation
from neurodeploy.network import Network, Population
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.semantics import Semantics
from neurodeploy.target import Backend
from neurodeploy.targets.cpu import bounds, dynamics, lowering, rules
from neurodeploy.targets.cpu.format import FixedPoint
from neurodeploy.targets.cpu.machine import FixedPointMachine
from neurodeploy.trace import Messages, Trace


@dataclass(frozen=True)
class ExportedC:
    """The `Backend` called `c`."""

    title = "the exported C program, compiled by the system's C compiler"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """See `vendor.run_in_c`."""
        from neurodeploy.targets.cpu.vendor import run_in_c

        if states:
            raise TargetError("the exported C program gives its spikes only, no states")
        return run_in_c(program, inputs, timeout=timeout)


@dataclass(frozen=True)
class Cpu:
    """The `Target` for one format, called as the format is."""

    format: FixedPoint
    machine = FixedPointMachine()
    backends: ClassVar[Mapping[str, Backend]] = {"c": ExportedC()}

    @property
    def name(self) -> str:
        """The format's."""
        return self.format.name

    @property
    def description(self) -> str:
        """One line."""
        return f"Fixed point for microcontrollers and FPGAs: {self.format.title}"

    @property
    def semantics(self) -> Semantics:
        """See `FixedPoint.semantics`."""
        return self.format.semantics

    @property
    def chip(self) -> Chip:
        """See `FixedPoint.chip`."""
        return self.format.chip

    def lower(self, network: Network, calibration: Trace) -> Program:
        """See `lowering.lower`."""
        return lowering.lower(network, calibration, self.format)

    def dynamics(self, program: Program, model: Population) -> Dynamics:
        """See `dynamics.dynamics`."""
        return dynamics.dynamics(program.population(model.name), self.format.weight_limit)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Widths of weights, down from the format's."""
        return (weight_widths(self.format.weight_bits),)

    def lower_with(self, network: Network, calibration: Trace, settings: Settings) -> Program:
        """See `lowering.lower`."""
        return lowering.lower(network, calibration, self.format, widths_of(settings))

    def check(self, program: Program) -> tuple[Violation, ...]:
        """See `rules.check`."""
        return rules.check(program, self.format)

    def accumulator(self, synapses: Synapses) -> tuple[int, int]:
        """See `bounds.accumulator`."""
        return bounds.accumulator(synapses)

    def registers(
        self, population: Neurons, arriving: Mapping[str, Interval], own: IntArray
    ) -> tuple[Register, ...]:
        """See `bounds.registers`."""
        return bounds.registers(population, arriving, own)

    def written(
        self,
        population: Neurons,
        own: IntArray,
        currents: Mapping[str, IntArray],
        states: Mapping[str, NDArray[Any]],
        fired: IntArray,
    ) -> Mapping[str, IntArray]:
        """See `bounds.written`."""
        return bounds.written(population, own, currents, states, fired)
