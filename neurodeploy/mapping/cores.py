"""What the mapping has to know of a chip: how a core stores neurons, and how populations are cut.

The chip's formulae stand with its target; the search for a cut, the placement and the tables are
the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from neurodeploy.chip import Chip
from neurodeploy.program import IntArray, Neurons, Synapses

INPUT = "input"
"""The model of an input that occupies cores."""

Meter = Callable[[IntArray], Mapping[str, IntArray]]
"""From the core of each neuron, int64 (neurons,), to what each core uses, int64 (cores,), by the
name of the limit in the chip file."""


@dataclass(frozen=True)
class Bound:
    """A limit of one core.

    Attributes
    ----------
    limit: its name in the chip file.
    title: the resource, for people.
    summed: whether a population's use is the sum over its cores; otherwise that of its busiest.
    fix: what to do where the finest cut of a population is beyond the limit; `{share}` stands for
        the limit over what was measured.
    """

    limit: str
    title: str
    summed: bool
    fix: str


@dataclass(frozen=True)
class Cuts:
    """Ever finer ways to cut a population.

    Attributes
    ----------
    blocks: cut n has at most n times as many cores.
    most: the finest is cut `most`.
    cut: from n in 1..most to the core of each neuron, int64 (neurons,) in C order, counted from 0.
        The search takes for granted that what fits in cut n fits in cut n + 1.
    """

    blocks: int
    most: int
    cut: Callable[[int], IntArray]


class Cores(Protocol):
    """The cores of one chip, as one program uses them."""

    @property
    def chip(self) -> Chip:
        """The chip file."""

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Every limit of a core."""

    @property
    def hosts_inputs(self) -> bool:
        """Whether inputs occupy cores too, as populations of the model `INPUT`."""

    @property
    def barrier(self) -> bool:
        """Whether all cores wait for each other in every step."""

    @property
    def movable(self) -> bool:
        """Whether it is for us to say where on the chip each core of a program is."""

    @property
    def positions(self) -> IntArray:
        """(x, y) of the router of each core of a chip, int64 (cores, 2), in the order of use."""

    def meter(self, population: Neurons, incoming: tuple[Synapses, ...]) -> Meter:
        """What cores use of everything that is bounded, for any cut of `population`.

        Raises `InputError` where the population lacks what the chip needs.
        """

    def cuts(self, population: Neurons) -> Iterator[Cuts]:
        """Ways to cut it, the coarsest first: with ascending `blocks`."""

    def finest(self, population: Neurons) -> IntArray:
        """The finest cut of all: if that does not fit, none does."""
