"""`Program`: what one chip executes.  Its own numbers, self-contained, hashed, one file.

A program holds populations and synapses on the chip's number grid, the NIR graph it came from (so
that its reference can always be run), how each difference in semantics was lowered, what is proven
about number ranges, golden traces (inputs with the spikes they must cause), and the core of each
neuron.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurodeploy import archive
from neurodeploy.errors import InputError
from neurodeploy.grid import Grid
from neurodeploy.linear import Conv2d, Dense, Pair, Shape
from neurodeploy.mapped import Mapped
from neurodeploy.network import Connection, InputPort, Readout
from neurodeploy.trace import Messages, check_names

IntArray = NDArray[np.int64]
Float32Array = NDArray[np.float32]
SynapseKind = Literal["dense", "conv2d", "one-to-one"]
How = Literal["exact", "approximate"]
POTENTIAL = "potential"
"""The recorded state that is a membrane potential as it is compared with the threshold."""


@dataclass(frozen=True, eq=False)
class Synapses:
    """Integer synapses from `source` to `target`: activation = f(sum of weights, exponent).

    Attributes
    ----------
    weight: int64; `dense` (out, in) on C-order flattenings, `conv2d` (out channels, in channels /
        groups, kernel height, kernel width) in the sense of `torch.nn.Conv2d`, `one-to-one` (n,).
    exponent: power of two by which the chip scales the sum.
    in_shape, out_shape: shapes of source and target.
    delay: int64, steps beyond the chip's own one; one value, or, of `dense` synapses, one for each,
        of the weight's shape.
    graded: a weight is multiplied with the message's value; otherwise every message that is not 0
        counts as one spike.
    port: which input of the target's neurons the activation reaches; see `Neurons.model`.
    """

    name: str
    source: str
    target: str
    kind: SynapseKind
    weight: IntArray
    exponent: int
    in_shape: Shape
    out_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    delay: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    graded: bool = False
    port: str = "current"

    @classmethod
    def of(
        cls,
        connection: Connection,
        op: Dense | Conv2d,
        weight: IntArray,
        exponent: int,
        shape: Shape,
    ) -> Synapses:
        """The synapses of `connection`, whose one map is `op`, to a population of `shape`."""
        geometry: dict[str, Any] = {}
        if isinstance(op, Conv2d):
            options = ("stride", "padding", "dilation", "groups")
            geometry = {option: getattr(op, option) for option in options}
        return cls(
            name=connection.name,
            source=connection.source,
            target=connection.target,
            kind="conv2d" if isinstance(op, Conv2d) else "dense",
            weight=weight,
            exponent=exponent,
            in_shape=op.in_shape,
            out_shape=shape,
            **geometry,
        )

    @property
    def recurrent(self) -> bool:
        """Whether a population connects to itself."""
        return self.source == self.target

    def convolution(self, weight: NDArray[Any]) -> Conv2d:
        """The map of `conv2d` synapses with these weights in place of their own, in float64."""
        geometry = self.stride, self.padding, self.dilation, self.groups
        return Conv2d(np.asarray(weight, np.float64), self.in_shape, *geometry)


@dataclass(frozen=True, eq=False)
class Neurons:
    """One population on the chip.

    Attributes
    ----------
    depth: chip steps by which this population runs behind the input; it starts from its initial
        state at that step.  What a population sends reaches one that is a step deeper in the same
        step of the model.  A connection between equal depths that goes forward has no chip step of
        its own and arrives at once; on Loihi it is one-to-one, of weight 1 and without delay.
    parameters: the chip's registers by name, arrays of size 1 or of the population's shape: int64,
        or float32 where the chip computes in it.
    unit: states (by name) -> chip units per model unit, per neuron or one; divides recorded states.
    model: the neurons' equations; the target says which it knows, their registers and their ports.
    graded: sends 32-bit integers, of which 0 is no message, instead of spikes.
    readout: what an output reads of it: its spikes, or its membrane potential.
    """

    name: str
    shape: Shape
    depth: int
    parameters: Mapping[str, NDArray[Any]]
    unit: NDArray[np.float64]
    model: str = "lif"
    graded: bool = False
    readout: Readout = "spikes"

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    def register(self, name: str) -> IntArray:
        """Values of an integer register; raises `InputError` where there is none of that name."""
        return np.asarray(self._values(name, np.int64))

    def float_register(self, name: str) -> Float32Array:
        """Values of a float32 register; raises `InputError` where there is none of that name."""
        return np.asarray(self._values(name, np.float32))

    def _values(self, name: str, dtype: type[np.generic]) -> NDArray[Any]:
        if name not in self.parameters:
            raise InputError(f"it has no register {name}", node=self.name)
        values = self.parameters[name]
        if values.dtype != dtype:
            expected = np.dtype(dtype)
            raise InputError(
                f"register {name} holds {values.dtype}, expected {expected}", node=self.name
            )
        return values


Number = TypeVar("Number", np.int64, np.float32, np.float64)


def compact(values: NDArray[Number]) -> NDArray[Number]:
    """One value instead of many equal ones, as registers and units are kept."""
    flat = values.reshape(-1)
    return flat[:1].copy() if np.all(flat == flat[0]) else values.copy()


@dataclass(frozen=True)
class Lowering:
    """How one difference between model and chip was lowered, and whether that is exact."""

    node: str
    subject: str
    how: How
    text: str


@dataclass(frozen=True)
class Range:
    """Bounds of one register of one population, in chip units, against the register's limits.

    `proven`: the bounds hold for every input, from the integer weights.  Otherwise they are the
    extremes seen on the calibration data.
    """

    node: str
    register: str
    low: float
    high: float
    limit_low: float
    limit_high: float
    proven: bool


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs and what they must make every population send, (samples, steps, *shape).

    Spikes are uint8; the messages of graded inputs and populations are int32, those of analog
    inputs as they are on their grid.
    """

    inputs: Mapping[str, Messages]
    spikes: Mapping[str, Messages]


@dataclass(frozen=True, eq=False)
class Program:
    """See the module's docstring.

    `graph` is the NIR graph as plain data (`NIRGraph.to_dict`), `semantics` what one step means on
    the chip, and `chip` its description, both as plain data of the time of compilation; `mapped` is
    None where nobody has put it on cores, as in what was read from another tool's file.
    """

    target: str
    inputs: tuple[InputPort, ...]
    populations: tuple[Neurons, ...]
    synapses: tuple[Synapses, ...]
    outputs: tuple[str, ...]
    graph: Mapping[str, Any] = field(repr=False)
    lowerings: tuple[Lowering, ...] = ()
    ranges: tuple[Range, ...] = ()
    golden: Golden | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    mapped: Mapped | None = None
    semantics: Mapping[str, Any] = field(default_factory=dict, repr=False)
    chip: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every input and population, in topological order."""
        nodes: tuple[InputPort | Neurons, ...] = (*self.inputs, *self.populations)
        return {node.name: node.shape for node in nodes}

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Shape of every input."""
        return {port.name: port.shape for port in self.inputs}

    @property
    def graded(self) -> frozenset[str]:
        """Inputs and populations that send integers."""
        nodes: tuple[InputPort | Neurons, ...] = (*self.inputs, *self.populations)
        return frozenset(node.name for node in nodes if node.graded)

    @property
    def grids(self) -> dict[str, Grid]:
        """Grids of the inputs that take analog values."""
        return {port.name: port.grid for port in self.inputs if port.grid is not None}

    @property
    def output(self) -> str:
        """The one output population.

        Raises
        ------
        InputError
            There are several.
        """
        if len(self.outputs) != 1:
            raise InputError(f"the program has {len(self.outputs)} outputs, expected one")
        return self.outputs[0]

    @property
    def depth(self) -> int:
        """Chip steps between an input and the last population's answer to it."""
        return max(population.depth for population in self.populations)

    def population(self, name: str) -> Neurons:
        """The population called `name`."""
        check_names([name], [population.name for population in self.populations])
        return next(population for population in self.populations if population.name == name)

    def incoming(self, name: str) -> tuple[Synapses, ...]:
        """Synapses that end at population `name`."""
        return tuple(s for s in self.synapses if s.target == name)

    @property
    def hash(self) -> str:
        """SHA-256 of everything in it."""
        return archive.content_hash(self._tree())

    def save(self, path: str | Path) -> str:
        """Write to one `.ndp` file, atomically; return the content hash."""
        return archive.save(path, self._tree())

    def to_bytes(self) -> bytes:
        """The bytes of the file that `save` writes."""
        return archive.to_bytes(self._tree(), "program")[0]

    def _tree(self) -> dict[str, Any]:
        from neurodeploy.program_file import to_tree

        return to_tree(self)

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """Read a `.ndp` file.

        Raises
        ------
        FileError
            Missing, truncated, altered, or not a program.
        """
        from neurodeploy.program_file import from_tree

        tree, _ = archive.load(path)
        return from_tree(tree, str(path))
