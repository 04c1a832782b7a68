"""SpiNNaker2 as a `Target`."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import Register
from neurodeploy.chip import Chip, load_chip
from neurodeploy.choices import (
    PERCENTILE,
    WEIGHT_BITS,
    Choice,
    Settings,
    percentiles,
    weight_widths,
)
from neurodeploy.equivalence.dynamics import Dynamics
from neurodeploy.errors import Violation
from neurodeploy.mapping.placement import Placement
from neurodeploy.network import Network, Population
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.target import Backend, Evidence, Proposal, Report
from neurodeploy.targets.spinnaker2 import bounds, dynamics, evidence, lowering, raising, rules
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.backends import Board, Brian2, Ticks
from neurodeploy.targets.spinnaker2.budget import budget, proposals
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.models import SEMANTICS
from neurodeploy.targets.spinnaker2.options import MOST_BITS, Options
from neurodeploy.targets.spinnaker2.pes import Pes
from neurodeploy.trace import Messages, Trace

if TYPE_CHECKING:
    from neurodeploy.targets.spinnaker2.differentiable import SpiNNaker2Arithmetic


@dataclass(frozen=True)
class SpiNNaker2:
    """The `Target` for one SpiNNaker2 chip, or a board of 48, through py-spinnaker2."""

    options: Options = field(default_factory=Options)
    name = "spinnaker2"
    description = "SpiNNaker2: float32 neurons on 148 ARM cores, through py-spinnaker2"
    semantics = SEMANTICS
    machine = SpiNNaker2Machine()
    backends: ClassVar[Mapping[str, Backend]] = {
        "ticks": Ticks(),
        "brian2": Brian2(),
        "board": Board(),
    }

    @functools.cached_property
    def chip(self) -> Chip:
        """Limits and constants with their sources, from the chip file."""
        file = importlib.resources.files(__package__).joinpath("spinnaker2.toml")
        return load_chip(file.read_text("utf-8"))

    def lower(self, network: Network, calibration: Trace) -> Program:
        """See `lowering.lower`."""
        return lowering.lower(network, calibration, self.options)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Percentiles, down from all weights, and widths of weights."""
        return (percentiles(), weight_widths(MOST_BITS))

    def lower_with(self, network: Network, calibration: Trace, settings: Settings) -> Program:
        """See `lowering.lower`."""
        own = {
            name: replace(
                self.options,
                percentile=chosen.get(PERCENTILE, self.options.percentile),
                weight_bits=int(chosen.get(WEIGHT_BITS, self.options.weight_bits)),
            )
            for name, chosen in settings.items()
        }
        return lowering.lower(network, calibration, self.options, own)

    def differentiable(self) -> SpiNNaker2Arithmetic:
        """See `differentiable.SpiNNaker2Arithmetic`."""
        from neurodeploy.targets.spinnaker2.differentiable import SpiNNaker2Arithmetic

        return SpiNNaker2Arithmetic()

    def raised(self, program: Program, network: Network) -> Network:
        """See `raising.raised`."""
        return raising.raised(program, network)

    def evidence(self, program: Program) -> tuple[Evidence, ...]:
        """See `evidence.evidence`."""
        return evidence.evidence(program)

    def dynamics(self, program: Program, model: Population) -> Dynamics:
        """See `dynamics.dynamics`."""
        return dynamics.dynamics(program, model)

    def check(self, program: Program) -> tuple[Violation, ...]:
        """See `rules.check`."""
        return rules.check(program, self.chip)

    def proposals(self, program: Program, placement: Placement) -> tuple[Proposal, ...]:
        """Neurons on a PE and the length of a tick; see `budget`."""
        return proposals(budget(program, placement, self.chip))

    def cores(self, program: Program) -> Pes:
        """See `pes`."""
        return Pes.of(program, self.chip)

    def write_bundle(
        self,
        program: Program,
        folder: Path,
        inputs: Mapping[str, Messages],
        labels: NDArray[np.int64] | None,
    ) -> str:
        """See `bundle.writing`; cores and ticks are chosen for these inputs."""
        from neurodeploy.targets.spinnaker2.bundle import jobs, writing

        job = jobs.job_of(program, self.machine, self.chip, inputs, labels)
        return writing.write_bundle(job, jobs.selftest_job(), self.machine, folder)

    def read_report(self, path: Path, program: Program) -> Report:
        """See `bundle.reading`."""
        from neurodeploy.targets.spinnaker2.bundle.reading import read_report

        return read_report(path, program)

    def accumulator(self, synapses: Synapses) -> tuple[int, int]:
        """What float32 holds exactly."""
        return -EXACT, EXACT

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
        """Nothing: states are floating-point."""
        return {}
