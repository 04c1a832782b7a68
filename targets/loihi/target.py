"""Loihi 2 as a `Target`."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping

from neurodeploy.chip import Chip, load_chip
from neurodeploy.errors import Violation
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics
from neurodeploy.targets.loihi import lowering, resolve, rules
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.trace import Spikes, Trace


class Loihi2:
    """The `Target` called `loihi2`."""

    name = "loihi2"
    description = "Intel Loihi 2, checked in Lava's fixed-point models (lava-nc 0.10.0)"
    vendor = "Lava (lava-nc 0.10.0)"
    semantics: Semantics = resolve.SEMANTICS
    machine = LoihiMachine()

    @functools.cached_property
    def chip(self) -> Chip:
        """Limits and constants with their sources, from `loihi2.toml`."""
        text = importlib.resources.files(__package__).joinpath("loihi2.toml").read_text("utf-8")
        return load_chip(text)

    def lower(self, network: Network, calibration: Trace) -> Program:
        """See `lowering.lower`."""
        return lowering.lower(network, calibration, self.name)

    def check(self, program: Program) -> tuple[Violation, ...]:
        """See `rules.check`."""
        return rules.check(program, self.chip)

    def run_vendor(
        self, program: Program, inputs: Mapping[str, Spikes], *, timeout: float
    ) -> Trace:
        """See `vendor.run_in_lava`."""
        from neurodeploy.targets.loihi.vendor import run_in_lava

        return run_in_lava(program, inputs, timeout=timeout)
