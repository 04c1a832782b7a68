"""NIR in: files to `nir.NIRGraph`, and a graph to the `Network` that it means.

NIR's own validation is weak (it accepts NaN, negative time constants and dangling shapes), so
everything is checked here; NIR's type inference is not used.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import nir
import numpy as np

from neurodeploy.errors import FileError, ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.linear import (
    Conv2d,
    Dense,
    FloatArray,
    LinearMap,
    Pair,
    Reshape,
    Scale,
    Shape,
    pool2d,
)
from neurodeploy.network import Connection, InputPort, Network, Population
from neurodeploy.semantics import Semantics, from_metadata, to_metadata

logger = logging.getLogger(__name__)

Chains = list[tuple[str, tuple[LinearMap, ...]]]


def read(path: str | Path) -> nir.NIRGraph:
    """Read a `.nir` file.

    Raises
    ------
    FileError
        The file is missing, is not HDF5, is truncated, refers outside itself, declares more data
        than it can hold, or is not a NIR graph.
    """
    path = Path(path)
    check_hdf5(path)
    try:
        graph = nir.read(str(path), type_check=False)
    except Exception as error:  # NIR raises whatever its parsing meets
        raise FileError(
            f"not a readable NIR graph ({type(error).__name__}: {error})",
            node=str(path),
            hint="Write it again with nir.write.",
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise FileError(f"holds a {type(graph).__name__}, not a graph", node=str(path))
    return graph


def load(graph: nir.NIRGraph, semantics: Semantics | None = None) -> Network:
    """Turn a NIR graph into the `Network` that it means.

    Parameters
    ----------
    semantics:
        For neurons whose node carries no semantics of its own.  A node's own metadata wins, so a
        file that says what it means is never reinterpreted.

    Raises
    ------
    ModelError
        An unsupported node, an impossible value or shape, a dangling or duplicate edge.
    SemanticsError
        A neuron without semantics, and none given.
    """
    return _Loader(graph, semantics).network()


class _Loader:
    """Walks one graph in topological order and collects what each node delivers."""

    def __init__(self, graph: nir.NIRGraph, semantics: Semantics | None) -> None:
        self.graph = graph
        self.semantics = semantics
        self.order = _topological(graph)
        self.shapes: dict[str, Shape] = {}
        self.chains: dict[str, Chains] = {}
        self.constants: dict[str, FloatArray] = {}
        self.inputs: list[InputPort] = []
        self.populations: list[Population] = []
        self.connections: list[Connection] = []
        self.outputs: list[str] = []
        self.metadata: dict[str, dict[str, Any]] = {}

    def network(self) -> Network:
        for name in self.order:
            try:
                self._visit(name, self.graph.nodes[name])
            except NeurodeployError as error:
                if error.node is None:
                    error.node = name
                raise
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                raise ModelError(f"invalid parameters: {error}", node=name) from error
        annotated = _annotate(self.graph, self.metadata)
        return Network(
            tuple(self.inputs),
            tuple(self.populations),
            tuple(self.connections),
            tuple(dict.fromkeys(self.outputs)),
            annotated,
        )

    def _sources(self, name: str) -> list[str]:
        return [a for a, b in self.graph.edges if b == name]

    def _visit(self, name: str, node: nir.NIRNode) -> None:
        if isinstance(node, nir.Input):
            self._input(name, _shape(node.input_type.get("input")))
            return
        sources = self._sources(name)
        if not sources:
            raise ModelError("nothing is connected to its input", node=name)
        shapes = {self.shapes[source] for source in sources}
        if len(shapes) != 1:
            raise ModelError(f"inputs of different shapes meet: {sorted(shapes)}", node=name)
        shape = shapes.pop()
        if isinstance(node, nir.Output):
            self._output(name, sources)
        elif isinstance(node, (nir.LIF, nir.IF)):
            self._neurons(name, node, sources, shape)
        else:
            op, bias = _linear(node, shape)
            self._linear(name, sources, op, bias)

    def _input(self, name: str, shape: Shape) -> None:
        self.inputs.append(InputPort(name, shape))
        self._deliver(name, shape)

    def _deliver(self, name: str, shape: Shape) -> None:
        """Let `name` be a source of spikes: a chain of no maps, and no constant."""
        self.shapes[name] = shape
        self.chains[name] = [(name, ())]
        self.constants[name] = np.zeros(shape)

    def _gather(self, sources: list[str]) -> tuple[Chains, FloatArray]:
        chains = [chain for source in sources for chain in self.chains[source]]
        constant = np.sum([self.constants[source] for source in sources], axis=0)
        return chains, np.asarray(constant)

    def _linear(
        self, name: str, sources: list[str], op: LinearMap, bias: FloatArray | None
    ) -> None:
        chains, constant = self._gather(sources)
        self.shapes[name] = op.out_shape
        self.chains[name] = [(source, (*ops, op)) for source, ops in chains]
        constant = op.apply(constant)
        self.constants[name] = constant if bias is None else constant + bias

    def _neurons(self, name: str, node: nir.LIF | nir.IF, sources: list[str], shape: Shape) -> None:
        entries = from_metadata(node.metadata, node=name) or {}
        semantics = self._semantics(name, entries)
        decay, gain, leak = _discretise(node, shape, semantics, str(entries.get("dtype", "")))
        chains, constant = self._gather(sources)
        unit_gain = bool(np.all(gain == 1.0))
        for source, ops in chains:
            ops = ops if unit_gain else (*ops, Scale(gain))
            self.connections.append(Connection(source, name, ops))
        threshold = _array(node.v_threshold, shape, "v_threshold")
        bias = constant * gain + leak
        self.populations.append(Population(name, shape, decay, threshold, bias, semantics))
        self.metadata[name] = {**entries, "semantics": semantics.to_dict()}
        self._deliver(name, shape)

    def _semantics(self, name: str, entries: Mapping[str, Any]) -> Semantics:
        own = entries.get("semantics")
        if isinstance(own, dict):
            return Semantics.from_dict(own, node=name)
        if self.semantics is None:
            raise SemanticsError(
                "the file does not say what a time step means (dt, reset, comparison)",
                node=name,
                hint="Choose it: semantics=Semantics(dt=…, reset=…), or --dt, --reset and "
                "--reset-timing on the command line.",
            )
        logger.info("%s: semantics chosen by the caller: %s", name, self.semantics)
        return self.semantics

    def _output(self, name: str, sources: list[str]) -> None:
        populations = {population.name for population in self.populations}
        for source in sources:
            if source not in populations:
                raise ModelError(
                    f"the output reads {source!r}, which is not a neuron",
                    node=name,
                    hint='End the model with a neuron, for instance Leaky(reset_mechanism="none").',
                )
            self.outputs.append(source)


def _topological(graph: nir.NIRGraph) -> list[str]:
    """Node names, every source before its targets; edges checked."""
    seen: set[tuple[str, str]] = set()
    for a, b in graph.edges:
        for name in (a, b):
            if name not in graph.nodes:
                raise ModelError(f"an edge names the node {name!r}, which does not exist")
        if (a, b) in seen:
            raise ModelError(f"the edge {a!r} -> {b!r} is there twice")
        seen.add((a, b))
    waiting = {name: sum(b == name for _, b in graph.edges) for name in graph.nodes}
    order: list[str] = []
    ready = sorted(name for name, count in waiting.items() if not count)
    while ready:
        name = ready.pop(0)
        order.append(name)
        for a, b in graph.edges:
            if a == name:
                waiting[b] -= 1
                if not waiting[b]:
                    ready.append(b)
    if len(order) < len(graph.nodes):
        cycle = sorted(set(graph.nodes) - set(order))
        raise ModelError(
            f"the graph has a cycle through {', '.join(cycle)}; recurrence is not supported yet"
        )
    return order


def _shape(value: Any) -> Shape:
    if value is None:
        raise ModelError("has no shape")
    shape = tuple(int(n) for n in np.atleast_1d(np.asarray(value)))
    if any(n < 1 for n in shape):
        raise ModelError(f"has shape {shape}, expected positive sizes")
    return shape


def _array(value: Any, shape: Shape, name: str) -> FloatArray:
    """Float64 copy of a parameter, of exactly the population's shape (scalars are spread)."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        array = np.full(shape, float(array))
    if array.shape != shape:
        raise ModelError(f"{name} has shape {array.shape}, the layer {shape}")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise ModelError(f"{bad} of {array.size} values of {name} are not finite")
    return array.copy()


def _discretise(
    node: nir.LIF | nir.IF, shape: Shape, semantics: Semantics, dtype: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Decay, input gain and leak current of one step.

    NIR: tau dv/dt = v_leak - v + r x.  Euler: v' = (1 - dt/tau) v + (dt/tau)(v_leak + r x).
    Exact (zero-order hold): 1 - dt/tau becomes exp(-dt/tau).  An IF node integrates r dt x.  Where
    the metadata says that the source model had float32 parameters, decay and gain are rounded to
    float32, which gives back the model's own beta bit for bit.
    """
    reset = _array(node.v_reset, shape, "v_reset") if node.v_reset is not None else np.zeros(shape)
    if np.any(reset != 0):
        raise ModelError(
            "v_reset is not 0; neurons that reset to another potential are not supported",
            hint="Shift v_reset, v_leak and v_threshold by -v_reset, which changes no spike.",
        )
    resistance = _array(node.r, shape, "r")
    if isinstance(node, nir.IF):
        decay, share, leak = np.ones(shape), np.full(shape, semantics.dt), np.zeros(shape)
    else:
        tau = _array(node.tau, shape, "tau")
        if tau.min() <= 0:
            raise ModelError(f"tau is {tau.min():g}, expected a positive time in s")
        ratio = semantics.dt / tau
        share = ratio if semantics.integrator == "euler" else -np.expm1(-ratio)
        decay = 1.0 - share
        leak = share * _array(node.v_leak, shape, "v_leak")
    if decay.min() < 0:
        raise ModelError(
            f"dt = {semantics.dt:g} s is longer than tau = {semantics.dt / (1 - decay.min()):g} s",
            hint="Choose the dt that the model was trained with.",
        )
    gain = share * resistance
    if dtype == "float32":
        decay, gain = (array.astype(np.float32).astype(np.float64) for array in (decay, gain))
    return decay, gain, leak


def _linear(node: nir.NIRNode, shape: Shape) -> tuple[LinearMap, FloatArray | None]:
    """The linear map of a node, and its bias of the output's full shape."""
    if isinstance(node, (nir.Affine, nir.Linear)):
        weight = _finite(node.weight, "weight")
        if weight.ndim != 2 or len(shape) != 1 or weight.shape[1] != shape[0]:
            raise ModelError(
                f"weight {weight.shape} does not fit an input of shape {shape}",
                hint="Flatten the input first." if len(shape) > 1 else None,
            )
        dense = Dense(weight, shape, (weight.shape[0],))
        bias = _array(node.bias, dense.out_shape, "bias") if isinstance(node, nir.Affine) else None
        return dense, bias
    if isinstance(node, nir.Conv2d):
        return _conv2d(node, shape)
    if isinstance(node, (nir.AvgPool2d, nir.SumPool2d)):
        average = isinstance(node, nir.AvgPool2d)
        if len(shape) != 3:
            raise ModelError(f"2-d pooling of an input of shape {shape}")
        kernel, stride, padding = map(_pair, (node.kernel_size, node.stride, node.padding))
        if min(*kernel, *stride) < 1:
            raise ModelError(f"kernel {kernel} and stride {stride} must be positive")
        return pool2d(shape, kernel, stride, padding, average=average), None
    if isinstance(node, nir.Flatten):
        return Reshape(shape, _flattened(shape, int(node.start_dim), int(node.end_dim))), None
    if isinstance(node, nir.Scale):
        return Scale(_array(node.scale, shape, "scale")), None
    raise ModelError(
        f"nir.{type(node).__name__} is not supported yet",
        hint="Supported: Affine, Linear, Conv2d, AvgPool2d, SumPool2d, Flatten, Scale, LIF, IF.",
    )


def _conv2d(node: nir.Conv2d, shape: Shape) -> tuple[LinearMap, FloatArray]:
    weight = _finite(node.weight, "weight")
    stride, dilation = _pair(node.stride), _pair(node.dilation)
    padding = _padding(node.padding, weight.shape, stride, dilation)
    op = Conv2d(weight, shape, stride, padding, dilation, int(node.groups))
    bias = _finite(node.bias, "bias")
    if bias.shape != op.out_shape[:1]:
        raise ModelError(f"bias has shape {bias.shape}, the layer {op.out_shape[0]} channels")
    return op, np.broadcast_to(bias[:, None, None], op.out_shape).copy()


def _finite(value: Any, name: str) -> FloatArray:
    return _array(value, np.shape(value), name)


def _pair(value: Any) -> Pair:
    values = [int(n) for n in np.broadcast_to(np.asarray(value), (2,))]
    return (values[0], values[1])


def _padding(value: Any, weight: Shape, stride: Pair, dilation: Pair) -> Pair:
    """Padding as numbers; 'same' keeps the size and is symmetric for odd kernels only."""
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        return _pair(value)
    if value == "valid":
        return (0, 0)
    if value != "same":
        raise ModelError(f"padding {value!r} is neither numbers, 'same' nor 'valid'")
    total = [d * (k - 1) for d, k in zip(dilation, weight[2:], strict=True)]
    if stride != (1, 1) or any(n % 2 for n in total):
        raise ModelError(
            "padding 'same' needs stride 1 and an odd kernel to be symmetric",
            hint="Pad explicitly.",
        )
    return (total[0] // 2, total[1] // 2)


def _flattened(shape: Shape, start: int, end: int) -> Shape:
    start, end = (axis + len(shape) if axis < 0 else axis for axis in (start, end))
    if not 0 <= start <= end < len(shape):
        raise ModelError(f"cannot flatten axes {start}..{end} of shape {shape}")
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def _annotate(graph: nir.NIRGraph, metadata: Mapping[str, dict[str, Any]]) -> nir.NIRGraph:
    """The same graph with every neuron's semantics in its metadata; the argument is unchanged."""
    nodes = dict(graph.nodes)
    for name, entries in metadata.items():
        entries = {key: value for key, value in entries.items() if key != "schema"}
        merged = {**nodes[name].metadata, **to_metadata(**entries)}
        nodes[name] = cast(nir.NIRNode, replace(nodes[name], metadata=merged))
    return nir.NIRGraph(nodes, list(graph.edges), dict(graph.metadata), type_check=False)
