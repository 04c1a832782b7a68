"""A fixed-point format as a `Target`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from neurodeploy.chip import Chip
from neurodeploy.choices import Choice, Settings
from neurodeploy.errors import TargetError, Violation
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics
from neurodeploy.target import Backend
from neurodeploy.targets.cpu import lowering, rules
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

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Widths of weights, down from the format's."""
        widths = tuple(float(bits) for bits in range(self.format.weight_bits, 1, -1))
        return (Choice("weight_bits", widths, "bits of a weight, with its sign"),)

    def lower_with(self, network: Network, calibration: Trace, settings: Settings) -> Program:
        """See `lowering.lower`."""
        bits = {name: int(own["weight_bits"]) for name, own in settings.items()}
        return lowering.lower(network, calibration, self.format, bits)

    def check(self, program: Program) -> tuple[Violation, ...]:
        """See `rules.check`."""
        return rules.check(program, self.format)
