"""What lowering has in common on every target: each population by itself, all refusals at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

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


def raised(
    network: Network,
    program: Program,
    factor: Callable[[Synapses], float],
    biased: Callable[[Population, Neurons], Population],
) -> Network:
    """`network` with the weights and biases that `program`, which was lowered from it, has now.

    Parameters
    ----------
    factor: chip units of the target's state per unit of a weight.
    biased: a population with the bias that the chip's registers say.

    Raises
    ------
    ModelError
        Synapses that were joined, or are of another form than the network's connection, so that
        these are not its weights.
    """
    populations = tuple(biased(p, program.population(p.name)) for p in network.populations)
    connections = tuple(_raised(c, program, factor) for c in network.connections)
    return replace(network, populations=populations, connections=connections)


def _raised(
    connection: Connection, program: Program, factor: Callable[[Synapses], float]
) -> Connection:
    op = only_map(connection)
    neurons = program.population(connection.target)
    found = [
        synapses
        for synapses in program.incoming(connection.target)
        if synapses.name in (connection.name, f"{connection.name} {synapses.port}")
    ]
    if any(s.port == "bias" for s in found):
        return connection
    same = [s for s in found if s.weight.shape == op.weight.shape]
    if not found or len(same) < len(found):
        raise ModelError(
            "its synapses on the chip are not the weights of this one connection",
            node=connection.name,
            hint="Fine-tune without delays that join connections, analog convolutions, groups and "
            "dilation.",
        )
    rows = np.broadcast_to(neurons.unit, neurons.shape).reshape(len(op.weight), -1)[:, 0]
    weight = sum(s.weight * (factor(s) * (-1 if s.port == "inhibitory" else 1)) for s in found)
    unit = rows.reshape(-1, *(1,) * (op.weight.ndim - 1))
    return replace(connection, ops=(replace(op, weight=np.asarray(weight) / unit),))
