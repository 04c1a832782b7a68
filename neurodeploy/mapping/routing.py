"""The network of routers: packets and hops that one spike costs, per source neuron."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodeploy.mapping.connectivity import reaching
from neurodeploy.mapping.placement import Placement
from neurodeploy.program import IntArray, Program


@dataclass(frozen=True, eq=False)
class Routes:
    """What one spike of each neuron of a source costs on the network of routers.

    Attributes
    ----------
    destinations: distinct cores that hold at least one reached neuron, int64 (source neurons,): the
        packets sent for one spike, whatever the number of connections that it serves.
    hops: tiles crossed by these packets, XY routing, int64 (source neurons,).
    """

    destinations: IntArray
    hops: IntArray


def routes(source: str, program: Program, placement: Placement) -> Routes:
    """Routes of the spikes of a population or input; see `Routes`.

    hops = sum over destination cores of |x - x_s| + |y - y_s|, tile coordinates.  Input spikes
    start at `placement.entry`.
    """
    size = math.prod(program.shapes[source])
    if source in placement.core:
        start = placement.tiles[placement.core[source]]
    else:
        start = np.broadcast_to(np.array(placement.entry), (size, 2))
    destinations, hops = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for target in dict.fromkeys(s.target for s in program.synapses if s.source == source):
        links = [s for s in program.incoming(target) if s.source == source]
        for core, reach in reaching(links, placement.core[target]):
            destinations[reach] += 1
            hops[reach] += np.abs(start[reach] - placement.tiles[core]).sum(axis=1)
    return Routes(destinations, hops)
