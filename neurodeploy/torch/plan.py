"""A program prepared to run on tensors: population after population, or step by step in cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurodeploy import arrivals
from neurodeploy.errors import InputError
from neurodeploy.linear import Shape
from neurodeploy.network import runs
from neurodeploy.program import Neurons, Program
from neurodeploy.target import Machine
from neurodeploy.torch.cells import Arithmetic, Cells, Levels, Registers, States
from neurodeploy.torch.neurons import Sent, Surrogate, run
from neurodeploy.torch.sums import Link


@dataclass(frozen=True, eq=False)
class Plan:
    """What of a program no training changes.

    Attributes
    ----------
    links: what ends at each population, without what its neurons send themselves.
    groups: populations in order; those of one group are joined by a cycle, if it has several or one
        that reaches itself.
    """

    arithmetic: Arithmetic
    links: Mapping[str, tuple[Link, ...]]
    cells: Mapping[str, Cells]
    groups: tuple[tuple[Neurons, ...], ...]

    @classmethod
    def of(
        cls,
        program: Program,
        arithmetic: Arithmetic,
        machine: Machine,
        levels: Mapping[int, Levels],
    ) -> Plan:
        """`levels`: what the weights of some synapses, by index, can become.

        Raises
        ------
        InputError
            What the chip does not have.
        ModelError
            Neurons without a gradient, or sums that are not provably exact.
        """
        least = arrivals.waits(program)
        links: dict[str, tuple[Link, ...]] = {}
        cells: dict[str, Cells] = {}
        for population in program.populations:
            name = population.name
            arrivals.arriving(program, population, machine, least)  # refuses what the chip has not
            links[name] = tuple(
                Link.of(program, index, least[synapses], levels.get(index))
                for index, synapses in enumerate(program.synapses)
                if synapses.target == name and not arrivals.is_own(synapses, population)
            )
            own = arrivals.own_activation(population, program.incoming(name), machine)
            cells[name] = arithmetic.cells(population, own, _bounds(links[name]))
            for link in links[name]:
                if link.synapses.port not in cells[name].ports:
                    raise InputError(
                        f"{name} has no port {link.synapses.port!r}", node=link.synapses.name
                    )
        place = {p.name: index for index, p in enumerate(program.populations)}
        edges = [(place[s.source], place[s.target]) for s in program.synapses if s.source in place]
        return cls(arithmetic, links, cells, runs(program.populations, edges))

    def run(
        self,
        given: Mapping[str, Tensor],
        weights: Sequence[Tensor],
        registers: Mapping[str, tuple[Registers, Tensor]],
        surrogate: Surrogate,
        record: bool,
    ) -> dict[str, Sent]:
        """By population, what it sends.

        Parameters
        ----------
        given: by input, (steps, samples, *shape).
        weights: of all synapses of the program.
        registers: by population, with its unit.
        record: also keep states.
        """
        running = _Running(self, weights, registers, surrogate, record)
        sent, found = dict(given), dict[str, Sent]()
        for group in self.groups:
            inside = {p.name for p in group}
            cyclic = any(x.synapses.source in inside for p in group for x in self.links[p.name])
            if cyclic or len(group) > 1:
                done = running.stepwise(group, sent)
            else:
                done = running.at_once(group[0], sent)
            found.update(done)
            for p in group:
                sent[p.name] = shaped(done[p.name].spikes, p.shape)
        return found


@dataclass(frozen=True, eq=False)
class _Running:
    """One run."""

    plan: Plan
    weights: Sequence[Tensor]
    registers: Mapping[str, tuple[Registers, Tensor]]
    surrogate: Surrogate
    record: bool

    def at_once(self, population: Neurons, sent: Mapping[str, Tensor]) -> dict[str, Sent]:
        """All steps of a population without a cycle."""
        currents = self._currents(population, self.plan.links[population.name], sent)
        constants = self._constants(population)
        states = self._start(population, currents)
        return {population.name: self._advance(population, currents, states, constants, 0)}

    def stepwise(self, group: Sequence[Neurons], sent: Mapping[str, Tensor]) -> dict[str, Sent]:
        """Populations of a cycle, step by step; what comes from elsewhere is summed up before."""
        inside = {p.name for p in group}
        inner, outer, constants, states = {}, {}, {}, {}
        for p in group:
            links = self.plan.links[p.name]
            within = [link for link in links if link.synapses.source in inside]
            inner[p.name] = [
                (link, link.wait + delay, weight)
                for link in within
                for delay, weight in link.by_delay(self.weights[link.index])
            ]
            others = [link for link in links if link.synapses.source not in inside]
            outer[p.name] = self._currents(p, others, sent)
            constants[p.name] = self._constants(p)
            states[p.name] = self._start(p, outer[p.name])
        done: dict[str, list[Sent]] = {p.name: [] for p in group}
        for step in range(len(next(iter(sent.values())))):
            for p in group:
                now = {port: values[step] for port, values in outer[p.name].items()}
                for link, wait, weight in inner[p.name]:
                    if step >= wait:
                        self._add(now, link, weight, done[link.synapses.source][step - wait])
                currents = {port: values[None] for port, values in now.items()}
                found = self._advance(p, currents, states[p.name], constants[p.name], step)
                states[p.name] = found.states
                done[p.name].append(found)
        return {name: _joined(parts) for name, parts in done.items()}

    def _add(self, currents: dict[str, Tensor], link: Link, weight: Tensor, sent: Sent) -> None:
        """To the currents of one step, (samples, neurons), what `sent` causes."""
        rows = shaped(sent.spikes[0], link.synapses.in_shape)
        found = link.activation(rows, weight, self.plan.arithmetic)
        port = link.synapses.port
        found = found.to(self.plan.cells[link.synapses.target].dtype)
        currents[port] = currents[port] + found if port in currents else found

    def _currents(
        self, population: Neurons, links: Iterable[Link], sent: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """By port, (steps, samples, neurons); the first is always there."""
        cells = self.plan.cells[population.name]
        found: dict[str, Tensor] = {}
        for link in links:
            port, source = link.synapses.port, sent[link.synapses.source]
            arriving = link.arriving(source, self.weights[link.index], self.plan.arithmetic)
            arriving = arriving.to(cells.dtype)
            found[port] = found[port] + arriving if port in found else arriving
        if cells.ports[0] not in found:
            like = next(iter(sent.values()))
            shape = (*like.shape[:2], population.size)
            found[cells.ports[0]] = torch.zeros(shape, dtype=cells.dtype, device=like.device)
        return found

    def _constants(self, population: Neurons) -> dict[str, Tensor]:
        registers, _ = self.registers[population.name]
        return self.plan.cells[population.name].prepare(registers)

    def _start(self, population: Neurons, currents: Mapping[str, Tensor]) -> States:
        registers, _ = self.registers[population.name]
        samples = next(iter(currents.values())).shape[1]
        return self.plan.cells[population.name].start(registers, samples)

    def _advance(
        self,
        population: Neurons,
        currents: Mapping[str, Tensor],
        states: States,
        constants: Registers,
        first: int,
    ) -> Sent:
        cells, (_, unit) = self.plan.cells[population.name], self.registers[population.name]
        return run(cells, self.surrogate, currents, states, constants, unit, first, self.record)


def shaped(flat: Tensor, shape: Shape) -> Tensor:
    """(..., neurons) as (..., *shape)."""
    return flat.reshape(*flat.shape[:-1], *shape)


def _bounds(links: Iterable[Link]) -> dict[str, float]:
    """By port, the largest magnitude of what can arrive in one step."""
    found: dict[str, float] = {}
    for link in links:
        port = link.synapses.port
        found[port] = found.get(port, 0.0) + link.bound * max(1.0, 2.0**link.synapses.exponent)
    return found


def _joined(parts: Sequence[Sent]) -> Sent:
    """Single steps as one run."""
    return Sent(
        torch.cat([part.spikes for part in parts]),
        torch.cat([part.potential for part in parts]),
        parts[-1].states,
        {name: torch.cat([part.recorded[name] for part in parts]) for name in parts[0].recorded},
    )
