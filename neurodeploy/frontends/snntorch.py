"""snnTorch in: a trained module to a NIR graph that keeps its execution semantics.

The module is run once on a sample, and what feeds what is read off the tensors: no symbolic
tracing, so ordinary Python in `forward` is fine.  Equations and traps of snnTorch 1.0.0 are in
`snntorch._neurons`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurodeploy.errors import InputError, ModelError
from neurodeploy.frontends._snntorch_classes import NEURONS
from neurodeploy.frontends._snntorch_compare import compared, population_nodes, trials
from neurodeploy.frontends._snntorch_graph import Builder
from neurodeploy.frontends._snntorch_nodes import check_finite
from neurodeploy.frontends._snntorch_observe import observe
from neurodeploy.frontends._snntorch_replay import Forward, checked, replay
from neurodeploy.frontends._snntorch_run import device_of, dtype_of, input_names
from neurodeploy.semantics import from_metadata
from neurodeploy.trace import Inputs


def from_snntorch(
    module: nn.Module,
    sample: torch.Tensor | Sequence[torch.Tensor],
    *,
    dt: float = 1e-4,
    inputs: Inputs | None = None,
) -> nir.NIRGraph:
    """Convert a trained snnTorch module to a NIR graph, exactly, and compare the two.

    Both run on random spikes, and on `inputs`; what was found is part of the graph's metadata, see
    `comparisons`.

    Supported are the neurons `Leaky`, `Synaptic`, `Lapicque`, `RLeaky`, `RSynaptic` and, without
    reset, `Alpha`, time loops in `forward`, and these layers, as modules or as functions of
    `torch.nn.functional`:

    - `Linear` (also of rows: one matrix per row), `Conv1d/2d` with all options but `padding_mode`,
      `ConvTranspose1d/2d` of stride 1 (as a convolution);
    - `AvgPool1d/2d` with all options, `AdaptiveAvgPool1d/2d` into sizes that divide the input's,
      `LPPool1d/2d` of norm 1 (sum pooling);
    - `MaxPool1d/2d` of spikes, as a population of stateless neurons (`Threshold`) that fire where
      their window holds a spike;
    - `BatchNorm1d/2d` with running statistics, folded into the `Linear` or convolution before it,
      else as a depthwise convolution (of features, up to 4096: as a diagonal matrix);
    - `Flatten` of any axes but the batch, `Identity`, all dropouts (inactive);
    - `QuantLinear`, `QuantConv1d/2d` of Brevitas with symmetric integer weights, one scale or one
      per output channel, any bias and no quantised activations;
    - sums and differences of values, products and quotients with constants, and constants added to
      what a `Linear` or convolution delivers, into whose bias they go.

    The module is left as it was.

    What `forward` returns, in any nesting of tuples, lists and dicts and stacked over time, are the
    outputs: spikes, what layers make of spikes, and the membrane potential of neurons that drive
    nothing and whose spikes are not returned.  Other states that it returns are no outputs.

    Parameters
    ----------
    module:
        With float32 or float64 parameters, on any device.  snnTorch's spikes are float32 in a
        float64 model too; between its layers they must be cast (`x.double()` in `forward`, or in
        forward pre-hooks of the layers and of a neuron's `recurrent`).
    sample:
        What `forward` takes, batch axis included: one step's input (B, ...), or, where `forward`
        holds the time loop, what that loop takes, of two or more steps.  Its values and type do not
        matter.  Several tensors are forward's first arguments, each an input of its own.
    dt:
        Length of a time step in seconds; it relates NIR's time constants to alpha and beta.
        `Lapicque` has its own `time_step`, and its input gain may differ in the last float32 bit.
    inputs:
        What the two are compared on besides random spikes; see `reference_spikes`.

    Returns
    -------
    nir.NIRGraph
        Nodes named after module paths, functions after the module that calls them; where a layer
        takes several nodes, the last has its name.  Inputs are named `input`, or `input.<argument
        of forward>` where there are several.  Weights have the model's type (float64 where
        something is folded in), neuron parameters are float64 of the population's shape; shapes are
        without batch and time.  Every neuron carries its `Semantics` in its metadata, every layer
        of Brevitas the `quantisation` of its weights: `bits`, `signed`, `zero_point` (0) and
        `scale`, a list of one number or one per output channel; weight / scale, rounded, are the
        integers (a scale is negative where a batch norm with a negative weight follows).  Recurrent
        weights are a node `<neuron>.recurrent` between the neuron and itself; what they carry
        arrives one step later.

    Raises
    ------
    ModelError
        Something has no exact form here: where it is, why, and what to do.
    InputError
        `sample` is not a tensor with a batch axis, or not as many as forward takes; or `dt` is not
        positive.
    """
    samples = [sample] if isinstance(sample, torch.Tensor) else sample
    if not isinstance(samples, (tuple, list)) or not samples or not all(map(_is_sample, samples)):
        raise InputError(
            "the sample must be a tensor with a batch axis and at least one other",
            hint="Give one input of forward, or a tuple of several.",
        )
    if not 0 < dt < math.inf:
        raise InputError(f"dt is {dt}, expected a positive time in seconds")
    check_finite(module)
    dtype = dtype_of(module)
    names = input_names(module, len(samples))
    given = {n: x.to(device_of(module), dtype) for n, x in zip(names, samples, strict=True)}
    try:
        observed = observe(module, given, dtype)
        # The module runs before the graph is made: a copy of its parameters is kept meanwhile.
        runs = trials(module, observed, given, inputs)
        return compared(Builder(observed, dt).graph(), runs)
    except ModelError as error:
        error.node = error.node or type(module).__name__
        raise


def _is_sample(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[0] > 0


def reference_spikes(
    module: nn.Module, inputs: Inputs, graph: nir.NIRGraph
) -> dict[str, NDArray[np.uint8]]:
    """Spikes of the snnTorch module itself, from rest: what the graph is checked against.

    Parameters
    ----------
    module:
        The module that `graph` was made from; it is left as it was.
    inputs:
        [B, T, *shape of one step], float32 or float64 as the module.  Where `forward` repeats one
        input for a number of steps, the input must be constant over T and T must be that number.
        For several inputs, a mapping from the names of their nodes.
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
        `inputs` has other names, another dtype or shape.
    ModelError
        The graph was not made from this module by `from_snntorch`, or `forward` runs another
        number of steps than T.
    """
    forward = (from_metadata(graph.metadata, node="graph") or {}).get("forward")
    nodes = population_nodes(graph)
    parts = dict(module.named_modules())
    own = (type(parts.get(path)) in NEURONS for path, use in nodes if use is None)
    if not isinstance(forward, dict) or not all(own):
        raise ModelError(
            "the graph was not made from this module by from_snntorch", node=type(module).__name__
        )
    how = Forward.from_dict(forward)
    shapes = {
        name: tuple(int(n) for n in graph.nodes[name].input_type["input"]) for name in how.axes
    }
    arrays = checked(inputs, shapes, dtype_of(module))
    return {nodes[key]: found for key, found in replay(module, how, arrays, nodes).items()}
