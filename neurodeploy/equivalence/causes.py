"""Why spikes differ: the smallest set of a chip's deviations that, undone, gives the spike back.

Judged one cell at a time.  Chip and model both get the reference's spikes, as inputs and as the
neuron's own past: a cell where the chip still decides otherwise differs *locally*, for causes that
are its own; any other inherits its difference, from other layers or from its own past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.equivalence.compare import Cell
from neurodeploy.equivalence.deviations import Cause, Causes
from neurodeploy.equivalence.dynamics import model_dynamics, unit_of
from neurodeploy.equivalence.incoming import incoming
from neurodeploy.equivalence.pairs import Cells, Judge, Runs
from neurodeploy.errors import InputError, TargetError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Population
from neurodeploy.program import IntArray
from neurodeploy.target import Explains, Target
from neurodeploy.trace import Spikes, Trace

BATCH_VALUES = 1 << 21
"""Of a potential: pairs of a sample and a neuron, times steps, that are looked at together."""

PART_CELLS = 1 << 26
"""Of a population, whose differences are looked for together."""


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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerCauses:
        """The inverse of `to_dict`."""
        found = {frozenset(map(Cause, e["causes"])): e["events"] for e in data["histogram"]}
        return cls(**{**data, "histogram": found})

    @classmethod
    def joined(cls, parts: Sequence[LayerCauses]) -> LayerCauses:
        """Of all samples, from parts of them."""
        histogram: Counter[Causes] = Counter()
        for part in parts:
            histogram.update(part.histogram)
        return cls(
            parts[0].population,
            sum(part.local for part in parts),
            sum(part.propagated for part in parts),
            dict(sorted(histogram.items(), key=lambda item: (-item[1], names(item[0])))),
            sum(part.unexplained for part in parts),
            next((part.reason for part in parts if part.reason), None),
        )


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

    def layers(self) -> tuple[LayerCauses, ...]:
        """Why each spiking population differs."""
        layers = []
        for population in (p for p in self.network.populations if p.spiking):
            found, runs = _Found(), (self.expected, self.actual)
            expected, actual = (run.spikes[population.name] for run in runs)
            for samples in self._parts(population):
                cells = _differing(expected[samples], actual[samples], samples.start)
                try:
                    for part in self._batches(population, cells):
                        found.add(part)
                except (TargetError, InputError) as error:
                    found.unexplained += len(cells[0])
                    found.reason = str(error)
            layers.append(found.layer(population.name))
        return tuple(layers)

    def event(self, cell: Cell) -> Event | None:
        """Why one cell differs; None where its population cannot be judged."""
        population = next(p for p in self.network.populations if p.name == cell.population)
        shape = population.shape
        neuron = np.array([np.ravel_multi_index(cell.neuron, shape)], np.int64)
        at = (np.array([cell.sample]), np.array([cell.step]), neuron)
        try:
            (cells,) = self._batches(population, at)
        except (TargetError, InputError):
            return None
        unit = float(cells.pairs.unit[0])
        same, potential = cells.decided(frozenset())
        causes: Causes = frozenset()
        others: tuple[Causes, ...] = ()
        if not same[0]:
            sets, (which,) = cells.explained()
            causes = sets[which] if which >= 0 else causes
            others = cells.others(causes) if causes else ()
        return Event(
            cell,
            float(cells.meant[0]) / unit,
            float(potential[0]) / unit,
            float(population.threshold[cell.neuron]),
            float(cells.margin(cells.meant)[0]),
            not same[0],
            causes,
            others,
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

    def _parts(self, population: Population) -> Iterator[slice]:
        """Samples after others, so that what differs in them can be held."""
        size = max(1, PART_CELLS // (self.expected.steps * population.size))
        for start in range(0, self.expected.samples, size):
            yield slice(start, min(start + size, self.expected.samples))

    def _batches(
        self, population: Population, cells: tuple[IntArray, IntArray, IntArray]
    ) -> Iterator[Cells]:
        """Cells in batches of bounded memory."""
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
            yield Cells(pairs, pair[part] - first, step[part])

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


def _differing(a: Spikes, b: Spikes, first: int) -> tuple[IntArray, IntArray, IntArray]:
    """(sample, step, neuron) of cells that differ, by neuron and sample; samples from `first`."""
    found = np.nonzero((a != b).reshape(*a.shape[:2], -1))
    order = np.lexsort((found[0], found[2]))
    sample, step, neuron = (index[order] for index in found)
    return sample + first, step, neuron


@dataclass(eq=False)
class _Found:
    """What is known of a population so far."""

    local: int = 0
    propagated: int = 0
    histogram: Counter[Causes] = field(default_factory=Counter)
    unexplained: int = 0
    reason: str | None = None

    def add(self, cells: Cells) -> None:
        same, _ = cells.decided(frozenset())
        local = len(same) - int(np.count_nonzero(same))
        self.local += local
        self.propagated += len(same) - local
        if local:
            sets, which = cells.only(~same).explained()
            for causes, count in zip(sets, np.bincount(which[which >= 0], minlength=len(sets)),
                                     strict=True):  # fmt: skip
                if count:
                    self.histogram[causes] += int(count)
            self.unexplained += int(np.count_nonzero(which < 0))

    def layer(self, name: str) -> LayerCauses:
        found = (self.local, self.propagated, self.histogram, self.unexplained, self.reason)
        return LayerCauses.joined([LayerCauses(name, *found)])
