"""snnTorch in: a trained module to a NIR graph that keeps its execution semantics.

The module is run once on a sample, and what feeds what is read off the tensors: no symbolic
tracing, so ordinary Python in `forward` is fine.  Equations and traps of snnTorch 1.0.0 are in
`snntorch._neurons`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import nir
import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import nn

from neurodeploy.errors import InputError, ModelError
from neurodeploy.frontends._snntorch_classes import NEURONS, RECURRENT
from neurodeploy.frontends._snntorch_maps import AnyOf
from neurodeploy.frontends._snntorch_neurons import (
    graded_factor,
    neuron_node,
    recurrent_node,
    semantics,
)
from neurodeploy.frontends._snntorch_nodes import check_finite
from neurodeploy.frontends._snntorch_observe import Observation, Readout, observe
from neurodeploy.frontends._snntorch_pools import Recorder, Use
from neurodeploy.frontends._snntorch_run import Stepper, device_of, guarded, preserved
from neurodeploy.frontends._snntorch_trace import tensors_of
from neurodeploy.frontends._snntorch_values import (
    Layer,
    Operand,
    Shape,
    Source,
    Spikes,
    Term,
    origins,
    terms,
)
from neurodeploy.semantics import Semantics, from_metadata, to_metadata

logger = logging.getLogger(__name__)


def from_snntorch(module: nn.Module, sample: torch.Tensor, *, dt: float = 1e-4) -> nir.NIRGraph:
    """Convert a trained snnTorch module to a NIR graph, exactly.

    Supported are the neurons `Leaky`, `Synaptic`, `Lapicque`, `RLeaky` and `RSynaptic`, time loops
    in `forward`, and these layers, as modules or as functions of `torch.nn.functional`:

    - `Linear` (also of rows: one matrix per row), `Conv1d/2d` with all options but `padding_mode`,
      `ConvTranspose1d/2d` of stride 1 (as a convolution);
    - `AvgPool1d/2d` with all options, `AdaptiveAvgPool1d/2d` into sizes that divide the input's,
      `LPPool1d/2d` of norm 1 (sum pooling);
    - `MaxPool1d/2d` of spikes, as a population of stateless neurons (`Threshold`) that fire where
      their window holds a spike;
    - `BatchNorm1d/2d` with running statistics, folded into the `Linear` or convolution before it,
      else as a depthwise convolution (of features, up to 4096: as a diagonal matrix);
    - `Flatten` of any axes but the batch, `Identity`, all dropouts (inactive);
    - sums and differences of values, products and quotients with constants, and constants added to
      what a `Linear` or convolution delivers, into whose bias they go.

    The module is left as it was.

    Parameters
    ----------
    module:
        With float32 parameters, on any device.
    sample:
        What `forward` takes, batch axis included: one step's input (B, ...), or, where `forward`
        holds the time loop, what that loop takes, of two or more steps.  Its values do not matter.
    dt:
        Length of a time step in seconds; it relates NIR's time constants to alpha and beta.
        `Lapicque` has its own `time_step`, and its input gain may differ in the last float32 bit.

    Returns
    -------
    nir.NIRGraph
        Nodes named after module paths, functions after the module that calls them; where a layer
        takes several nodes, the last has its name.  Weights are float32 (float64 where something is
        folded in), neuron parameters float64 of the population's shape, shapes without batch and
        time.  Every neuron carries its `Semantics` in its metadata.  Recurrent weights are a node
        `<neuron>.recurrent` between the neuron and itself; what they carry arrives one step later.

    Raises
    ------
    ModelError
        Something has no exact form here: where it is, why, and what to do.
    InputError
        `sample` is not a tensor with a batch axis, or `dt` is not positive.
    """
    if not isinstance(sample, torch.Tensor) or sample.dim() < 2 or sample.shape[0] < 1:
        raise InputError("the sample must be a tensor with a batch axis and at least one other")
    if not 0 < dt < math.inf:
        raise InputError(f"dt is {dt}, expected a positive time in seconds")
    check_finite(module)
    try:
        return _Builder(observe(module, sample.to(device_of(module))), dt).graph()
    except ModelError as error:
        error.node = error.node or type(module).__name__
        raise


class _Builder:
    """Builds the graph of one observed step; only what reaches an output becomes a node."""

    def __init__(self, observed: Observation, dt: float) -> None:
        self.observed = observed
        self.dt = dt
        self.tensors = tensors_of(observed.parts[""])
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: set[tuple[str, str]] = set()
        self.layers: dict[Layer, str] = {}
        self.neurons: dict[str, str] = {}
        self.spikes: dict[str, str] = {}  # the node that delivers a neuron's spikes

    def graph(self) -> nir.NIRGraph:
        observed = self.observed
        self.nodes["input"] = nir.Input({"input": np.array(observed.input_shape)})
        used = self._used()
        for path, shape in observed.shapes.items():
            if path in used:
                self._neuron(path, shape)
            else:
                logger.warning("%s reaches no output; it is left out", path)
        for path, readout in observed.readouts.items():
            self._output(path, readout)
        entries = {
            "producer": "neurodeploy",
            "framework": "snntorch",
            "framework_version": snn.__version__,
            "dt": self.dt,
            "forward": {
                "loop": observed.loop,
                "time_axis": observed.time_axis,
                "arguments": observed.arguments,
            },
        }
        return nir.NIRGraph(
            self.nodes, sorted(self.edges), metadata=to_metadata(**entries), type_check=False
        )

    def _used(self) -> set[str]:
        """Neurons that are read or drive, possibly through others, one that is."""
        used: set[str] = set()
        waiting = list(self.observed.readouts)
        while waiting:
            path = waiting.pop()
            if path not in used:
                used.add(path)
                drivers = origins(self.observed.currents[path])
                waiting += [driver.path for driver in drivers if isinstance(driver, Spikes)]
        return used

    def _name(self, path: str) -> str:
        """A module path as a node name that is new; NIR cannot read names with a slash."""
        stem = (path or type(self.observed.parts[""]).__name__.lower()).replace("/", "_")
        name, number = stem, 1
        while name in self.nodes or name == "output":
            number += 1
            name = f"{stem}_{number}"
        return name

    def _sources(self, operand: Operand) -> list[str]:
        """The nodes whose sum a value is; NIR adds what meets at a node."""
        return [self._source(term) for term in terms(operand)]

    def _source(self, term: Term) -> str:
        if isinstance(term, Source):
            return "input"
        if isinstance(term, Spikes):
            return self.spikes[term.path]
        if term not in self.layers:
            self.layers[term] = self._layer(term)
        return self.layers[term]

    def _layer(self, layer: Layer) -> str:
        """Add the nodes of a layer; the name of the last, which delivers its value."""
        sources = self._sources(layer.operand)
        for what, node in layer.op.nodes(layer, self.tensors):
            path = f"{layer.path}.{what}" if what else layer.path
            if isinstance(layer.op, AnyOf) and not what:
                node.metadata = self._pool_metadata(layer)
            sources = [self._add(path, node, sources)]
        return sources[0]

    def _pool_metadata(self, layer: Layer) -> dict[str, str]:
        """Metadata of max pooling, a population of neurons that keep nothing."""
        return to_metadata(
            semantics=Semantics(dt=self.dt, reset="none", rounding="float32").to_dict(),
            dtype="float32",
            module=layer.path,
            use=asdict(self.observed.pools[layer]),
        )

    def _add(self, path: str, node: nir.NIRNode, sources: list[str]) -> str:
        name = self._name(path)
        self.nodes[name] = node
        self.edges |= {(source, name) for source in sources}
        return name

    def _neuron(self, path: str, shape: Shape) -> None:
        module = self.observed.parts[path]
        node = neuron_node(module, shape, self.dt, path)
        entries: dict[str, Any] = {
            "semantics": semantics(module, self.dt, path).to_dict(),
            "dtype": "float32",
            "module": path,
        }
        if self.observed.readouts.get(path) == "membrane":
            entries["readout"] = "membrane"
        node.metadata = to_metadata(**entries)
        name = self._add(path, node, self._sources(self.observed.currents[path]))
        self.neurons[path] = self.spikes[path] = name
        factor = graded_factor(module, shape, path)
        if factor is not None:
            self.spikes[path] = self._add(f"{name}.graded", nir.Scale(factor), [name])
        if isinstance(module, RECURRENT):
            weights = recurrent_node(module.recurrent, shape, path, self.tensors)
            loop = self._add(f"{name}.recurrent", weights, [self.spikes[path]])
            self.edges.add((loop, name))

    def _output(self, path: str, readout: Readout) -> None:
        source = self.spikes[path] if readout == "spikes" else self.neurons[path]
        name = "output"
        if len(self.observed.readouts) > 1:
            name = self._name(f"output.{self.neurons[path]}")
        self.nodes[name] = nir.Output({"output": np.array(self.observed.shapes[path])})
        self.edges.add((source, name))


def reference_spikes(
    module: nn.Module, inputs: NDArray[np.float32], graph: nir.NIRGraph
) -> dict[str, NDArray[np.uint8]]:
    """Spikes of the snnTorch module itself, from rest: what the graph is checked against.

    Parameters
    ----------
    module:
        The module that `graph` was made from; it is left as it was.
    inputs:
        float32 [B, T, *shape of one step].  Where `forward` repeats one input for a number of
        steps, the input must be constant over T and T must be that number.
    graph:
        The result of `from_snntorch`.

    Returns
    -------
    dict
        For every population of the graph, max pooling among them, uint8 [B, T, *population
        shape], 1 where it spiked.

    Raises
    ------
    InputError
        `inputs` has another dtype or shape.
    ModelError
        The graph was not made from this module by `from_snntorch`, or `forward` runs another
        number of steps than T.
    """
    forward = (from_metadata(graph.metadata, node="graph") or {}).get("forward")
    nodes, pools = _populations(graph)
    parts = dict(module.named_modules())
    if not isinstance(forward, dict) or not all(type(parts.get(p)) in NEURONS for p in nodes):
        raise ModelError(
            "the graph was not made from this module by from_snntorch", node=type(module).__name__
        )
    shape = tuple(int(n) for n in graph.nodes["input"].input_type["input"])
    if inputs.dtype != np.float32 or inputs.shape[2:] != shape or not inputs.size:
        raise InputError(
            f"inputs are {inputs.dtype} {inputs.shape}, expected float32 (batch, time, "
            f"{', '.join(map(str, shape))}), not empty"
        )
    with preserved(module):
        spikes: dict[str, list[NDArray[np.uint8]]] = {path: [] for path in nodes}
        for path in nodes:
            parts[path].register_forward_hook(partial(_record, spikes[path]))
        device = device_of(module)
        stepper = Stepper(module, forward["arguments"], device)
        recorder = Recorder(module)
        with guarded(lambda: type(module).__name__), recorder:
            for x in _calls(inputs, forward):
                stepper(torch.from_numpy(x).to(device))
                stepper.advance(forward["arguments"])
    fired = {nodes[path]: steps for path, steps in spikes.items()}
    for name, (path, use) in pools.items():
        fired[name] = use.pick(recorder.outputs.get(path, []))
    for name, steps in fired.items():
        if len(steps) != inputs.shape[1]:
            raise ModelError(
                f"forward ran {len(steps)} steps on an input of {inputs.shape[1]}", node=name
            )
    return {name: np.stack(steps, axis=1) for name, steps in fired.items()}


def _populations(graph: nir.NIRGraph) -> tuple[dict[str, str], dict[str, tuple[str, Use]]]:
    """Names of the neuron nodes by the path of their module; path and use of each max pooling."""
    neurons, pools = {}, {}
    for name, node in graph.nodes.items():
        entry = from_metadata(node.metadata, node=name) or {}
        if isinstance(node, nir.Threshold) and "use" in entry:
            pools[name] = str(entry["module"]), Use(**entry["use"])
        elif entry and isinstance(node, (nir.LIF, nir.IF, nir.CubaLIF)):
            neurons[str(entry.get("module"))] = name
    return neurons, pools


def _calls(
    inputs: NDArray[np.float32], forward: Mapping[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """What forward is called with, call by call; each a copy."""
    if not forward["loop"]:
        yield from np.moveaxis(inputs, 1, 0).copy()
    elif forward["time_axis"] is not None:
        yield np.moveaxis(inputs, 1, forward["time_axis"]).copy()
    elif np.all(inputs == inputs[:, :1]):
        yield inputs[:, 0].copy()
    else:
        raise ModelError(
            "forward repeats one input in all steps, these inputs change over time",
            hint="Let forward take one step, or index its input by the step.",
        )


def _record(spikes: list[NDArray[np.uint8]], module: nn.Module, args: Any, output: Any) -> None:
    fired = output[0] if isinstance(output, tuple) else output
    spikes.append((fired != 0).cpu().numpy().astype(np.uint8))
