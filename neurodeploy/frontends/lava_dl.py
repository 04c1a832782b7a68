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

from neurodeploy.errors import FileError, ModelError
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.frontends.lava_dl_chain import Chain
from neurodeploy.frontends.lava_dl_fields import Fields, IntArray, layers
from neurodeploy.frontends.lava_dl_neurons import DT, SEMANTICS, read_cuba, spread
from neurodeploy.frontends.lava_dl_synapses import BIASES, MAX_DELAY, WEIGHTS, matrix
from neurodeploy.linear import Conv2d, Shape
from neurodeploy.semantics import to_metadata

WEIGHT_ONE = 64
"""The integer that means a weight of 1 in SLAYER (`w_scale`)."""


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
    graph = _Graph(input_shape)
    try:
        with h5py.File(path, "r") as file:
            for fields in layers(file, str(path)):
                graph.add(fields)
    except OSError as error:
        raise FileError("not a complete HDF5 file", node=str(path), hint=f"({error})") from error
    return graph.finished(str(path))


class _Graph:
    """A graph that grows layer by layer; `last` is the node that the next one follows."""

    def __init__(self, given: Shape | None) -> None:
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.last = "input"
        self.chain = Chain(given)

    def finished(self, path: str) -> nir.NIRGraph:
        """The whole graph."""
        if not self.edges:
            raise ModelError("holds no layer with synapses or neurons", node=path)
        self._append("output", nir.Output({"output": np.array(self.chain.shape)}))
        first = nir.Input({"input": np.array(self.chain.first)})
        return nir.NIRGraph({"input": first, **self.nodes}, self.edges, type_check=False)

    def add(self, fields: Fields) -> None:
        """One more layer; see `read_net` for what it raises."""
        readers: Mapping[str, Callable[[Fields], None]] = {
            "input": self._input,
            "dense": self._dense,
            "dense_rec": self._dense,
            "conv": self._conv,
            "pool": self._pool,
            "flatten": self._flatten,
        }
        readers[self.chain.kind(fields, tuple(readers))](fields)
        fields.finish()

    def _append(self, name: str, node: nir.NIRNode) -> None:
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.last = name

    # Layers

    def _input(self, fields: Fields) -> None:
        self.chain.input(fields)
        if "neuron" not in fields:
            return
        shape = self.chain.shape
        cuba = read_cuba(fields.group("neuron"), shape[0])
        gain = fields.integer("weight", *WEIGHTS, default=WEIGHT_ONE)
        bias = fields.per_channel("bias", 1, *BIASES, default=0)
        if np.any(bias) and cuba.filtered:
            raise ModelError(
                "a bias of input neurons with a synaptic current: SLAYER filters it, NetX does not",
                node=fields.node,
                hint="Train the input block with current_decay=1, or without bias.",
            )
        self._append(f"{fields.name}.weight", nir.Scale(np.full(shape, float(gain))))
        self._append(fields.name, cuba.node(shape, bias, fields.node))

    def _dense(self, fields: Fields) -> None:
        size = math.prod(fields.shape("shape"))
        weight = matrix(fields, "weight", size)
        self._flat(self.chain.dense(fields, weight))
        recurrent = fields.text("type") == "dense_rec"
        loop = matrix(fields, "weight_rec", size, size) if recurrent else None
        self._block(fields, nir.Linear(weight.astype(np.float32)), loop)

    def _conv(self, fields: Fields) -> None:
        self._block(fields, _node(self.chain.conv(fields)), None)

    def _pool(self, fields: Fields) -> None:
        self._block(fields, _node(self.chain.pool(fields)), None)

    def _flatten(self, fields: Fields) -> None:
        self._flat(self.chain.flatten(fields))

    # What layers share

    def _flat(self, shape: Shape) -> None:
        """Flatten what has this shape; nothing to do for a vector."""
        if len(shape) > 1:
            node = nir.Flatten({"input": np.array(shape)}, start_dim=0, end_dim=-1)
            self._append(f"{self.last}.flat", node)

    def _block(
        self,
        fields: Fields,
        node: nir.Linear | nir.Conv2d,
        loop: IntArray | None,
    ) -> None:
        """Synapses, neurons and delays of one layer.

        SLAYER delays what a layer sends, NetX what it gets.  Without a bias and a loop that is the
        same; then the neurons follow the delay, so that their spikes are the block's output.
        """
        name, shape = fields.name, self.chain.shape
        channels = shape[0]
        bias = fields.per_channel("bias", channels, *BIASES, default=0)
        delay = fields.per_channel("delay", channels, 0, MAX_DELAY, default=0)
        if "neuron" not in fields:
            # The weighted sum itself, of an Affine(dynamics=False).
            if loop is not None or isinstance(node, nir.Conv2d) or np.any(bias) or np.any(delay):
                raise fields.error("neuron", "is missing")
            self._append(f"{name}.weight", node)
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
        self._append(f"{name}.weight", _biased(node, none if cuba.filtered else bias))
        delayed_first = not np.any(bias) and loop is None
        if delayed_first:
            self._delay(name, delay)
        neurons = cuba.node(shape, bias if cuba.filtered else none, fields.node)
        self._append(name, neurons)
        if loop is not None:
            self.nodes[f"{name}.recurrent"] = nir.Linear(loop.astype(np.float32))
            self.edges += [(name, f"{name}.recurrent"), (f"{name}.recurrent", name)]
        if not delayed_first:
            self._delay(name, delay)

    def _delay(self, name: str, delay: IntArray) -> None:
        if np.any(delay):
            entries = to_metadata(semantics=SEMANTICS.to_dict())
            node = nir.Delay(spread(delay, self.chain.shape) * DT, metadata=entries)
            self._append(f"{name}.delay", node)


def _node(op: Conv2d) -> nir.Conv2d:
    """The NIR node, without bias."""
    node = nir.Conv2d(
        input_shape=op.in_shape[1:],
        weight=op.weight.astype(np.float32),
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
        bias=np.zeros(len(op.weight), np.float32),
    )
    # NIR infers groups and non-square kernels wrongly.
    node.input_type = {"input": np.array(op.in_shape)}
    node.output_type = {"output": np.array(op.out_shape)}
    return node


def _biased(node: nir.Linear | nir.Conv2d, bias: IntArray) -> nir.NIRNode:
    """The same synapses with a bias per channel."""
    if not np.any(bias):
        return node
    values = np.broadcast_to(bias, len(node.weight)).astype(np.float32)
    if isinstance(node, nir.Conv2d):
        node.bias = values
        return node
    return nir.Affine(node.weight, values)
