"""What lowering has in common on every target: each population by itself, all refusals at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from neurodeploy.errors import ModelError, NeurodeployError, combined
from neurodeploy.linear import Conv2d, Dense
from neurodeploy.network import Connection, Network, Population
from neurodeploy.program import IntArray, Lowering, Neurons, Program, Range, Synapses


@dataclass(frozen=True, eq=False)
class Placed:
    """One population on a chip's number grid, with the synapses that end at it."""

    neurons: Neurons
    synapses: tuple[Synapses, ...]
    notes: tuple[Lowering, ...]
    ranges: tuple[Range, ...]


def only_map(connection: Connection) -> Dense | Conv2d:
    """The one map of a connection; raises `ModelError` where chips have no synapses for it."""
    (op,) = connection.ops
    if not isinstance(op, (Dense, Conv2d)):
        raise ModelError("is neither dense nor a convolution", node=connection.name)
    return op


def self_synapses(
    population: Population, weights: Iterable[tuple[IntArray, int]], loops: int
) -> list[Synapses]:
    """From each neuron to itself, beside the `loops` of the model; (weight, exponent) of each."""
    name = f"{population.name}->{population.name}"
    return [
        Synapses(
            name=name if path == 1 else f"{name}#{path}",
            source=population.name,
            target=population.name,
            kind="one-to-one",
            weight=weight,
            exponent=exponent,
            in_shape=population.shape,
            out_shape=population.shape,
        )
        for path, (weight, exponent) in enumerate(weights, 1 + loops)
    ]


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
