"""`Program`: what one chip executes.  Integer parameters, self-contained, hashed, one file.

A program holds populations and synapses on the chip's number grid, the NIR graph it came from (so
that its reference can always be run), how each difference in semantics was lowered, what is proven
about number ranges, and golden traces: inputs with the spikes they must cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy import archive
from neurodeploy.errors import FileError, InputError, NeurodeployError
from neurodeploy.linear import Pair, Shape
from neurodeploy.network import InputPort
from neurodeploy.trace import Spikes

IntArray = NDArray[np.int64]
SynapseKind = Literal["dense", "conv2d", "one-to-one"]
How = Literal["exact", "approximate"]


@dataclass(frozen=True, eq=False)
class Synapses:
    """Integer synapses from `source` to `target`: activation = f(sum of weights, exponent).

    Attributes
    ----------
    weight: int64; `dense` (out, in) on C-order flattenings, `conv2d` (out channels, in channels /
        groups, kernel height, kernel width) in the sense of `torch.nn.Conv2d`, `one-to-one` (n,).
    exponent: power of two by which the chip scales the sum.
    in_shape, out_shape: shapes of source and target.
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

    @property
    def recurrent(self) -> bool:
        """Whether a population connects to itself."""
        return self.source == self.target


@dataclass(frozen=True, eq=False)
class Neurons:
    """One population on the chip.

    Attributes
    ----------
    depth: chip steps by which this population runs behind the input; it starts from its initial
        state at that step.
    parameters: the chip's registers by name, int64 arrays of size 1 or of the population's shape.
    unit: states (by name) -> chip units per model unit, per neuron or one; divides recorded states.
    """

    name: str
    shape: Shape
    depth: int
    parameters: Mapping[str, IntArray]
    unit: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


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
    """Inputs and the spikes that they must cause, uint8 (samples, steps, *shape)."""

    inputs: Mapping[str, Spikes]
    spikes: Mapping[str, Spikes]


@dataclass(frozen=True, eq=False)
class Program:
    """See the module's docstring.  `graph` is the NIR graph as plain data (`NIRGraph.to_dict`)."""

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
        for population in self.populations:
            if population.name == name:
                return population
        raise InputError(
            f"no population is called {name!r}",
            hint=f"There are: {', '.join(p.name for p in self.populations)}.",
        )

    def incoming(self, name: str) -> tuple[Synapses, ...]:
        """Synapses that end at population `name`."""
        return tuple(s for s in self.synapses if s.target == name)

    @property
    def hash(self) -> str:
        """SHA-256 of everything in it."""
        return archive.content_hash(_to_tree(self))

    def save(self, path: str | Path) -> str:
        """Write to one `.ndp` file, atomically; return the content hash."""
        return archive.save(path, _to_tree(self))

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """Read a `.ndp` file.

        Raises
        ------
        FileError
            Missing, truncated, altered, or not a program.
        """
        tree, _ = archive.load(path)
        try:
            return _from_tree(tree)
        except NeurodeployError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileError(
                f"the archive is not a program ({type(error).__name__}: {error})", node=str(path)
            ) from error

    def complete(self, golden: Golden, provenance: Mapping[str, str]) -> Program:
        """The same program with golden traces and where it comes from."""
        return replace(self, golden=golden, provenance=provenance)


def _to_tree(program: Program) -> dict[str, Any]:
    golden = program.golden
    return {
        "kind": "program",
        "target": program.target,
        "inputs": [vars(port) for port in program.inputs],
        "populations": [{**vars(p), "parameters": dict(p.parameters)} for p in program.populations],
        "synapses": [vars(s) for s in program.synapses],
        "outputs": program.outputs,
        "graph": program.graph,
        "lowerings": [vars(item) for item in program.lowerings],
        "ranges": [vars(item) for item in program.ranges],
        "golden": None
        if golden is None
        else {
            key: {name: _pack(array) for name, array in getattr(golden, key).items()}
            for key in ("inputs", "spikes")
        },
        "provenance": dict(program.provenance),
    }


def _pack(spikes: Spikes) -> dict[str, Any]:
    return {"shape": spikes.shape, "bits": np.packbits(spikes)}


def _unpack(packed: Mapping[str, Any]) -> Spikes:
    shape = tuple(int(n) for n in packed["shape"])
    count = math.prod(shape)
    bits = np.asarray(packed["bits"], dtype=np.uint8)
    if count < 0 or len(bits) != -(-count // 8):
        raise FileError(f"a golden trace of shape {shape} has {len(bits)} bytes")
    return np.unpackbits(bits, count=count).reshape(shape)


def _shaped(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with its lists turned back into tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def _from_tree(tree: Mapping[str, Any]) -> Program:
    if tree.get("kind") != "program":
        raise FileError(f"the archive holds a {tree.get('kind')!r}, not a program")
    golden = tree["golden"]
    program = Program(
        target=str(tree["target"]),
        inputs=tuple(InputPort(**_shaped(item)) for item in tree["inputs"]),
        populations=tuple(Neurons(**_shaped(item)) for item in tree["populations"]),
        synapses=tuple(Synapses(**_shaped(item)) for item in tree["synapses"]),
        outputs=tuple(tree["outputs"]),
        graph=tree["graph"],
        lowerings=tuple(Lowering(**item) for item in tree["lowerings"]),
        ranges=tuple(Range(**item) for item in tree["ranges"]),
        golden=None
        if golden is None
        else Golden(
            *({name: _unpack(p) for name, p in golden[key].items()} for key in ("inputs", "spikes"))
        ),
        provenance=tree["provenance"],
    )
    _check(program)
    return program


def _check(program: Program) -> None:
    """Names and shapes of a program that came from a file."""
    shapes = program.shapes
    for synapses in program.synapses:
        if (
            shapes.get(synapses.source) != synapses.in_shape
            or shapes.get(synapses.target) != synapses.out_shape
            or synapses.weight.dtype.kind != "i"
        ):
            raise FileError("its shapes do not fit its populations", node=synapses.name)
    for population in program.populations:
        for name, values in population.parameters.items():
            if values.dtype.kind != "i" or values.size not in (1, population.size):
                raise FileError(f"register {name} has shape {values.shape}", node=population.name)
    if not set(program.outputs) <= {p.name for p in program.populations}:
        raise FileError("an output is not a population")
