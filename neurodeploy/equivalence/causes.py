"""Why spikes differ: the smallest set of a chip's deviations that, undone, gives the spike back.

Judged one cell at a time.  Chip and model both get the reference's spikes, as inputs and as the
neuron's own past: a cell where the chip still decides otherwise differs *locally*, for causes that
are its own; any other inherits its difference, from other layers or from its own past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.equivalence.arrivals import incoming
from neurodeploy.equivalence.compare import Cell
from neurodeploy.equivalence.deviations import Cause, Causes
from neurodeploy.equivalence.dynamics import model_dynamics, unit_of
from neurodeploy.equivalence.pairs import Cells, Judge, Runs
from neurodeploy.errors import InputError, TargetError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Population
from neurodeploy.program import IntArray
from neurodeploy.target import Explains, Target
from neurodeploy.trace import Trace

BATCH_VALUES = 1 << 21
"""Of a potential: pairs of a sample and a neuron, times steps, that are looked at together."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Event:
    """One differing cell, with potentials as the reference's spikes lead to them.

    Attributes
    ----------
    potential, chip_potential, threshold: in units of the model.
    margin: how far the reference's potential is inside the range of its spikes, in thresholds.
    local: whether the chip decides otherwise on the same spikes.
    causes: the smallest set that restores the reference's spike; empty where none does, or where
        the difference is inherited.
    alternatives: other sets of the same size that do.
    """

    cell: Cell
    potential: float
    chip_potential: float
    threshold: float
    margin: float
    local: bool
    causes: Causes
    alternatives: tuple[Causes, ...]

    def __str__(self) -> str:
        if not self.local:
            return "inherited from earlier differences"
        if not self.causes:
            return "unexplained: the reference is within float64's rounding of its threshold"
        text = f"undoing {_joined(self.causes)} restores the spike"
        if self.alternatives:
            text += f"; so does {' or '.join(map(_joined, self.alternatives))}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self),
            "cell": vars(self.cell),
            "causes": names(self.causes),
            "alternatives": [names(causes) for causes in self.alternatives],
        }


@dataclass(frozen=True)
class LayerCauses:
    """All differing cells of a population.

    Attributes
    ----------
    local, propagated: how many differ for causes of their own, and how many inherit that.
    histogram: local ones by their causes, most frequent first; with `unexplained` these add up.
    unexplained: local ones that no set restores: the reference itself is within the rounding of
        float64 there.  All differing cells, where there is a `reason`.
    reason: why nothing could be judged, if so.
    """

    population: str
    local: int
    propagated: int
    histogram: Mapping[Causes, int] = field(default_factory=dict)
    unexplained: int = 0
    reason: str | None = None

    @property
    def causes(self) -> Causes:
        """All that is a cause anywhere."""
        return frozenset[Cause]().union(*self.histogram)

    @property
    def events(self) -> int:
        """How many cells differ."""
        return self.unexplained if self.reason else self.local + self.propagated

    def __str__(self) -> str:
        if self.reason:
            return f"{self.population}: {self.unexplained:,} cells unexplained: {self.reason}"
        found = [f"{_joined(causes)} {count:,}" for causes, count in self.histogram.items()]
        found += [f"unexplained {self.unexplained:,}"] * bool(self.unexplained)
        text = f"{self.population}: {self.local:,} cells differ by themselves"
        text += f" ({', '.join(found)})" if found else ""
        return f"{text}, {self.propagated:,} inherit that"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self),
            "histogram": [
                {"causes": names(causes), "events": count}
                for causes, count in self.histogram.items()
            ],
        }


@dataclass(frozen=True)
class Explanation:
    """Why a program's spikes differ from those of its network.

    Attributes
    ----------
    layers: each spiking population.
    first: the first difference in time; None where there is none, or it cannot be judged.
    """

    layers: tuple[LayerCauses, ...]
    first: Event | None

    def __str__(self) -> str:
        """One line for each population that differs."""
        return "\n".join(str(layer) for layer in self.layers if layer.events)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "layers": [layer.to_dict() for layer in self.layers],
            "first": None if self.first is None else self.first.to_dict(),
            "meaning": {str(cause): cause.text for cause in Cause},
        }


def names(causes: Causes) -> list[str]:
    """The names of causes in the order in which they are defined."""
    return [str(cause) for cause in Cause if cause in causes]


def _joined(causes: Causes) -> str:
    return " + ".join(names(causes))


@dataclass(frozen=True, eq=False)
class Attribution(Runs):
    """What is needed to say why a run of a program differs from that of its network.

    `actual`: the program's spikes.
    """

    target: Target
    actual: Trace

    def explanation(self, first: Cell | None, progress: Progress | None = None) -> Explanation:
        """Why each population differs, and the cell that is given."""
        return Explanation(self.layers(progress), None if first is None else self.event(first))

    def layers(self, progress: Progress | None = None) -> tuple[LayerCauses, ...]:
        """Why each spiking population differs; `progress` gets (cells done, differing cells)."""
        spiking = [p for p in self.network.populations if p.spiking]
        cells = {p.name: self._differing(p) for p in spiking}
        total, done = sum(len(found[0]) for found in cells.values()), 0
        layers = []
        for population in spiking:
            found = _Found()
            try:
                for _, local, causes in self._judged(population, cells[population.name]):
                    found.add(local, causes)
                    done += len(local)
                    if progress is not None:
                        progress(done, total)
            except (TargetError, InputError) as error:
                done += len(cells[population.name][0]) - found.events
                found = _Found(unexplained=len(cells[population.name][0]), reason=str(error))
            layers.append(found.layer(population.name))
        return tuple(layers)

    def event(self, cell: Cell) -> Event | None:
        """Why one cell differs; None where its population cannot be judged."""
        population = next(p for p in self.network.populations if p.name == cell.population)
        shape = population.shape
        neuron = np.array([np.ravel_multi_index(cell.neuron, shape)], np.int64)
        at = (np.array([cell.sample]), np.array([cell.step]), neuron)
        try:
            ((cells, (local,), found),) = self._judged(population, at)
        except (TargetError, InputError):
            return None
        causes = found[0] if found else []
        unit = float(cells.pairs.unit[0])
        _, potential = cells.decided(frozenset())
        return Event(
            cell,
            float(cells.meant[0]) / unit,
            float(potential[0]) / unit,
            float(population.threshold[cell.neuron]),
            float(cells.margin(cells.meant)[0]),
            bool(local),
            causes[0] if causes else frozenset(),
            tuple(causes[1:]),
        )

    def potential(
        self, name: str, sample: IntArray, neuron: IntArray, causes: Causes = frozenset()
    ) -> FloatArray:
        """Potentials on the reference's spikes, with some causes undone, in units of the model.

        Parameters
        ----------
        sample, neuron: int64 (pairs,), by rising neuron, which is a place in C order.

        Returns
        -------
        float64 (steps, pairs): as it is compared with the threshold, before any reset.

        Raises
        ------
        TargetError, InputError
            The population cannot be judged.
        """
        population = next(p for p in self.network.populations if p.name == name)
        judge = self._judge(population)
        return judge.pairs(sample, neuron).potential(causes) / judge.unit[neuron]

    def _differing(self, population: Population) -> tuple[IntArray, IntArray, IntArray]:
        """(sample, step, neuron) of differing cells, by neuron and sample."""
        a, b = (t.spikes[population.name] for t in (self.expected, self.actual))
        found = np.nonzero((a != b).reshape(*a.shape[:2], -1))
        order = np.lexsort((found[0], found[2]))
        sample, step, neuron = (index[order] for index in found)
        return sample, step, neuron

    def _judged(
        self, population: Population, cells: tuple[IntArray, IntArray, IntArray]
    ) -> Iterator[tuple[Cells, NDArray[np.bool_], list[list[Causes]]]]:
        """Cells in batches of bounded memory, which are local, and the causes of these."""
        if not len(cells[0]):
            return
        judge = self._judge(population)
        sample, step, neuron = cells
        changed = (np.diff(sample, prepend=-1) != 0) | (np.diff(neuron, prepend=-1) != 0)
        pair = np.cumsum(changed) - 1
        size = max(1, BATCH_VALUES // self.expected.steps)
        for first in range(0, int(pair[-1]) + 1, size):
            part = slice(*np.searchsorted(pair, [first, first + size]))
            starts = changed[part]
            pairs = judge.pairs(sample[part][starts], neuron[part][starts])
            batch = Cells(pairs, pair[part] - first, step[part])
            same, _ = batch.decided(frozenset())
            yield batch, ~same, [] if same.all() else batch.only(~same).explained()

    def _judge(self, population: Population) -> Judge:
        """Chip and model of a population; raises `TargetError` where there is none."""
        if not isinstance(self.target, Explains):
            text = f"{self.target.name} does not say what one step of its neurons is"
            raise TargetError(text, node=population.name)
        neurons = self.program.population(population.name)
        chip = self.target.dynamics(self.program, population)
        model = model_dynamics(population, unit_of(neurons))
        arriving = incoming(
            self.program, self.network, population.name, dict(chip.ports), chip.weight_limit
        )
        chip = replace(chip, owed=chip.owed - arriving.own, bias=chip.bias + arriving.constant)
        return Judge(self, population, chip, model, arriving, unit_of(neurons))


@dataclass(eq=False)
class _Found:
    """What is known of a population so far."""

    local: int = 0
    propagated: int = 0
    histogram: Counter[Causes] = field(default_factory=Counter)
    unexplained: int = 0
    reason: str | None = None

    @property
    def events(self) -> int:
        return self.local + self.propagated

    def add(self, local: NDArray[np.bool_], causes: list[list[Causes]]) -> None:
        self.local += int(np.count_nonzero(local))
        self.propagated += int(np.count_nonzero(~local))
        self.histogram.update(sets[0] for sets in causes if sets)
        self.unexplained += sum(not sets for sets in causes)

    def layer(self, name: str) -> LayerCauses:
        ordered = sorted(self.histogram.items(), key=lambda item: (-item[1], names(item[0])))
        return LayerCauses(
            name, self.local, self.propagated, dict(ordered), self.unexplained, self.reason
        )
