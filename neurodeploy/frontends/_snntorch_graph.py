"""From one observed step of an snnTorch module to a NIR graph."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import nir
import numpy as np
import snntorch as snn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_alpha import ALPHA_ORDER, alpha_filters
from neurodeploy.frontends._snntorch_classes import RECURRENT
from neurodeploy.frontends._snntorch_maps import AnyOf
from neurodeploy.frontends._snntorch_neurons import (
    Arithmetic,
    graded_factor,
    neuron_node,
    recurrent_node,
    semantics,
)
from neurodeploy.frontends._snntorch_observe import Observation
from neurodeploy.frontends._snntorch_trace import tensors_of
from neurodeploy.frontends._snntorch_values import (
    Layer,
    Operand,
    Shape,
    Source,
    Spikes,
    State,
    Term,
    origins,
    terms,
)
from neurodeploy.semantics import Semantics, to_metadata

logger = logging.getLogger(__name__)


class Builder:
    """Builds the graph of one observed step; only what reaches an output becomes a node."""

    def __init__(self, observed: Observation, dt: float) -> None:
        self.observed = observed
        self.model = Arithmetic(dt, observed.dtype)
        self.tensors = {**tensors_of(observed.parts[""]), **observed.computed}
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: set[tuple[str, str]] = set()
        self.layers: dict[Layer, str] = {}
        self.neurons: dict[str, str] = {}
        self.spikes: dict[str, str] = {}  # the node that delivers a neuron's spikes

    def graph(self) -> nir.NIRGraph:
        observed = self.observed
        for name, source in observed.inputs.items():
            self.nodes[name] = nir.Input({"input": np.array(source.shape)})
        used = self._used()
        for path, shape in observed.shapes.items():
            if path in used:
                self._neuron(path, shape)
            else:
                logger.warning("%s reaches no output; it is left out", path)
        for value in observed.outputs:
            self._output(value)
        for name in observed.inputs:
            if not any(source == name for source, _ in self.edges):
                raise ModelError(
                    f"its {name.replace('.', ' ')} reaches no output",
                    hint="Leave it out of forward.",
                )
        entries = {
            "producer": "neurodeploy",
            "framework": "snntorch",
            "framework_version": snn.__version__,
            "dt": self.model.dt,
            "forward": observed.forward.to_dict(),
        }
        return nir.NIRGraph(
            self.nodes, sorted(self.edges), metadata=to_metadata(**entries), type_check=False
        )

    def _used(self) -> set[str]:
        """Neurons that are read or drive, possibly through others, one that is."""
        used: set[str] = set()
        waiting = list(self.observed.outputs)
        while waiting:
            value = waiting.pop()
            drivers = [value] if isinstance(value, State) else origins(value)
            paths = {driver.path for driver in drivers if not isinstance(driver, Source)} - used
            used |= paths
            waiting += [self.observed.currents[path] for path in paths]
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
            return term.name
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
        rule = Semantics(dt=self.model.dt, reset="none", rounding=self.model.name)
        return to_metadata(
            semantics=rule.to_dict(),
            dtype=self.model.name,
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
        node = neuron_node(module, shape, self.model, path)
        meaning = semantics(module, self.model, path)
        entries: dict[str, Any] = {
            "semantics": meaning.to_dict(),
            "dtype": self.model.name,
            "module": path,
        }
        if State(path, 0, "mem") in self.observed.outputs:
            if meaning.reset != "none" and meaning.reset_timing in ("immediate", "held"):
                raise ModelError(
                    "returns its membrane potential after the reset of the same step; an output "
                    "reads what is compared with the threshold",
                    node=path,
                    hint='Use reset_delay=True, or reset_mechanism="none".',
                )
            entries["readout"] = "membrane"
        node.metadata = to_metadata(**entries)
        sources = self._sources(self.observed.currents[path])
        if isinstance(module, snn.Alpha):
            sources = self._filtered(path, shape, sources, meaning)
        name = self._add(path, node, sources)
        self.neurons[path] = self.spikes[path] = name
        factor = graded_factor(module, shape, self.model.dtype, path)
        if factor is not None:
            self.spikes[path] = self._add(f"{name}.graded", nir.Scale(factor), [name])
        if isinstance(module, RECURRENT):
            feedback = self.observed.feedback[path]
            weights = recurrent_node(module.recurrent, shape, feedback, path, self.tensors)
            loop = self._add(f"{name}.recurrent", weights, [self.spikes[path]])
            self.edges.add((loop, name))

    def _filtered(
        self, path: str, shape: Shape, sources: list[str], meaning: Semantics
    ) -> list[str]:
        """Add what leads to the Threshold of an Alpha; the last of it."""
        filters = alpha_filters(self.observed.parts[path], shape, self.model, path)
        stem = self._name(path)
        names: dict[str, str] = {}
        for what, follows in ALPHA_ORDER.items():
            node = filters[what]
            if isinstance(node, (nir.LI, nir.I)):
                node.metadata = to_metadata(semantics=meaning.to_dict(), dtype=self.model.name)
            before = [names[other] for other in follows] or sources
            names[what] = self._add(f"{stem}.{what}", node, before)
        return [names[what]]

    def _output(self, value: Operand | State) -> None:
        """An Output that reads a node, or the sum of several."""
        if isinstance(value, State):
            sources, shape = [self.neurons[value.path]], self.observed.shapes[value.path]
        else:
            sources, shape = self._sources(value), value.shape
        name = "output"
        if len(self.observed.outputs) > 1:
            path = self.neurons[value.path] if isinstance(value, Spikes) else "+".join(sources)
            name = self._name(f"output.{path}")
        self.nodes[name] = nir.Output({"output": np.array(shape)})
        self.edges |= {(source, name) for source in sources}
