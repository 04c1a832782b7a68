"""SpiNNaker2 on torch tensors, with gradients: `arithmetic`'s own operations in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.errors import InputError, ModelError
from neurodeploy.program import POTENTIAL, Neurons, Synapses
from neurodeploy.targets.spinnaker2 import arithmetic
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.machine import check_refractory, resets_to, settled
from neurodeploy.targets.spinnaker2.models import Model, model_of
from neurodeploy.targets.spinnaker2.scale import NEVER
from neurodeploy.targets.spinnaker2.start import start
from neurodeploy.torch.cells import Group, Levels, Ran, Register, Registers, States
from neurodeploy.torch.grids import multiples


@dataclass(frozen=True)
class SpiNNaker2Arithmetic:
    """The `Arithmetic` of SpiNNaker2."""

    def levels(self, synapses: Synapses, target: Neurons, together: tuple[Synapses, ...]) -> Levels:
        """Multiples of the weights' common power of two up to the model's limits."""
        low, high = model_of(target).weights
        if synapses.port != "current":
            low = 0
        return multiples(synapses, together, low, high, least=1)

    def activation(self, total: Tensor, synapses: Synapses, bound: float) -> Tensor:
        """The sum itself."""
        return total

    def cells(self, population: Neurons, own: Any, bound: Mapping[str, float]) -> SpiNNaker2Cells:
        """The neurons of one of `models.MODELS`.

        Raises
        ------
        ModelError
            Sums that float32 might round.
        """
        model = model_of(population)
        check_refractory(population, model)
        reach = max(bound.values(), default=0.0) + float(np.abs(own).max(initial=0))
        if reach > EXACT:
            raise ModelError(
                f"weights that arrive in one tick may sum up to {reach:,.0f}; float32 holds every "
                f"integer up to {EXACT:,} only",
                node=population.name,
                hint="Reduce the fan-in.",
            )
        silent = bool(np.all(population.float_register("threshold") == np.float32(NEVER)))
        return SpiNNaker2Cells(
            name=population.name,
            size=population.size,
            depth=population.depth,
            model=model,
            to=resets_to(population),
            own=torch.from_numpy(own.astype(np.float32)) if np.any(own) else None,
            threshold=not silent,
            offset=torch.from_numpy(population.float_register("i_offset").reshape(-1)),
            meant=settled(population).astype(np.float64),
        )


@dataclass(frozen=True, eq=False)
class SpiNNaker2Cells:
    """Neurons of one of `models.MODELS`.

    Attributes
    ----------
    to: whether a spike sets v to `v_reset`; otherwise it subtracts the threshold.
    own: what a neuron's spike adds to its next current, (neurons,); None if nothing.
    threshold: whether they have one that can be reached.
    offset: the program's i_offset.
    meant: its potentials before the model's first step.
    """

    name: str
    size: int
    depth: int
    model: Model
    to: bool
    own: Tensor | None
    threshold: bool
    offset: Tensor
    meant: NDArray[np.float64]
    dtype = torch.float32

    @property
    def ports(self) -> tuple[str, ...]:
        return self.model.ports

    @property
    def trained(self) -> Mapping[Group, Register]:
        """The threshold, and, where no synaptic current filters it, the constant input."""
        largest = float(np.finfo(np.float32).max)
        found: dict[Group, Register] = {}
        if self.threshold:
            smallest = float(np.finfo(np.float32).tiny)
            found["threshold"] = Register("threshold", Levels(0, smallest, largest))
        if not self.model.filtered:
            found["bias"] = Register("i_offset", Levels(0, -largest, largest))
        return found

    @property
    def learned(self) -> tuple[str, ...]:
        return ("threshold", "i_offset")

    def following(self, registers: dict[str, Tensor]) -> dict[str, Tensor]:
        """With a v_init that leads to `meant` as before, if i_offset is not the program's.

        Raises `ModelError` where the constant input alone makes a neuron spike.
        """
        if bool((registers["i_offset"].detach().cpu() == self.offset).all()):
            return registers
        names = ("alpha_decay", "i_offset", "threshold")
        alpha, offset, threshold = (
            np.broadcast_to(registers[name].detach().cpu().numpy(), (self.size,)) for name in names
        )
        v_init, _ = start(self.meant, alpha, offset, threshold, self.depth, self.name)
        return registers | {"v_init": torch.from_numpy(v_init).to(registers["v_init"].device)}

    def prepare(self, registers: Registers) -> dict[str, Tensor]:
        """The registers as they are."""
        return dict(registers)

    def start(self, registers: Registers, samples: int) -> States:
        """v after `depth` ticks without input (see `machine.settled`), no currents, no spike.

        Raises
        ------
        InputError
            A neuron reaches its threshold meanwhile.
        """
        v, offset = registers["v_init"], registers["i_offset"].detach()
        for tick in range(self.depth):
            v = arithmetic.integrate(v, 0.0, registers["alpha_decay"], offset)
            if bool(arithmetic.fires(v, registers["threshold"]).any()):
                raise InputError(
                    f"neurons spike at tick {tick} already, but input reaches them at tick "
                    f"{self.depth}",
                    node=self.name,
                    hint="Lower v_init or i_offset, or train with a lower learning rate.",
                )
        v = v.expand(samples, self.size)
        zero = torch.zeros_like(v)
        currents = (zero, zero) if self.model.filtered else ()
        return (v, *currents, torch.zeros_like(v, dtype=torch.bool))

    def fires(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """See `arithmetic.fires`."""
        fired: Tensor = arithmetic.fires(potential, threshold)
        return fired

    def run(
        self,
        currents: Mapping[str, Tensor],
        states: States,
        constants: Registers,
        first: int,
        record: bool,
    ) -> Ran:
        """The tick of `arithmetic.run`."""
        current = currents[self.ports[0]]
        inhibitory = currents.get("inhibitory")
        own = None if self.own is None else self.own.to(current.device)
        potentials = torch.empty_like(current)
        kept: dict[str, list[Tensor]] = {name: [] for name in self.model.states} if record else {}
        v, *filtered, fired = states
        for t in range(len(current)):
            x = current[t] if own is None else current[t] + own * fired
            if filtered:
                y = torch.zeros_like(x) if inhibitory is None else inhibitory[t]
                x = arithmetic.decay_current(filtered[0], constants["exc_decay"], x)
                y = arithmetic.decay_current(filtered[1], constants["inh_decay"], y)
                filtered = [x, y]
                x = x - y
            p = arithmetic.integrate(v, x, constants["alpha_decay"], constants["i_offset"])
            potentials[t] = p
            fired = arithmetic.fires(p, constants["threshold"])
            if self.to:
                v = torch.where(fired, constants["v_reset"], p)
            else:
                v = torch.where(fired, p - constants["threshold"], p)
            if record:
                now = dict(zip(("exc", "inh"), filtered, strict=False)) | {"v": v, POTENTIAL: p}
                for name, values in kept.items():
                    values.append(now[name])
        recorded = {name: torch.stack(values) for name, values in kept.items()}
        return Ran(potentials, (v, *filtered, fired), recorded)

    def back(
        self,
        gradient: Tensor,
        states: States,
        potential: Tensor,
        constants: Registers,
        first: int,
        clipped: bool,
    ) -> tuple[dict[str, Tensor], States, dict[str, Tensor]]:
        r"""Of :math:`p_t = \alpha v_{t-1} + x_t + c`, and v_t = p_t (1 - S_t) or p_t - θ S_t.

        With S detached: v passes its gradient to p where it was not set to v_reset, and to -θ S.
        """
        fired = self.fires(potential, constants["threshold"])
        alpha = constants["alpha_decay"]
        v, *filtered = states
        direct = torch.empty_like(gradient)
        resets = torch.empty_like(gradient)
        through = [torch.empty_like(gradient) for _ in filtered]
        decays = [constants[name] for name in ("exc_decay", "inh_decay")[: len(filtered)]]
        for t in reversed(range(len(gradient))):
            resets[t] = v
            p = gradient[t] + (v.masked_fill(fired[t], 0) if self.to else v)
            direct[t] = p
            v = p * alpha
            for index, sign in enumerate((1, -1)[: len(filtered)]):
                total = filtered[index] + sign * p
                through[index][t] = total
                filtered[index] = total * decays[index]
        learned = {"i_offset": direct}
        if not self.to:
            learned["threshold"] = -resets * fired
        currents = dict(zip(self.ports, through or [direct], strict=True))
        return currents, (v, *filtered), learned
