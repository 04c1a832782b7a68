"""`ChipModule`: a program as a PyTorch module, forward bit for bit the chip, backward a surrogate.

The forward pass does the chip's arithmetic on tensors: the same spikes and states as the simulator,
for any input.  The backward pass goes straight through every rounding and takes a surrogate
gradient for the spike.  Master values of weights and registers are held in the chip's own units and
are rounded to its grid where they are used.

::

    module = ChipModule(program)
    optimizer = torch.optim.Adam(module.parameters(), 1.0)
    loss = cross_entropy(module(spikes).sum(1), labels)     # (samples, steps, *shape)
    ...
    trained = module.program()
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from snntorch import surrogate
from torch import Tensor, nn

from neurodeploy import arrivals
from neurodeploy.errors import InputError, TargetError
from neurodeploy.network import runs
from neurodeploy.program import Golden, Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Differentiable, get_target
from neurodeploy.torch.cells import SpikeGrad, State, TorchMachine
from neurodeploy.torch.synapses import TorchSynapses
from neurodeploy.trace import check_names

TRAINED = ("weight", "bias")
TRAINABLE = ("weight", "bias", "threshold")


@dataclass(frozen=True, eq=False)
class Ran:
    """What a forward pass gives, by population.

    Attributes
    ----------
    spikes: float32 (samples, steps, *shape).
    potentials: of outputs that are read as potentials, in model units.
    states: of populations asked for, as the chip holds them, without a gradient.
    """

    spikes: Mapping[str, Tensor]
    potentials: Mapping[str, Tensor]
    states: Mapping[str, Mapping[str, Tensor]]


class ChipModule(nn.Module):
    """See the module's docstring.

    Parameters
    ----------
    spike_grad: any surrogate of `snntorch.surrogate`, of the membrane potential above the threshold
        in the model's units; `atan()` if None, as in snnTorch.
    trainable: what becomes parameters: "weight" (of all-to-all and convolutional synapses), "bias"
        and "threshold".  One-to-one synapses from neurons to themselves are resets and let no
        gradient through; those between populations pass it on.

    Raises
    ------
    InputError
        Neurons or messages that cannot be trained, or sums that no floating point holds.
    TargetError
        A target without such arithmetic.
    """

    def __init__(
        self,
        program: Program,
        spike_grad: SpikeGrad | None = None,
        trainable: Collection[str] = TRAINED,
    ) -> None:
        super().__init__()
        check_names(trainable, TRAINABLE)
        target = get_target(program.target)
        if not isinstance(target, Differentiable):
            raise TargetError("its arithmetic has no gradient here", node=f"target {target.name}")
        if any(population.graded for population in program.populations):
            raise InputError("neurons that send integers have no gradient here")
        machine: TorchMachine = target.differentiable()
        self._program, self._chip = program, target.machine
        surrogate_ = surrogate.atan() if spike_grad is None else spike_grad
        least, reach = arrivals.waits(program), _reach(program)
        synapses, cells = {}, {}
        self._arriving: dict[str, list[tuple[str, Synapses]]] = {}
        for population in program.populations:
            incoming = program.incoming(population.name)
            registers = [name for name in trainable if name != "weight"]
            own = arrivals.own_activation(population, incoming, target.machine)
            cells[_key(population.name)] = machine.cells(population, own, surrogate_, registers)
            self._arriving[population.name] = []
            for one in incoming:
                if arrivals.is_own(one, population):
                    continue
                learns = "weight" in trainable and one.kind != "one-to-one"
                grid = machine.grid(one, population) if learns else None
                key = _key(one.name)
                counts = one.source in program.graded and not one.graded
                synapses[key] = TorchSynapses(one, machine, grid, reach(one), least[one], counts)
                self._arriving[population.name].append((key, one))
        self.synapses, self.cells = nn.ModuleDict(synapses), nn.ModuleDict(cells)
        place = {population.name: i for i, population in enumerate(program.populations)}
        edges = [(place[s.source], place[s.target]) for s in program.synapses if s.source in place]
        self._groups = runs(program.populations, edges)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
        """Spikes of the output (or its potentials, where these are read), with a gradient.

        Parameters
        ----------
        x: spikes, or integers where an input takes them, (samples, steps, *shape), of any dtype; by
            input where there are several.

        Returns
        -------
        (samples, steps, *shape): float32 spikes, or potentials in model units; by population where
        there are several outputs.

        Raises
        ------
        InputError
            Inputs that do not fit the program.
        """
        found = self.forward_all(x)
        outputs = {name: found[name] for name in self._program.outputs}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def forward_all(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `forward`, of every population."""
        ran = self.run(x)
        return {**ran.spikes, **ran.potentials}

    def run(self, x: Tensor | Mapping[str, Tensor], record: Collection[str] = ()) -> Ran:
        """As `forward`, with the spikes of every population, and states of those in `record`."""
        sent = self._given(x)
        check_names(record, list(self._arriving))
        samples, steps = next(iter(sent.values())).shape[:2]
        parts: dict[str, list[Any]] = {p.name: [] for p in self._program.populations}
        states: dict[str, State] = {
            name: self.cells[_key(name)].start(samples) for name in self._arriving
        }
        for group in self._groups:
            names = {population.name for population in group}
            cyclic = any(s.source in names for n in names for _, s in self._arriving[n])
            size = 1 if cyclic else steps
            for start in range(0, steps, size):
                for population in group:
                    name = population.name
                    currents = self._currents(population, sent, parts, samples, start, start + size)
                    advanced = self.cells[_key(name)](currents, states[name], start, name in record)
                    states[name] = advanced.state
                    parts[name].append(advanced)
            for name in names:
                sent[name] = torch.cat([part.spikes for part in parts[name]], 1)
        spikes, potentials, recorded = {}, {}, {}
        for population in self._program.populations:
            name, found = population.name, parts[population.name]
            spikes[name] = sent[name].unflatten(2, population.shape)
            if name in self._program.outputs and population.readout == "membrane":
                total = torch.cat([part.potential for part in found], 1)
                values = total / self.cells[_key(name)].unit
                potentials[name] = values.unflatten(2, population.shape)
            if name in record:
                recorded[name] = {
                    state: torch.cat([part.recorded[state] for part in found], 1).unflatten(
                        2, population.shape
                    )
                    for state in found[0].recorded
                }
        return Ran(spikes, potentials, recorded)

    def program(self) -> Program:
        """The program with the weights and registers of now.

        Its golden traces are of these; it has no ranges, which are those of a compilation.
        """
        old = self._program
        synapses = tuple(
            replace(s, weight=self.synapses[_key(s.name)].integers())
            if _key(s.name) in self.synapses and self.synapses[_key(s.name)].grid is not None
            else s
            for s in old.synapses
        )
        populations = tuple(
            replace(p, parameters={**p.parameters, **self._registers(p)}) for p in old.populations
        )
        new = replace(old, synapses=synapses, populations=populations, ranges=(), golden=None)
        if old.golden is None:
            return new
        trace = simulate(new, old.golden.inputs, self._chip)
        sent = {p.name: trace.sent(p.name) for p in new.populations}
        return replace(new, golden=Golden(old.golden.inputs, sent))

    def _registers(self, population: Neurons) -> dict[str, Any]:
        """Those that are not as they were."""
        found = self.cells[_key(population.name)].registers()
        same = {
            name: np.array_equal(
                np.broadcast_to(values, population.size),
                np.broadcast_to(population.parameters[name].reshape(-1), population.size),
            )
            for name, values in found.items()
        }
        return {
            name: values if values.size == 1 else values.reshape(population.shape)
            for name, values in found.items()
            if not same[name]
        }

    def _currents(
        self,
        population: Neurons,
        sent: Mapping[str, Tensor],
        parts: Mapping[str, list[Any]],
        samples: int,
        start: int,
        stop: int,
    ) -> dict[str, Tensor]:
        cells = self.cells[_key(population.name)]
        device = cells.unit.device
        size = (samples, stop - start, population.size)
        currents = {cells.ports[0]: torch.zeros(size, dtype=cells.dtype, device=device)}
        for key, synapses in self._arriving[population.name]:
            module = self.synapses[key]
            reached = [
                _between(sent, parts, synapses, start - wait, stop - wait) for wait in module.delays
            ]
            found = module(reached).to(cells.dtype)
            port = synapses.port
            currents[port] = currents[port] + found if port in currents else found
        return currents

    def _given(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs as (samples, steps, neurons)."""
        shapes = self._program.input_shapes
        given = dict(x) if isinstance(x, Mapping) else dict.fromkeys([*shapes][:1], x)
        if given.keys() != shapes.keys():
            raise InputError(f"inputs are {sorted(given)}, expected {sorted(shapes)}")
        sizes = {tuple(values.shape[:2]) for values in given.values()}
        for name, values in given.items():
            if tuple(values.shape[2:]) != shapes[name] or values.ndim < 2:
                raise InputError(
                    f"it has shape {tuple(values.shape)}, expected (samples, steps, "
                    f"{', '.join(map(str, shapes[name]))})",
                    node=name,
                )
        if len(sizes) != 1 or 0 in next(iter(sizes)):
            raise InputError(f"samples and steps of the inputs are {sorted(sizes)}")
        return {name: values.flatten(2) for name, values in given.items()}


def _key(name: str) -> str:
    """A name that torch takes for a module."""
    return name.replace(".", "/")


def _reach(program: Program) -> Any:
    """Of synapses: the greatest magnitude of what their source sends."""
    grids = program.grids

    def reach(synapses: Synapses) -> float:
        if not synapses.graded or synapses.source not in program.graded:
            return 1.0
        grid = grids.get(synapses.source)
        return float(max(-grid.low, grid.high)) if grid is not None else float(1 << 31)

    return reach


def _between(
    sent: Mapping[str, Tensor],
    parts: Mapping[str, list[Any]],
    synapses: Synapses,
    start: int,
    stop: int,
) -> Tensor:
    """What a source sent in steps start..stop - 1, and nothing before step 0."""
    source = synapses.source
    if source in sent:
        known = sent[source]
        found = known[:, max(0, start) : max(0, stop)]
    else:
        steps = parts[source][max(0, start) : max(0, stop)]
        found = torch.cat([part.spikes for part in steps], 1) if steps else None
        known = found if found is not None else next(iter(sent.values()))
    if found is None or found.shape[1] < stop - start:
        size = (known.shape[0], stop - start, int(np.prod(synapses.in_shape)))
        full = torch.zeros(size, dtype=torch.float32, device=known.device)
        if found is None or not found.shape[1]:
            return full
        found = torch.cat([full[:, found.shape[1] :].to(found.dtype), found], 1)
    return found
