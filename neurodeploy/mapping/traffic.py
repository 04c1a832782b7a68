"""Packets between cores, and the links of the mesh that they cross.

Routes are XY: along the row of the sender to the column of the receiver, then along that column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.mapping.connectivity import reaching, summed
from neurodeploy.program import IntArray, Program

DIRECTIONS = ("east", "west", "north", "south")


def packets_between(
    program: Program, core: Mapping[str, IntArray], count: int, spikes: Mapping[str, IntArray]
) -> IntArray:
    """Packets from core to core: int64 (count + 1, count); the last row is from outside the mesh.

    Parameters
    ----------
    core: core of each neuron, by population; inputs too, where they occupy cores.
    count: number of cores.
    spikes: spikes of each neuron, int64 (neurons,), by population and input.  Each costs one packet
        for every core on which it reaches a synapse.
    """
    packets = np.zeros((count + 1, count), np.int64)
    one_sample = {name: sent[None] for name, sent in spikes.items()}
    for flow in flows(program, core, count, one_sample):
        packets[flow.senders, flow.receiver] += flow.packets[:, 0]
    return packets


@dataclass(frozen=True, eq=False)
class Flow:
    """Packets to one core.

    Attributes
    ----------
    receiver: the core.
    senders: cores, int64 (senders,), ascending; their number stands for outside the mesh.
    packets: int64 (senders, samples).
    """

    receiver: int
    senders: IntArray
    packets: IntArray


def flows(
    program: Program, core: Mapping[str, IntArray], count: int, spikes: Mapping[str, IntArray]
) -> Iterator[Flow]:
    """All packets of all samples, source by source and receiver by receiver.

    As `packets_between`, but spikes of each sample, int64 (samples, neurons).
    """
    for source, shape in program.shapes.items():
        sender = core.get(source, np.full(math.prod(shape), count))
        sent = np.ascontiguousarray(spikes[source].T)
        for target in dict.fromkeys(s.target for s in program.synapses if s.source == source):
            links = [s for s in program.incoming(target) if s.source == source]
            for one, reach in reaching(links, core[target]):
                if reach.size:
                    yield Flow(one, *summed(sent[reach], sender[reach]))


def expected_spikes(program: Program) -> dict[str, IntArray]:
    """Spikes of each neuron in the golden traces, int64 (neurons,); without these, one each."""
    golden = program.golden
    sent = {} if golden is None else {**golden.inputs, **golden.spikes}
    return {
        name: np.count_nonzero(sent[name], axis=(0, 1)).reshape(-1)
        if name in sent
        else np.ones(math.prod(shape), np.int64)
        for name, shape in program.shapes.items()
    }


@dataclass(frozen=True, eq=False)
class Links:
    """Packets on every link, int64 (rows, columns); [y, x] is the one that leaves router (x, y).

    Of several samples: int64 (samples, rows, columns).
    """

    east: IntArray
    west: IntArray
    north: IntArray
    south: IntArray

    @property
    def each(self) -> tuple[IntArray, ...]:
        """The four."""
        return (self.east, self.west, self.north, self.south)

    @property
    def busiest(self) -> int:
        """Most packets on any link."""
        return max(int(one.max()) for one in self.each)

    @property
    def hops(self) -> int:
        """Links crossed by all packets together."""
        return sum(int(one.sum()) for one in self.each)


def links(packets: IntArray, tiles: IntArray, entry: tuple[int, int]) -> Links:
    """What packets between cores make of the links, south being towards larger y.

    Parameters
    ----------
    packets: see `packets_between`.
    tiles: (x, y) of each core's router, int64 (cores, 2).
    entry: router at which packets from outside enter.
    """
    sender, receiver = np.nonzero(packets)
    load = Load(tiles, entry, 1)
    load.add(sender, receiver, packets[sender, receiver][:, None])
    return Links(*(one[0] for one in load.links().each))


class Load:
    """Links of a mesh, to which packets are added.

    A route is kept as +packets where it starts along a row or column and -packets behind its end,
    so that the links are running sums.
    """

    def __init__(self, tiles: IntArray, entry: tuple[int, int], samples: int) -> None:
        """Parameters: see `links`."""
        self.places = np.concatenate([tiles, np.array([entry])])
        self.columns, self.rows = (int(most) + 1 for most in self.places.max(axis=0))
        shape = (self.rows + 1, self.columns + 1, samples)
        self.changes = {name: np.zeros(shape, np.int64) for name in DIRECTIONS}

    def add(self, sender: IntArray, receiver: IntArray, packets: IntArray) -> None:
        """Packets int64 (pairs, samples) between cores int64 (pairs,)."""
        (x, y), (to_x, to_y) = self.places[sender].T, self.places[receiver].T
        for name, which, start, end in (
            ("east", x < to_x, (y, x), (y, to_x)),
            ("west", x > to_x, (y, to_x + 1), (y, x + 1)),
            ("south", y < to_y, (y, to_x), (to_y, to_x)),
            ("north", y > to_y, (to_y + 1, to_x), (y + 1, to_x)),
        ):
            for (row, column), sign in ((start, 1), (end, -1)):
                place = (row[which], column[which])
                np.add.at(self.changes[name], place, sign * packets[which])

    def links(self) -> Links:
        """Packets on every link, of every sample."""
        found = {}
        for name, change in self.changes.items():
            along = 1 if name in ("east", "west") else 0
            sums = change.cumsum(axis=along)[: self.rows, : self.columns]
            found[name] = np.moveaxis(sums, 2, 0)
        return Links(**found)
