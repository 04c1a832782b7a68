"""py-spinnaker2's own conversion of NIR graphs, for comparison with what it puts on a chip.

Source of the formulas: py-spinnaker2 `s2_nir.py`, as kept in SpiNNakerManchester/sPiNNIRker
@47c758b `spinnirker/__init__.py` (`ConversionConfig`, `from_nir`), mid-2025.
"""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network
from neurodeploy.program import IntArray
from neurodeploy.semantics import from_metadata
from neurodeploy.targets.spinnaker2.options import Options
from neurodeploy.targets.spinnaker2.scale import NEVER, Numbers
from neurodeploy.targets.spinnaker2.unit import Unit


def choose(network: Network, unit: Unit, options: Options) -> Numbers:
    r"""Upstream's scale: `w_scale` = 127/max|W|, threshold :math:`\theta` w_scale / (a r).

    W are the weights before the neuron's own gain a r (for CubaLIF a_mem r a_syn w_in), with
    a = dt/tau (FORWARD) or 1 - exp(-dt/tau) (EXPONENTIAL), as the network's semantics say; so a
    chip unit per unit of potential is w_scale / (a r).  A threshold is tested by `>=` as it is.
    """
    population = unit.population
    gain = _gain(network, unit)
    sizes = np.concatenate([_before(np.abs(a.weight), gain) for a in unit.arrivals] or [np.ones(0)])
    largest = float(np.percentile(sizes, options.percentile)) if sizes.size else 0.0
    scale = np.full(population.shape, unit.limit / largest if largest else 1.0) / gain
    threshold = population.threshold * scale if population.spiking else np.full(gain.shape, NEVER)
    return Numbers(scale, threshold.astype(np.float32), np.zeros(gain.shape, np.int64))


def integers(values: FloatArray, unit: Unit) -> IntArray:
    """`values` truncated toward zero.

    int8 kernels wrap around where a percentile leaves weights beyond them.

    Raises
    ------
    ModelError
        Synapses beyond the limit: what upstream's mapper makes of them is not known.
    """
    truncated = np.trunc(values)
    if unit.model == "lif_conv2d":
        return truncated.astype(np.int64).astype(np.int8).astype(np.int64)
    if np.any(np.abs(truncated) > unit.limit):
        raise ModelError(
            f"a weight of {np.abs(values).max():g} is beyond {unit.limit}, and what py-spinnaker2 "
            "makes of it is not known",
            node=unit.population.name,
            hint="Take percentile 100 for dense layers.",
        )
    return truncated.astype(np.int64)


def _gain(network: Network, unit: Unit) -> FloatArray:
    """What a neuron's input is multiplied with by its own time constants and resistance."""
    from neurodeploy.frontends.nir_nodes import discretise  # nir is not needed to run programs

    population = unit.population
    node = network.graph.nodes.get(population.name)
    if node is None:
        raise ModelError("is no node of its NIR graph", node=population.name)
    dtype = (from_metadata(node.metadata, node=population.name) or {}).get("dtype", "")
    return discretise(node, population.shape, population.semantics, str(dtype)).gain


def _before(sizes: FloatArray, gain: FloatArray) -> FloatArray:
    """Flat magnitudes of weights (out, ...) before the gain of the neurons that they end at."""
    per_row = gain.reshape(len(sizes), math.prod(gain.shape) // len(sizes))[:, 0]
    return np.asarray(sizes.reshape(len(sizes), -1) / per_row[:, None]).reshape(-1)
