"""lava-dl in: the `.net` files that SLAYER exports (`block.export_hdf5`), as NIR graphs.

Sources: lava-nc/lava-dl 0.6.0, `src/lava/lib/dl/slayer/block/base.py` (each block's `forward` says
what a layer means, its `export_hdf5` which fields say so) and `netx/hdf5.py` (which of them Lava's
own reader takes); docs/lava_dl.md lists where these two part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import nir
import numpy as np

from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.frontends._lava_dl_fields import MAX_SIZE, Fields, IntArray, layers
from neurodeploy.frontends._lava_dl_neurons import DT, SEMANTICS, read_cuba, spread
from neurodeploy.frontends._lava_dl_synapses import (
    BIASES,
    MAX_DELAY,
    WEIGHTS,
    Geometry,
    biased,
    convolution,
    kernel,
    matrix,
    pooling,
)
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.linear import Shape
from neurodeploy.semantics import to_metadata

WEIGHT_ONE = 64
"""The integer that means a weight of 1 in SLAYER (`w_scale`)."""
UNSUPPORTED = {
    "convT": ("a transposed convolution", "Train with Conv blocks."),
    "unpool": ("an unpooling", "Train with Conv blocks."),
    "average": (
        "an average over neurons or over time, which lava-dl would write alike",
        "Leave the block out and average the output.",
    ),
    "concat": ("a concatenation, which no block of lava-dl writes", "Train one chain of blocks."),
    "dense_comp": ("complex weights", "Train with slayer.block.cuba.Dense."),
}


def read_net(path: str | Path, input_shape: Shape | None = None) -> nir.NIRGraph:
    """Read a `.net` file: a chain of layers of CUBA neurons.

    Weights, biases and thresholds are the file's own integers, which share one unit.  The step
    between one block and the next, which SLAYER calls `delay_shift`, is latency and is left out.

    Parameters
    ----------
    input_shape: (channels, height, width) or (n,), for files whose layers do not tell.

    Returns
    -------
    nir.NIRGraph
        Neurons `layer0`, `layer1`, ... by the numbers of their layers, with their semantics in the
        metadata; their synapses are `layer0.weight` and so on.

    Raises
    ------
    FileError
        The file is missing, no complete HDF5, too large or refers outside itself; or a field of a
        layer is missing or impossible.
    ModelError
        A layer, neuron model or option that has no exact meaning here, with what to do instead.
    InputError
        `input_shape` is no shape, or not the one in the file.
    """
    path = Path(path)
    check_hdf5(path)
    chain = _Chain(_checked(input_shape))
    try:
        with h5py.File(path, "r") as file:
            for fields in layers(file, str(path)):
                chain.add(fields)
    except OSError as error:
        raise FileError("not a complete HDF5 file", node=str(path), hint=f"({error})") from error
    return chain.graph(str(path))


def _checked(shape: Shape | None) -> Shape | None:
    if shape is None:
        return None
    sizes = tuple(int(n) for n in shape)
    if not sizes or min(sizes) < 1 or math.prod(sizes) > MAX_SIZE:
        raise InputError(f"input_shape is {shape}, expected positive sizes of at most {MAX_SIZE}")
    return sizes


class _Chain:
    """A graph that grows layer by layer; `last` delivers arrays of `shape`."""

    def __init__(self, given: Shape | None) -> None:
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.last = "input"
        self.given = given
        self.shape: Shape = ()

    def graph(self, path: str) -> nir.NIRGraph:
        """The finished graph."""
        if not self.edges:
            raise ModelError("holds no layer with synapses or neurons", node=path)
        self._append("output", nir.Output({"output": np.array(self.shape)}), self.shape)
        return nir.NIRGraph(self.nodes, self.edges, type_check=False)

    def add(self, fields: Fields) -> None:
        """One more layer; see `read_net` for what it raises."""
        kind = fields.text("type")
        readers: Mapping[str, Callable[[Fields], None]] = {
            "input": self._input,
            "dense": self._dense,
            "dense_rec": self._dense,
            "conv": self._conv,
            "pool": self._pool,
            "flatten": self._flatten,
        }
        if kind not in readers:
            what, hint = UNSUPPORTED.get(
                kind, ("no block of lava-dl writes it", f"The types are {', '.join(readers)}.")
            )
            message = f"layers of type {kind!r} are not supported: {what}"
            raise ModelError(message, node=fields.node, hint=hint)
        readers[kind](fields)
        fields.finish()

    def _append(self, name: str, node: nir.NIRNode, shape: Shape) -> None:
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.last, self.shape = name, shape

    def _start(self, shape: Shape) -> None:
        if self.given not in (None, shape):
            raise InputError(f"input_shape is {self.given}, the file says {shape}")
        self.shape = shape
        self.nodes["input"] = nir.Input({"input": np.array(shape)})

    # Layers

    def _input(self, fields: Fields) -> None:
        if self.nodes:
            raise ModelError("an input after other layers", node=fields.node)
        self._start(fields.shape("shape"))
        if "neuron" not in fields:
            return
        cuba = read_cuba(fields.group("neuron"), self.shape[0])
        gain = fields.integer("weight", *WEIGHTS, default=WEIGHT_ONE)
        bias = fields.per_channel("bias", 1, *BIASES, default=0)
        if np.any(bias) and cuba.filtered:
            raise ModelError(
                "a bias of input neurons with a synaptic current: SLAYER filters it, NetX does not",
                node=fields.node,
                hint="Train the input block with current_decay=1, or without bias.",
            )
        name = _name(fields)
        scale = nir.Scale(np.full(self.shape, float(gain)))
        self._append(f"{name}.weight", scale, self.shape)
        self._append(name, cuba.node(self.shape, bias, fields.node), self.shape)

    def _dense(self, fields: Fields) -> None:
        size = math.prod(fields.shape("shape"))
        weight = matrix(fields, "weight", size)
        fields.agree("inFeatures", weight.shape[1])
        fields.agree("outFeatures", size)
        if not self.nodes:
            self._start(self.given or (weight.shape[1],))
        if math.prod(self.shape) != weight.shape[1] or math.prod(self.shape[1:]) != 1:
            raise ModelError(
                f"weights for {weight.shape[1]} inputs meet an input of shape {self.shape}",
                node=fields.node,
                hint="A flatten layer belongs between images and dense layers.",
            )
        self._flat()
        recurrent = fields.text("type") == "dense_rec"
        loop = matrix(fields, "weight_rec", size) if recurrent else None
        if loop is not None and loop.shape != (size, size):
            raise fields.error("weight_rec", f"has shape {loop.shape}, expected {(size, size)}")
        self._block(fields, nir.Linear(weight.astype(np.float32)), (size,), loop)

    def _conv(self, fields: Fields) -> None:
        weight, geometry = kernel(fields), Geometry.read(fields)
        groups = fields.integer("groups", 1, MAX_SIZE)
        channels = weight.shape[1] * groups
        fields.agree("inChannels", channels)
        fields.agree("outChannels", len(weight))
        if not self.nodes:
            out = fields.shape("shape")
            sizes = geometry.input_sizes(weight.shape[2:], out[1:]) if len(out) == 3 else None
            self._start(self.given or _stated(sizes and (channels, *sizes), fields))
        node = convolution(fields, weight, self.shape, geometry, groups)
        self._block(fields, node, _shape_of(node), None)

    def _pool(self, fields: Fields) -> None:
        if not self.nodes:
            self._start(_stated(self.given, fields))
        node = pooling(fields, self.shape, Geometry.read(fields))
        self._block(fields, node, _shape_of(node), None)

    def _flatten(self, fields: Fields) -> None:
        size = math.prod(fields.shape("shape"))
        if not self.nodes:
            self._start(self.given or (size,))
        if size != math.prod(self.shape):
            raise fields.error("shape", f"has {size} elements, the input is {self.shape}")
        self._flat()

    # What layers share

    def _flat(self) -> None:
        if len(self.shape) > 1:
            node = nir.Flatten({"input": np.array(self.shape)}, start_dim=0, end_dim=-1)
            self._append(f"{self.last}.flat", node, (math.prod(self.shape),))

    def _block(
        self,
        fields: Fields,
        node: nir.Linear | nir.Conv2d,
        shape: Shape,
        loop: IntArray | None,
    ) -> None:
        """Synapses, neurons and delays of one layer.

        SLAYER delays what a layer sends, NetX what it gets.  Without a bias and a loop that is the
        same; then the neurons follow the delay, so that their spikes are the block's output.
        """
        name, channels = _name(fields), shape[0]
        bias = fields.per_channel("bias", channels, *BIASES, default=0)
        delay = fields.per_channel("delay", channels, 0, MAX_DELAY, default=0)
        if "neuron" not in fields:
            # The weighted sum itself, of an Affine(dynamics=False).
            if loop is not None or isinstance(node, nir.Conv2d) or np.any(bias) or np.any(delay):
                raise fields.error("neuron", "is missing")
            self._append(f"{name}.weight", node, shape)
            return
        cuba = read_cuba(fields.group("neuron"), channels)
        if not cuba.spiking and (np.any(delay) or loop is not None):
            raise ModelError("neurons that never spike have a delay or a loop", node=fields.node)
        if np.any(bias) and cuba.filtered and loop is not None:
            raise ModelError(
                "a bias of recurrent neurons with a synaptic current: SLAYER filters it, NetX does "
                "not",
                node=fields.node,
                hint="Train with current_decay=1, or without norm.",
            )
        none = np.zeros(1, np.int64)
        self._append(f"{name}.weight", biased(node, none if cuba.filtered else bias), shape)
        delayed_first = not np.any(bias) and loop is None
        if delayed_first:
            self._delay(name, delay)
        neurons = cuba.node(shape, bias if cuba.filtered else none, fields.node)
        self._append(name, neurons, shape)
        if loop is not None:
            self.nodes[f"{name}.recurrent"] = nir.Linear(loop.astype(np.float32))
            self.edges += [(name, f"{name}.recurrent"), (f"{name}.recurrent", name)]
        if not delayed_first:
            self._delay(name, delay)

    def _delay(self, name: str, delay: IntArray) -> None:
        if np.any(delay):
            entries = to_metadata(semantics=SEMANTICS.to_dict())
            node = nir.Delay(spread(delay, self.shape) * DT, metadata=entries)
            self._append(f"{name}.delay", node, self.shape)


def _name(fields: Fields) -> str:
    return fields.node.replace("/", "")


def _shape_of(node: nir.Conv2d) -> Shape:
    return tuple(int(n) for n in node.output_type["output"])


def _stated(shape: Shape | None, fields: Fields) -> Shape:
    if shape is None:
        raise ModelError(
            "no layer tells the shape of its input",
            node=fields.node,
            hint="Read it with neurodeploy.frontends.lava_dl.read_net(path, input_shape=(channels, "
            "height, width)).",
        )
    return shape
