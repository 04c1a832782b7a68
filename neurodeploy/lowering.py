"""What lowering has in common on every target: each population by itself, all refusals at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from neurodeploy.errors import NeurodeployError, combined
from neurodeploy.network import Network, Population
from neurodeploy.program import Lowering, Neurons, Program, Range, Synapses


@dataclass(frozen=True, eq=False)
class Placed:
    """One population on a chip's number grid, with the synapses that end at it."""

    neurons: Neurons
    synapses: tuple[Synapses, ...]
    notes: tuple[Lowering, ...]
    ranges: tuple[Range, ...]


def lower_each(
    network: Network,
    target: str,
    refused: Callable[[Population], Iterable[NeurodeployError]],
    place: Callable[[Population], Placed],
    problems: Iterable[NeurodeployError] = (),
) -> Program:
    """The program of all populations of `network` in their places.

    Parameters
    ----------
    refused: everything that keeps a population from being placed.
    place: puts a population of which nothing is refused on the grid; may raise as well.
    problems: what is wrong with the network as a whole.

    Raises
    ------
    NeurodeployError
        Everything that is refused or was raised, of all populations at once.
    """
    from neurodeploy.frontends.nir import plain  # so that targets can be had without nir

    found, placed = [*problems], []
    for population in network.populations:
        refusals = [*refused(population)]
        found += refusals
        if not refusals:
            try:
                placed.append(place(population))
            except NeurodeployError as error:
                found.append(error)
    if found:
        raise combined(found, "things")
    return Program(
        target=target,
        inputs=network.inputs,
        populations=tuple(item.neurons for item in placed),
        synapses=tuple(synapses for item in placed for synapses in item.synapses),
        outputs=network.outputs,
        graph=plain(network.graph),
        lowerings=tuple(note for item in placed for note in item.notes),
        ranges=tuple(bounds for item in placed for bounds in item.ranges),
    )
