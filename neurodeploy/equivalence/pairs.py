"""Some neurons in some samples: what arrives there, what they do, what restores their spikes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.equivalence.deviations import (
    IN_CURRENTS,
    Cause,
    Causes,
    Resets,
    margin,
    present,
    resets,
    subsets_of,
    undone,
)
from neurodeploy.equivalence.dynamics import Dynamics, potentials, spikes
from neurodeploy.equivalence.incoming import BLOCK_VALUES, Arrival, Incoming, Weights
from neurodeploy.grid import TOLERANCE
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network, Population
from neurodeploy.program import IntArray, Program
from neurodeploy.trace import Messages, Trace


@dataclass(frozen=True, eq=False)
class Runs:
    """A run of a network, and the program that stands beside it.

    Attributes
    ----------
    given: inputs as the network got them.
    sent: inputs as the program got them: on their grids.
    expected: the network's spikes.
    """

    program: Program
    network: Network
    given: Mapping[str, NDArray[Any]]
    sent: Mapping[str, Messages]
    expected: Trace


@dataclass(frozen=True, eq=False)
class Judge:
    """One population: chip and model of all its neurons."""

    of: Runs
    population: Population
    chip: Dynamics
    model: Dynamics
    arriving: Incoming
    unit: FloatArray

    @functools.cached_property
    def differences(self) -> Causes:
        """In what chip and model differ, in any neuron."""
        return present(self.chip, self.model)

    @functools.cached_property
    def resets(self) -> Resets:
        """How their resets differ."""
        return resets(self.chip, self.model)

    def pairs(self, sample: IntArray, neuron: IntArray) -> Pairs:
        """Some of its neurons, each in one sample."""
        sent = _flat(self.of.expected.spikes[self.population.name])[sample, :, neuron]
        return Pairs(
            self.chip.of(neuron),
            self.model.of(neuron),
            self.resets.of(neuron),
            np.asarray(sent.T, np.float64),
            self.unit[neuron],
            Currents(self, sample, neuron),
        )


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a sample and a neuron; `history`: the reference's spikes, (steps, pairs)."""

    chip: Dynamics
    model: Dynamics
    resets: Resets
    history: FloatArray
    unit: FloatArray
    currents: Currents

    def potential(self, causes: Causes) -> FloatArray:
        """In chip units, (steps, pairs), with `causes` undone."""
        dynamics = undone(self.chip, self.model, self.resets, causes)
        return potentials(dynamics, self.currents.of(causes, dynamics.signed), self.history)

    def only(self, kept: IntArray) -> Pairs:
        """Some of these pairs, by their places."""
        currents = self.currents
        sample, neuron = currents.sample[kept], currents.neuron[kept]
        return Pairs(
            self.chip.of(kept),
            self.model.of(kept),
            self.resets.of(kept),
            self.history[:, kept],
            self.unit[kept],
            Currents(currents.judge, sample, neuron),
        )


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of some pairs: (`step`, `pair`), each int64 (cells,)."""

    pairs: Pairs
    pair: IntArray
    step: IntArray

    @property
    def meant(self) -> FloatArray:
        """The model's potential, (cells,), in chip units."""
        pairs = self.pairs
        potential = potentials(pairs.model, pairs.currents.meant, pairs.history)
        return np.asarray(potential[self.step, self.pair])

    def margin(self, potential: FloatArray) -> FloatArray:
        """See `deviations.margin`."""
        expected = self.pairs.history[self.step, self.pair]
        return margin(self.pairs.model.of(self.pair), potential, expected)

    def decided(self, causes: Causes) -> tuple[NDArray[np.bool_], FloatArray]:
        """Which cells have the reference's spikes with `causes` undone, and their potentials."""
        pairs = self.pairs
        potential = pairs.potential(causes)[self.step, self.pair]
        dynamics = undone(pairs.chip, pairs.model, pairs.resets, causes).of(self.pair)
        return spikes(dynamics, potential) == pairs.history[self.step, self.pair], potential

    @property
    def differences(self) -> Causes:
        """All in which chip and model differ there, or anywhere in the population.

        What is left out is what arrives at these pairs as it is: undoing that changes no bit, and a
        smallest set holds nothing of the kind.  So other pairs beside these change no answer.
        """
        return self.pairs.currents.judge.differences | self.pairs.currents.present

    def only(self, wanted: NDArray[np.bool_]) -> Cells:
        """Some of these cells, and no more pairs than they need."""
        kept, pair = np.unique(self.pair[wanted], return_inverse=True)
        return Cells(self.pairs.only(kept), pair, self.step[wanted])

    def explained(self) -> tuple[tuple[Causes, ...], IntArray]:
        """(sets, which of them it is for each cell; -1 for none).

        The smallest set that restores a cell, of equally small ones that of the largest margin, of
        these the first.  Larger sets are tried only for cells that no smaller one restores.
        """
        sets: list[Causes] = []
        which = np.full(len(self.step), -1)
        left, places = self, np.arange(len(self.step))
        for size in range(1, len(self.differences) + 1):
            if not len(places):
                break
            best, chosen = np.full(len(places), -np.inf), np.full(len(places), -1)
            for subset in subsets_of(self.differences, size):
                restored, potential = left.decided(subset)
                inside = left.margin(potential)
                better = restored & ((chosen < 0) | (inside > best))
                best[better], chosen[better] = inside[better], len(sets)
                sets.append(subset)
            which[places], still = chosen, chosen < 0
            left, places = left.only(still), places[still]
        return tuple(sets), which

    def others(self, causes: Causes) -> tuple[Causes, ...]:
        """Other sets of that size that restore the one cell that these are, best first."""
        found = []
        for subset in subsets_of(self.differences, len(causes)):
            restored, potential = self.decided(subset)
            if restored[0] and subset != causes:
                found.append((-float(self.margin(potential)[0]), subset))
        return tuple(subset for _, subset in sorted(found, key=lambda item: item[0]))


class Currents:
    """What arrives at pairs of a sample and a neuron, with this or that undone."""

    def __init__(self, judge: Judge, sample: IntArray, neuron: IntArray) -> None:
        self.judge, self.sample, self.neuron = judge, sample, neuron
        self.steps = judge.of.expected.steps
        self.known: dict[tuple[Causes, bool, bool], tuple[FloatArray, ...]] = {}
        self.present = frozenset(
            cause for arrival in judge.arriving.arrivals for cause in self._causes(arrival)
        )

    def of(self, causes: Causes, signed: bool) -> tuple[FloatArray, ...]:
        """(steps, pairs), in chip units; where `signed`, excitatory and inhibitory magnitudes."""
        floors = Cause.STATE_TRUNCATION not in causes
        key = (causes & self.present, signed, floors and self._floored)
        if key not in self.known:
            self.known[key] = self._sum(*key)
        return self.known[key]

    @property
    def meant(self) -> tuple[FloatArray, ...]:
        """What arrives in the model."""
        return self._sum(IN_CURRENTS, False, False)

    @property
    def _floored(self) -> bool:
        return any(p.floor for a in self.judge.arriving.arrivals for p in a.paths)

    def _sum(self, causes: Causes, signed: bool, floors: bool) -> tuple[FloatArray, ...]:
        signs = (1, -1) if signed else (0,)
        totals = tuple(np.zeros((self.steps, len(self.neuron))) for _ in signs)
        for arrival in self.judge.arriving.arrivals:
            delay = arrival.meant if Cause.DELAY in causes else arrival.delay
            if delay >= self.steps:
                continue
            for sign, total in zip(signs, totals, strict=True):
                total[delay:] += self._one(arrival, causes, sign, floors)[: self.steps - delay]
        return totals

    def _one(self, arrival: Arrival, causes: Causes, sign: int, floors: bool) -> FloatArray:
        """What comes from one source, by the step in which it was sent."""
        signal = self._signal(arrival, exact=Cause.INPUT_QUANTISATION in causes)
        found = np.zeros((self.steps, len(self.neuron)))
        for weights, places in self._weights(arrival):
            mixed = weights.mixed(
                rounding=Cause.WEIGHT_ROUNDING in causes, clipping=Cause.WEIGHT_CLIPPING in causes
            )
            for row, pairs in zip(mixed, places, strict=True):
                used = np.maximum(sign * row, 0) if sign else row
                lanes = np.flatnonzero(used)
                part = signal[self.sample[pairs]]
                part = part if len(lanes) == part.shape[2] else part[:, :, lanes]
                sums = part.astype(np.float64) @ used[lanes]
                if floors and weights.floor:
                    sums = np.floor(sums / weights.floor) * weights.floor
                found[:, pairs] = sums.T
        return found

    def _signal(self, arrival: Arrival, *, exact: bool) -> NDArray[Any]:
        """What a source sends in the reference's run: (samples, steps, neurons)."""
        of, name = self.judge.of, arrival.source
        if name not in of.given:
            return _flat(of.expected.spikes[name])
        if name not in of.program.grids:
            return _flat(of.given[name])
        sent = _flat(of.sent[name])
        if not exact:
            return sent
        given = _flat(of.given[name] / arrival.step)
        return np.where(np.abs(given - sent) > TOLERANCE * np.abs(sent), given, sent)

    def _weights(self, arrival: Arrival) -> Iterator[tuple[Weights, list[slice]]]:
        """Weights of some neurons after others, and where their pairs are: these are by neuron."""
        neurons, starts = np.unique(self.neuron, return_index=True)
        places = [slice(*ends) for ends in pairwise((*starts.tolist(), len(self.neuron)))]
        shape = self.judge.of.network.shapes[arrival.source]
        size = max(1, BLOCK_VALUES // int(np.prod(shape)))
        for first in range(0, len(neurons), size):
            block = neurons[first : first + size]
            yield arrival.weights(block, self.judge.unit[block]), places[first : first + size]

    def _causes(self, arrival: Arrival) -> Iterator[Cause]:
        if arrival.delay != arrival.meant:
            yield Cause.DELAY
        for weights, _ in self._weights(arrival):
            differs = weights.chip != weights.model
            if np.any(differs & weights.clipped):
                yield Cause.WEIGHT_CLIPPING
            if np.any(differs & ~weights.clipped):
                yield Cause.WEIGHT_ROUNDING
        if arrival.source in self.judge.of.program.grids:
            samples = np.unique(self.sample)
            exact, sent = (self._signal(arrival, exact=e)[samples] for e in (True, False))
            if np.any(exact != sent):
                yield Cause.INPUT_QUANTISATION


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """(samples, steps, neurons)."""
    return values.reshape(*values.shape[:2], -1)
