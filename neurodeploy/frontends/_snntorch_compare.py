"""A new graph against the module that it was made from, on random and on given inputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import nir
import numpy as np
import torch
from torch import nn

from neurodeploy.equivalence.imported import compare_import
from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_observe import Observation
from neurodeploy.frontends._snntorch_pools import Use
from neurodeploy.frontends._snntorch_replay import Arrays, Population, checked, replay
from neurodeploy.frontends.comparisons import with_comparisons
from neurodeploy.frontends.nir import means
from neurodeploy.semantics import from_metadata
from neurodeploy.trace import Inputs, Spikes, Trace

logger = logging.getLogger(__name__)

SAMPLES = 3
STEPS = 8


@dataclass(frozen=True, eq=False)
class Trial:
    """Inputs, and what the module's populations did on them."""

    inputs: Arrays
    spikes: Mapping[Population, Spikes]


def trials(
    module: nn.Module,
    observed: Observation,
    samples: Mapping[str, torch.Tensor],
    inputs: Inputs | None,
) -> dict[str, Trial]:
    """The module on random spikes, at most three samples of them, and on `inputs`.

    A forward that is made for one batch size gets that many samples, the batch of `samples`.
    """

    def trial(arrays: Arrays) -> Trial:
        return Trial(arrays, replay(module, observed.forward, arrays, observed.populations))

    batch = min(
        sample.shape[1 if observed.inputs[name].axis == 0 else 0]
        for name, sample in samples.items()
    )
    try:
        runs = {"random spikes": trial(_random(observed, min(batch, SAMPLES)))}
    except ModelError:
        if batch <= SAMPLES:
            raise
        runs = {"random spikes": trial(_random(observed, batch))}
    if inputs is not None:
        shapes = {name: source.shape for name, source in observed.inputs.items()}
        runs["given inputs"] = trial(checked(inputs, shapes, observed.dtype))
    return runs


def _random(observed: Observation, samples: int) -> Arrays:
    """Spikes, of another density in each sample; constant over time where forward repeats them."""
    rng = np.random.default_rng(0)
    steps = observed.steps if observed.loop else STEPS
    dtype = np.float64 if observed.dtype == torch.float64 else np.float32
    arrays = {}
    for name, source in observed.inputs.items():
        shape = (samples, steps, *source.shape)
        density = np.linspace(0, 1, samples + 2)[1:-1].reshape(-1, *(1,) * (len(shape) - 1))
        spikes = (rng.random(shape, np.float32) < density).astype(dtype)
        if observed.loop and source.axis is None:
            spikes = np.repeat(spikes[:, :1], steps, axis=1)
        arrays[name] = spikes
    return arrays


def compared(graph: nir.NIRGraph, runs: Mapping[str, Trial]) -> nir.NIRGraph:
    """The graph with what running it on the same inputs showed; it is changed in place."""
    network, nodes = means(graph), population_nodes(graph)
    found = {}
    for name, trial in runs.items():
        spikes = {nodes[key]: array for key, array in trial.spikes.items() if key in nodes}
        found[name] = compare_import(network, trial.inputs, Trace(spikes))
        logger.info("compared with the module on %s: %s", name, found[name])
        if not found[name].passed:
            logger.warning("not equal on %s: %s; %s", name, found[name], found[name].first)
    return with_comparisons(graph, found)


def population_nodes(graph: nir.NIRGraph) -> dict[Population, str]:
    """Names of the nodes of the module's populations."""
    nodes: dict[Population, str] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)):
            entries = from_metadata(node.metadata, node=name) or {}
            use = entries.get("use")
            nodes[str(entries.get("module")), None if use is None else Use(**use)] = name
    return nodes
