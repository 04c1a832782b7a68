"""`ChipModule`: a program as a PyTorch module, bit for bit the chip forward, trainable backward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from snntorch import surrogate
from torch import Tensor, nn

from neurodeploy.errors import InputError, TargetError
from neurodeploy.program import Neurons, Program, Synapses, compact
from neurodeploy.target import Differentiable, get_target
from neurodeploy.torch.cells import Group, Levels
from neurodeploy.torch.inputs import checked
from neurodeploy.torch.neurons import Sent, Surrogate
from neurodeploy.torch.plan import Plan, shaped
from neurodeploy.torch.renewal import renewed

EVERYTHING: tuple[Group, ...] = ("weight", "bias", "threshold")


class ChipModule(nn.Module):
    """A program's own arithmetic in torch, with gradients.

    Spikes, potentials and states equal those of the simulator, bit for bit.  Weights and registers
    are kept as float32 *masters* in chip units; what computes is the nearest value on the chip's
    grid, clipped to its range.

    Backward, rounding, truncation and wraps pass gradients straight through; a saturated potential
    passes none, and a clipped master none that would move it further out.  A spike has the
    derivative of the surrogate at (potential - threshold) / unit: in units of the model, whatever
    the chip's are.  Resets are detached, as in snnTorch.

    Attributes
    ----------
    weights: masters by name of the synapses, with / for a dot: float32, of the weight's shape and
        in its units.  Synapses that join each neuron to one other are not trained (relays and
        resets are made of them), nor are those of neurons that nothing reaches.
    biases: by name of the population: the mantissa of Loihi's bias, SpiNNaker2's i_offset; one of
        each neuron, or of each channel of (channels, height, width).
    thresholds: likewise, as many as the program has.  What a self-synapse subtracts stays.

    Raises
    ------
    TargetError
        A target that has no arithmetic in torch.
    ModelError
        Neurons without a gradient (others than leaky integrate-and-fire), or sums that are not
        provably exact.
    """

    _unit0: Tensor

    def __init__(
        self,
        program: Program,
        spike_grad: Surrogate | None = None,
        trainable: Iterable[Group] = EVERYTHING,
    ) -> None:
        """`spike_grad`: any of `snntorch.surrogate`, `atan()` if None."""
        super().__init__()
        groups = frozenset(trainable)
        if not groups <= set(EVERYTHING):
            raise InputError(
                f"trainable is {', '.join(sorted(groups))}",
                hint=f"There are: {', '.join(EVERYTHING)}.",
            )
        target = get_target(program.target)
        if not isinstance(target, Differentiable):
            raise TargetError("it has no arithmetic in torch", node=f"target {target.name}")
        self.origin = program
        self.spike_grad: Surrogate = surrogate.atan() if spike_grad is None else spike_grad
        self._target = target
        arithmetic = target.differentiable()
        self._levels: dict[int, Levels] = {}
        if "weight" in groups:
            for index, synapses in enumerate(program.synapses):
                if _is_trained(synapses, program):
                    neurons = program.population(synapses.target)
                    together = tuple(filter(_is_all, program.incoming(synapses.target)))
                    self._levels[index] = arithmetic.levels(synapses, neurons, together)
        self._links, self._names = _keys(program.synapses), _keys(program.populations)
        self._plan = Plan.of(program, arithmetic, target.machine, self._levels)
        self.weights, self.biases, self.thresholds = (nn.ParameterDict() for _ in range(3))
        for index, synapses in enumerate(program.synapses):
            self._keep_weights(index, synapses)
        for index, population in enumerate(program.populations):
            self._keep_registers(index, population, groups)

    def _keep_weights(self, index: int, synapses: Synapses) -> None:
        values = torch.from_numpy(synapses.weight.astype(np.float32))
        if index in self._levels:
            self.weights[self._links[index]] = nn.Parameter(values)
        else:
            self.register_buffer(f"_weight{index}", values, persistent=False)

    def _keep_registers(self, index: int, population: Neurons, groups: frozenset[str]) -> None:
        cells = self._plan.cells[population.name]
        links = self._plan.links[population.name]
        moving = any(link.index in self._levels or _is_all(link.synapses) for link in links)
        held = {r.name: g for g, r in cells.trained.items() if g in groups and moving}
        for name, values in population.parameters.items():
            group = held.get(name)
            if group == "bias":
                self.biases[self._names[index]] = nn.Parameter(
                    _per_channel(values, population.shape)
                )
            elif group == "threshold":
                flat = torch.from_numpy(values.reshape(-1).astype(np.float32))
                self.thresholds[self._names[index]] = nn.Parameter(flat)
            else:
                flat = torch.from_numpy(values.reshape(-1)).to(cells.dtype)
                self.register_buffer(f"_{name}{index}", flat, persistent=False)
        unit = torch.from_numpy(population.unit.reshape(-1)).to(cells.dtype)
        self.register_buffer(f"_unit{index}", unit, persistent=False)

    def _weight(self, index: int) -> Tensor:
        """The weights that compute now."""
        if index in self._levels:
            return self._levels[index].nearest(self.weights[self._links[index]])
        found: Tensor = getattr(self, f"_weight{index}")
        return found

    def _registers(self, index: int) -> dict[str, Tensor]:
        """The registers that compute now, (neurons,) or (1,)."""
        population = self.origin.populations[index]
        cells = self._plan.cells[population.name]
        masters: dict[Group, nn.ParameterDict] = {}
        masters["bias"], masters["threshold"] = self.biases, self.thresholds
        found: dict[str, Tensor] = {}
        for group, register in cells.trained.items():
            if self._names[index] in masters[group]:
                master = masters[group][self._names[index]]
                values = register.levels.nearest(master).to(cells.dtype)
                if values.dim() > 1:
                    values = values.expand(population.shape).reshape(-1)
                found[register.name] = values
        for name in population.parameters:
            if name not in found:
                found[name] = getattr(self, f"_{name}{index}")
        return cells.following(found)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """What the output sends: float32 spikes, or potentials in units of the model where that is
        what is read; (samples, steps, *shape).

        Parameters
        ----------
        x: spikes 0 and 1, or the integers of a graded input; float (samples, steps, *shape), or a
            mapping from input name to such.

        Raises
        ------
        InputError
            Inputs that do not fit the program, a program with several outputs, or a module that was
            cast to another dtype.
        """
        return self.forward_all(x)[self.origin.output]

    def forward_all(
        self, x: Tensor | Mapping[str, Tensor], *, potentials: bool = False
    ) -> dict[str, Tensor]:
        """By population what `forward` gives for the output, (samples, steps, *shape).

        `potentials`: of all populations what is compared with the threshold, in units of the model,
        instead of spikes.
        """
        found = {}
        for index, (name, sent) in enumerate(self._run(x).items()):
            population = self.origin.populations[index]
            read = population.readout == "membrane" and name in self.origin.outputs
            if potentials or read:
                values = (sent.potential / getattr(self, f"_unit{index}")).float()
            else:
                values = sent.spikes
            found[name] = shaped(values.transpose(0, 1), population.shape)
        return found

    @torch.no_grad()
    def states(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """States of every population after each step, by the names and in the units of the chip,
        as `api.run` records them: (samples, steps, *shape)."""
        return {
            name: {
                state: shaped(values.transpose(0, 1), self.origin.population(name).shape)
                for state, values in sent.recorded.items()
            }
            for name, sent in self._run(x, record=True).items()
        }

    def _run(self, x: Tensor | Mapping[str, Tensor], record: bool = False) -> dict[str, Sent]:
        given = checked(self.origin, x)
        first = self.origin.populations[0].name
        if self._unit0.dtype != self._plan.cells[first].dtype:
            raise InputError(
                f"the module was cast to {self._unit0.dtype}, in which it is not exact",
                hint="Move it with .to(device) only, and use autocast for what is around it.",
            )
        device = next(iter(given.values())).device
        with torch.autocast(device.type, enabled=False):
            populations = enumerate(self.origin.populations)
            return self._plan.run(
                given,
                [self._weight(index) for index in range(len(self.origin.synapses))],
                {p.name: (self._registers(i), getattr(self, f"_unit{i}")) for i, p in populations},
                self.spike_grad,
                record,
            )

    @torch.no_grad()
    def program(self) -> Program:
        """The program with the present weights and registers; the rest is as it was.

        Ranges, golden traces (of the same inputs) and the place of each neuron are made anew.

        Raises
        ------
        DesignRuleError
            What the chip cannot hold.
        """
        program = self.origin
        synapses = tuple(
            replace(s, weight=_array(self._weight(i), np.int64)) if i in self._levels else s
            for i, s in enumerate(program.synapses)
        )
        populations = tuple(
            replace(p, parameters=self._present(i, p)) for i, p in enumerate(program.populations)
        )
        return renewed(replace(program, populations=populations, synapses=synapses), self._target)

    def _present(self, index: int, population: Neurons) -> dict[str, NDArray[Any]]:
        """Registers as a program holds them; those that did not change as they were."""
        found = dict(population.parameters)
        for name, values in self._registers(index).items():
            array = _array(values, found[name].dtype)
            before = np.broadcast_to(found[name].reshape(-1), array.shape)
            if not np.array_equal(array, before):
                full = np.broadcast_to(array, population.size).reshape(population.shape)
                found[name] = compact(full)
        return found


def _keys(items: Iterable[Synapses | Neurons]) -> tuple[str, ...]:
    """Their names as those of parameters may be: without dots, and each only once."""
    found: list[str] = []
    for item in items:
        key = item.name.replace(".", "/")
        while key in found:
            key += "'"
        found.append(key)
    return tuple(found)


def _is_all(synapses: Synapses) -> bool:
    """Whether they join neurons with more than one other: relays and resets do not."""
    single = synapses.kind == "conv2d" and synapses.weight.shape[1:] == (1, 1, 1)
    return synapses.kind != "one-to-one" and not single


def _is_trained(synapses: Synapses, program: Program) -> bool:
    ends = {s.target for s in program.synapses}
    return _is_all(synapses) and (
        synapses.source in program.input_shapes or synapses.source in ends
    )


def _per_channel(values: NDArray[Any], shape: tuple[int, ...]) -> Tensor:
    """A register of each neuron, float32 (neurons,), or of each channel, (channels, 1, 1)."""
    full = np.broadcast_to(values.reshape(shape if values.size > 1 else ()), shape)
    if len(shape) == 3 and np.all(full == full[:, :1, :1]):
        return torch.from_numpy(full[:, :1, :1].astype(np.float32))
    return torch.from_numpy(full.reshape(-1).astype(np.float32))


def _array(values: Tensor, dtype: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy().astype(dtype)
