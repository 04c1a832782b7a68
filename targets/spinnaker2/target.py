"""SpiNNaker2 as a `Target`."""

from __future__ import annotations

import functools
import importlib
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from neurodeploy.chip import Chip, load_chip
from neurodeploy.errors import TargetError, Violation
from neurodeploy.mapping.placement import Placement
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.target import Backend, Evidence, Proposal
from neurodeploy.targets.spinnaker2 import evidence, rules
from neurodeploy.targets.spinnaker2.backends import Board, Ticks
from neurodeploy.targets.spinnaker2.budget import budget, proposals
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.models import SEMANTICS
from neurodeploy.targets.spinnaker2.pes import Pes
from neurodeploy.trace import Trace


@dataclass(frozen=True)
class SpiNNaker2:
    """The `Target` for one SpiNNaker2 chip, or a board of 48, through py-spinnaker2."""

    name = "spinnaker2"
    description = "SpiNNaker2: float32 neurons on 148 ARM cores, through py-spinnaker2"
    semantics = SEMANTICS
    machine = SpiNNaker2Machine()
    backends: ClassVar[Mapping[str, Backend]] = {"ticks": Ticks(), "board": Board()}

    @functools.cached_property
    def chip(self) -> Chip:
        """Limits and constants with their sources, from the chip file."""
        file = importlib.resources.files(__package__).joinpath("spinnaker2.toml")
        return load_chip(file.read_text("utf-8"))

    def lower(self, network: Network, calibration: Trace) -> Program:
        """See `lowering.lower`."""
        program: Program = _module("lowering").lower(network, calibration)
        return program

    def evidence(self, program: Program) -> tuple[Evidence, ...]:
        """See `evidence.evidence`."""
        return evidence.evidence(program)

    def check(self, program: Program) -> tuple[Violation, ...]:
        """See `rules.check`."""
        return rules.check(program, self.chip)

    def proposals(self, program: Program, placement: Placement) -> tuple[Proposal, ...]:
        """Neurons on a PE and the length of a tick; see `budget`."""
        return proposals(budget(program, placement, self.chip))

    def cores(self, program: Program) -> Pes:
        """See `pes`."""
        return Pes.of(program, self.chip)


def _module(name: str) -> Any:
    """A module of this package that may not be there yet."""
    try:
        return importlib.import_module(f"{__package__}.{name}")
    except ModuleNotFoundError as error:
        raise TargetError(f"spinnaker2 has no {name} yet", node="target spinnaker2") from error
