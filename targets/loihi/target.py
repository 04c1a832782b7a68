"""Loihi 1 and Loihi 2 as `Target`s."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import Register
from neurodeploy.chip import Chip, load_chip
from neurodeploy.choices import (
    Choice,
    Settings,
    percentiles,
    percentiles_of,
    weight_widths,
    widths_of,
)
from neurodeploy.equivalence.dynamics import Dynamics
from neurodeploy.errors import Violation
from neurodeploy.network import Network, Population
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.semantics import Semantics
from neurodeploy.target import Backend
from neurodeploy.targets.loihi import (
    bounds,
    bounds_neurons,
    dynamics,
    lowering,
    raising,
    resolve,
    rules,
)
from neurodeploy.targets.loihi.backends import Lava, Netx, Silicon
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.neurocores import Neurocores
from neurodeploy.targets.loihi.unit import WEIGHT_BITS
from neurodeploy.trace import Trace

if TYPE_CHECKING:
    from neurodeploy.costs.validation import Anchor
    from neurodeploy.targets.loihi.differentiable import LoihiArithmetic


@dataclass(frozen=True)
class Loihi:
    """The `Target` for one generation of the chip, called as its chip file is.

    The arithmetic is that of Lava's CUBA LIF for both (Lava's `Loihi1SimCfg` and `Loihi2SimCfg`
    run the same models); what a chip can do and hold is in its chip file.
    """

    name: str
    description: str
    semantics: Semantics = resolve.SEMANTICS
    machine = LoihiMachine()

    @property
    def backends(self) -> Mapping[str, Backend]:
        """Lava, and for Loihi 2 lava-dl's NetX and the chip."""
        more: Mapping[str, Backend] = {"netx": Netx(), "loihi2": Silicon()}
        return {"lava": Lava(), **(more if self.name == "loihi2" else {})}

    @functools.cached_property
    def chip(self) -> Chip:
        """Limits and constants with their sources, from the chip file."""
        file = importlib.resources.files(__package__).joinpath(f"{self.name}.toml")
        return load_chip(file.read_text("utf-8"))

    @property
    def analog(self) -> bool:
        """Whether messages can be graded."""
        return bool(self.chip.limit("message_bits"))

    @property
    def suffixes(self) -> frozenset[str]:
        """Files of lava-dl are for Loihi 2."""
        return frozenset({".net"} if self.name == "loihi2" else ())

    def read(self, path: Path) -> Program:
        """See `netx.reading.read_program`."""
        from neurodeploy.targets.loihi.netx import read_program

        return read_program(path)

    def simulated(self) -> tuple[Anchor, ...]:
        """PilotNet on Loihi 2; see `pilotnet.pilotnet`."""
        from neurodeploy.targets.loihi.pilotnet import pilotnet

        return (pilotnet(self.chip),) if self.name == "loihi2" else ()

    def lower(self, network: Network, calibration: Trace) -> Program:
        """See `lowering.lower`."""
        return lowering.lower(network, calibration, self.name)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Widths of weights, down from all that the chip has, and percentiles."""
        return (weight_widths(WEIGHT_BITS), percentiles())

    def lower_with(self, network: Network, calibration: Trace, settings: Settings) -> Program:
        """See `lowering.lower`."""
        return lowering.lower(
            network, calibration, self.name, widths_of(settings), percentiles_of(settings)
        )

    def differentiable(self) -> LoihiArithmetic:
        """See `differentiable.LoihiArithmetic`."""
        from neurodeploy.targets.loihi.differentiable import LoihiArithmetic

        return LoihiArithmetic()

    def raised(self, program: Program, network: Network) -> Network:
        """See `raising.raised`."""
        return raising.raised(program, network)

    def cores(self, program: Program) -> Neurocores:
        """See `neurocores`."""
        return Neurocores(self.chip)

    def dynamics(self, program: Program, model: Population) -> Dynamics:
        """See `dynamics.dynamics`."""
        return dynamics.dynamics(program, model)

    def check(self, program: Program) -> tuple[Violation, ...]:
        """See `rules.check`."""
        return rules.check(program, self.chip)

    def accumulator(self, synapses: Synapses) -> tuple[int, int]:
        """See `bounds.accumulator`."""
        return bounds.accumulator(synapses)

    def registers(
        self, population: Neurons, arriving: Mapping[str, Interval], own: IntArray
    ) -> tuple[Register, ...]:
        """See `bounds.registers` and `bounds_neurons.registers`."""
        if population.model in bounds.MODELS:
            return bounds.registers(population, arriving, own)
        return bounds_neurons.registers(population, arriving, own)

    def written(
        self,
        population: Neurons,
        own: IntArray,
        currents: Mapping[str, IntArray],
        states: Mapping[str, NDArray[Any]],
        fired: IntArray,
    ) -> Mapping[str, IntArray]:
        """See `bounds.written` and `bounds_neurons.written`."""
        if population.model == "lif":
            return bounds.written(population, own, currents, states, fired)
        return bounds_neurons.written(population, own, currents, states, fired)
