"""`Network`: the meaning of a model, a typed, shape-checked, discrete-time graph.

Populations of leaky integrate-and-fire neurons, joined by connections.  A connection is a chain of
bias-free linear maps; constant currents (biases) belong to the population that they drive.  All
arrays are float64 and of the population's full shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.grid import Grid
from neurodeploy.linear import FloatArray, LinearMap, Shape
from neurodeploy.semantics import Semantics

if TYPE_CHECKING:
    import nir


@dataclass(frozen=True)
class InputPort:
    """Where spikes enter, or integers if `graded`: (name, shape without batch and time).

    `grid`: of a program's graded input, which analog values its integers stand for.
    """

    name: str
    shape: Shape
    graded: bool = False
    grid: Grid | None = None


Readout = Literal["spikes", "membrane"]


@dataclass(frozen=True, eq=False)
class Population:
    r"""Leaky integrate-and-fire neurons, spiking at :math:`\theta`.

    The synaptic current is :math:`i = \alpha i + x + b`, the potential :math:`v = \beta v + i + l`;
    without a current filter, :math:`\alpha = 0`, v takes the input directly.  Where all thresholds
    are infinite, the population never spikes and sends its potential.

    Attributes
    ----------
    current_decay: α per neuron, in [0, 1].
    decay: β per neuron, in [0, 1].
    threshold: θ per neuron; all positive, or all infinite.
    bias: constant input b per neuron and step.
    semantics: what a step means (see `Semantics` for the reset equations).
    readout: what an output of the network reads of it.
    leak: constant input l of the potential, past the synaptic current; None is 0.
    """

    name: str
    shape: Shape
    current_decay: FloatArray
    decay: FloatArray
    threshold: FloatArray
    bias: FloatArray
    semantics: Semantics
    readout: Readout = "spikes"
    leak: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("current_decay", "decay", "threshold", "bias", "leak"):
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != self.shape:
                raise ModelError(
                    f"{name} has shape {array.shape}, the population {self.shape}", node=self.name
                )
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad and (name != "threshold" or self.spiking):
                raise ModelError(
                    f"{bad} of {array.size} values of {name} are not finite", node=self.name
                )
        for name in ("current_decay", "decay"):
            array = getattr(self, name)
            if array.size and (array.min() < 0 or array.max() > 1):
                raise ModelError(
                    f"{name} spans {array.min():g}..{array.max():g}, expected 0..1", node=self.name
                )
        if self.threshold.size and self.threshold.min() <= 0:
            raise ModelError(
                f"the lowest threshold is {self.threshold.min():g}, expected a positive one",
                node=self.name,
            )
        if not self.spiking and (self.readout, self.semantics.reset) != ("membrane", "none"):
            raise ModelError(
                "neurons without a threshold neither send spikes nor reset", node=self.name
            )

    @property
    def spiking(self) -> bool:
        """Whether the neurons have thresholds."""
        return not bool(np.all(self.threshold == np.inf))

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Connection:
    """Synapses from `source` (a population or input port) to `target`: `ops` applied in order.

    A spike arrives `delay` steps later.  Connections that close a cycle have a delay of at least 1.
    """

    source: str
    target: str
    ops: tuple[LinearMap, ...]
    path: int = 1
    """Counts connections between the same two nodes."""
    delay: int = 0

    @property
    def name(self) -> str:
        """`source->target`, with `#2` and so on where there are several."""
        name = f"{self.source}->{self.target}"
        return name if self.path == 1 else f"{name}#{self.path}"

    def apply(self, x: FloatArray) -> FloatArray:
        """Currents (..., *target shape) caused by spikes (..., *source shape)."""
        for op in self.ops:
            x = op.apply(x)
        return x


@dataclass(frozen=True, eq=False)
class Network:
    """Inputs, populations in topological order, and connections; valid by construction.

    Attributes
    ----------
    outputs: names of the populations whose spikes or potentials (`readout`) leave the network.
    graph: the NIR graph it was loaded from, with semantics in its metadata.

    Raises
    ------
    ModelError
        Duplicate or unknown names, shapes that do not fit, or an order that is not topological.
    """

    inputs: tuple[InputPort, ...]
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    outputs: tuple[str, ...]
    graph: nir.NIRGraph = field(repr=False)

    def __post_init__(self) -> None:
        shapes = self.shapes
        if len(shapes) != len(self.inputs) + len(self.populations):
            raise ModelError("two nodes of the network have the same name")
        if not self.populations:
            raise ModelError("the network has no neurons", hint="Add at least one LIF population.")
        if not self.outputs:
            raise ModelError("no population reaches an output")
        order = {name: index for index, name in enumerate(shapes)}
        for connection in self.connections:
            self._check(connection, shapes)
            if connection.delay < (order[connection.source] >= order[connection.target]):
                raise ModelError("goes backwards without a delay", node=connection.name)
        for name in self.outputs:
            if name not in {population.name for population in self.populations}:
                raise ModelError("an output must be a population", node=name)

    @staticmethod
    def _check(connection: Connection, shapes: Mapping[str, Shape]) -> None:
        for name in (connection.source, connection.target):
            if name not in shapes:
                raise ModelError(f"unknown node {name!r}", node=connection.name)
        shape = shapes[connection.source]
        for op in connection.ops:
            if op.in_shape != shape:
                raise ModelError(
                    f"{type(op).__name__} expects {op.in_shape} and gets {shape}",
                    node=connection.name,
                )
            shape = op.out_shape
        if shape != shapes[connection.target]:
            raise ModelError(
                f"delivers {shape} to a population of shape {shapes[connection.target]}",
                node=connection.name,
            )

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every input port and population, in topological order."""
        nodes: tuple[InputPort | Population, ...] = (*self.inputs, *self.populations)
        return {node.name: node.shape for node in nodes}

    def incoming(self, name: str) -> tuple[Connection, ...]:
        """Connections that end at `name`."""
        return tuple(c for c in self.connections if c.target == name)

    @property
    def groups(self) -> tuple[tuple[Population, ...], ...]:
        """Populations cut, in order, into the shortest runs that no cycle leaves."""
        place = {population.name: index for index, population in enumerate(self.populations)}
        edges = [(place[c.source], place[c.target]) for c in self.connections if c.source in place]
        return runs(self.populations, edges)

    @property
    def depths(self) -> dict[str, int]:
        """Most undelayed connections between an input and each node; inputs have depth 0."""
        depths = {port.name: 0 for port in self.inputs}
        for population in self.populations:
            sources = [depths[c.source] for c in self.incoming(population.name) if not c.delay]
            depths[population.name] = 1 + max(sources, default=0)
        return depths


Item = TypeVar("Item")


def runs(items: Sequence[Item], edges: Iterable[tuple[int, int]]) -> tuple[tuple[Item, ...], ...]:
    """`items` cut, in order, into the shortest runs that no cycle leaves.

    `edges` are (source, target), places among the items; those that go backwards close cycles.
    """
    together = set[int]()  # an item that belongs to the run of the one before it
    for source, target in edges:
        together.update(range(target + 1, source + 1))
    found: list[list[Item]] = []
    for index, item in enumerate(items):
        if index in together:
            found[-1].append(item)
        else:
            found.append([item])
    return tuple(map(tuple, found))
