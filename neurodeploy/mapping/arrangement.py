"""Where cores should stand: a local search for few hops, and then for a quiet busiest link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from neurodeploy.linear import FloatArray
from neurodeploy.mapping.traffic import DIRECTIONS, Load
from neurodeploy.program import IntArray

LARGEST = 2700
"""Places among which cores are moved: memory grows with their square."""
SWEEPS = 40
LOOKS = 10**7
"""Packets between two cores whose routes may be followed to find quieter links: some seconds."""
LOOK = 1000
"""What following no routes costs, in the same unit."""


def arrange(packets: IntArray, places: IntArray, entry: tuple[int, int], seed: int = 0) -> IntArray:
    """Place of each core, int64 (cores,), so that packets cross few links.

    From the order given, every core in turn changes places with the core, or takes the empty place,
    that saves most packets times hops.  Where nobody gains, the cores whose packets cross the
    busiest link change places at equal hops if that link becomes less busy, or fewer links are as
    busy.  It ends when neither helps, or after `SWEEPS` rounds; among more than `LARGEST` places,
    nobody moves.  It is a local search: what it finds is no worse than the order given.
    Deterministic: seed 0 tries cores by number, another in an order drawn from it.

    Parameters
    ----------
    packets: see `packets_between`.
    places: (x, y) of every place's router, int64 (places, 2), as many as cores or more.
    """
    if len(places) > LARGEST:
        return np.arange(packets.shape[1])
    search = _Search(packets, places, entry)
    order = sorted(range(packets.shape[1]), key=_keys(seed))
    for _ in range(SWEEPS):
        if not search.shorten(order) and not search.relieve(order):
            break
    return search.place[: packets.shape[1]]


def _keys(seed: int) -> Callable[[int], float]:
    draw = Random(seed).random
    return float if seed == 0 else lambda _: draw()


class _Search:
    """Cores, and empty places as cores that send nothing, with what a change of places saves."""

    def __init__(self, packets: IntArray, places: IntArray, entry: tuple[int, int]) -> None:
        cores, size = packets.shape[1], len(places)
        self.places, self.entry = places, entry
        self.both = np.zeros((size, size))
        self.both[:cores, :cores] = packets[:cores] + packets[:cores].T
        np.fill_diagonal(self.both, 0)
        self.entering = np.zeros(size)
        self.entering[:cores] = packets[cores]
        self.place = np.arange(size)
        self.away = _distances(places, places)
        self.outside = _distances(places, np.array([entry]))[:, 0]
        self.cost = self.both @ self.away  # whole numbers: exact in any order
        self.sender, self.receiver = np.nonzero(packets)
        self.sent = packets[self.sender, self.receiver]
        self.sender[self.sender == cores] = size
        self.looks = LOOKS // (LOOK + len(self.sent))

    def shorten(self, order: Sequence[int]) -> bool:
        """Every core in turn makes the change that saves most; whether any did."""
        moved = False
        for i in order:
            saved = self._saved(i)
            j = int(saved.argmax())
            if saved[j] > 0:
                moved = True
                self._swap(i, j)
        return moved

    def relieve(self, order: Sequence[int]) -> bool:
        """Every core on the busiest link in turn makes a change at equal hops that relieves it."""
        moved = False
        busiest, involved = self._busiest()
        for i in order:
            if i not in involved:
                continue
            for j in np.flatnonzero((self._saved(i) == 0) & (self.away[i] > 0)).tolist():
                if self.looks == 0:
                    return moved
                self.looks -= 1
                self._exchange(i, j)
                now, then = self._busiest()
                self._exchange(i, j)
                if now < busiest:
                    self._swap(i, j)
                    busiest, involved, moved = now, then, True
                    break
        return moved

    def _saved(self, i: int) -> FloatArray:
        """Packets times hops that each change of i's place with another's saves.

        `cost[j, i]` is what the packets of core j would cost at the place of core i.
        """
        cost, own = self.cost, np.diag(self.cost)
        saved = own + own[i] - cost[i] - cost[:, i] - 2 * self.both[i] * self.away[i]
        saved += (self.entering[i] - self.entering) * (self.outside[i] - self.outside)
        return np.asarray(saved)

    def _exchange(self, i: int, j: int) -> None:
        self.place[[i, j]] = self.place[[j, i]]

    def _swap(self, i: int, j: int) -> None:
        self._exchange(i, j)
        self.outside[[i, j]] = self.outside[[j, i]]
        for of in (self.away, self.cost):
            of[:, [i, j]] = of[:, [j, i]]
        change = self.both[:, i] - self.both[:, j]
        partners = np.flatnonzero(change)
        self.cost[partners] += np.outer(change[partners], self.away[j] - self.away[i])
        self.away[[i, j]] = self.away[[j, i]]

    def _busiest(self) -> tuple[tuple[int, int], set[int]]:
        """Packets on the busiest link and how many links are as busy; cores that use the first."""
        tiles = self.places[self.place]
        load = Load(tiles, self.entry, 1)
        load.add(self.sender, self.receiver, self.sent[:, None])
        each = np.stack([one[0] for one in load.links().each])
        most = int(each.max())
        which, row, column = (int(n[0]) for n in np.nonzero(each == most))
        (x, y), (to_x, to_y) = load.places[self.sender].T, load.places[self.receiver].T
        crossing = {
            "east": (y == row) & (x <= column) & (column < to_x),
            "west": (y == row) & (to_x < column) & (column <= x),
            "north": (to_x == column) & (to_y < row) & (row <= y),
            "south": (to_x == column) & (y <= row) & (row < to_y),
        }[DIRECTIONS[which]]
        involved = {*self.sender[crossing].tolist(), *self.receiver[crossing].tolist()}
        return (most, int((each == most).sum())), involved


def _distances(a: IntArray, b: IntArray) -> FloatArray:
    """Hops from each of `a` to each of `b`."""
    return np.asarray(np.abs(a[:, None] - b[None]).sum(axis=2), np.float64)
