"""Chip steps: how far each population runs behind the input, and what waits on the way.

A synapse takes one chip step and, where it has a delay d, d more.  A population at depth k runs k
steps behind the input, so spikes that the model delays by D steps, from depth j to depth k, need

    d = D + k - j - s

with s = 1; s = 2 where a target puts neurons between that sum up, and 0 for an input that is the
bias of its target.

Depths are the least for which no d is negative: the longest paths.  A loop must therefore be
delayed by at least as many steps as it has synapses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from neurodeploy.errors import SemanticsError
from neurodeploy.network import Connection, Network

Steps = Mapping[str, int]
_ONE: Steps = MappingProxyType({})


def depths(network: Network, steps: Steps = _ONE) -> dict[str, int]:
    """Chip steps by which each input port (0) and population runs behind the input.

    `steps`: s by name of the connection, where it is not 1.  Loops must not be `closed_too_soon`.
    """
    return _relax(network, network.connections, steps)[0]


def closed_too_soon(network: Network, chip: str) -> Iterator[SemanticsError]:
    """Loops that the model passes in fewer steps than they have synapses; `chip` is its name."""
    connections = network.connections
    while cycle := _relax(network, connections)[1]:
        closing = [c for c in cycle if not _forward(network, c)]
        passed = sum(c.delay for c in cycle)
        yield SemanticsError(
            f"the loop {' -> '.join((cycle[0].source, *(c.target for c in cycle)))} has "
            f"{len(cycle)} synapses, each of which takes a step on {chip}, and takes {passed} "
            f"step{'s' * (passed != 1)} in the model",
            node=closing[0].name,
            hint="Let a population connect to itself, or delay this connection (NIR's Delay).",
        )
        connections = tuple(c for c in connections if c not in closing)


def _relax(
    network: Network, connections: tuple[Connection, ...], steps: Steps = _ONE
) -> tuple[dict[str, int], list[Connection]]:
    """Depths by Bellman and Ford, and a loop for which there are none."""
    depth = {port.name: 0 for port in network.inputs}
    depth |= {population.name: 1 for population in network.populations}
    depth |= {c.target: 0 for c in connections if steps.get(c.name) == 0}
    longest: dict[str, Connection] = {}  # the last connection of the longest path
    for _ in depth:
        late = ""
        for c in connections:
            # Forward a population is deeper: of equal depths, a connection would have no synapse.
            deep = depth[c.source] + steps.get(c.name, 1)
            deep -= 0 if _forward(network, c) else c.delay
            if depth[c.target] < deep:
                depth[c.target], longest[c.target], late = deep, c, c.target
        if not late:
            return depth, []
    for _ in depth:
        late = longest[late].source
    cycle = [longest[late]]
    while cycle[0].source != late:
        cycle.insert(0, longest[cycle[0].source])
    return depth, cycle


def _forward(network: Network, connection: Connection) -> bool:
    names = list(network.shapes)
    return names.index(connection.source) < names.index(connection.target)


def waiting(connection: Connection, depth: Mapping[str, int], steps: int = 1) -> int:
    """The delay d of a connection that takes `steps` of its own."""
    return connection.delay + depth[connection.target] - depth[connection.source] - steps
