"""What py-spinnaker2 is told of a program: populations, projections and their arrays.

The form is plain: names, numbers and arrays, of which `deploy.py` makes calls one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.linear import Pair
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.spinnaker2.models import TO_V_RESET
from neurodeploy.targets.spinnaker2.pes import CONVOLUTION

Arrays = dict[str, NDArray[Any]]


def network_of(program: Program, atoms: Mapping[str, int]) -> tuple[dict[str, Any], Arrays]:
    """Populations, projections and arrays for py-spinnaker2.

    Parameters
    ----------
    atoms: neurons of each input and population on one core, at most.

    Returns
    -------
    Plain data, and the arrays that it names: of a population the parameters that differ between
    neurons, float32 (neurons,); of a list of synapses `pre`, `post` (int32), `weight` (int16) and
    `delay` (int8), each (synapses,), all with weights other than 0; of a convolution the kernel,
    int8 (channels in, channels out, height, width).

    Raises
    ------
    ModelError
        What py-spinnaker2 cannot be told, all of it at once.
    """
    program = one_kernel_each(program)
    arrays: Arrays = {}
    problems: list[ModelError] = []
    inputs = [
        {"name": port.name, "size": math.prod(port.shape), "atoms": atoms[port.name]}
        for port in program.inputs
    ]
    populations = [
        {**_population(population, f"populations/{index}", arrays), "atoms": atoms[population.name]}
        for index, population in enumerate(program.populations)
    ]
    projections: list[dict[str, Any]] = []
    for (source, target), group in _pairs(program).items():
        place = f"projections/{len(projections)}"
        try:
            made = _projection(group, program.population(target), place, arrays)
        except ModelError as error:
            problems.append(error)
        else:
            projections.append({"source": source, "target": target, **made})
    if problems:
        raise ModelError(
            "py-spinnaker2 cannot be told this program: " + "; ".join(map(str, problems)),
            node="program",
        )
    network = {
        "inputs": inputs,
        "populations": populations,
        "projections": projections,
        "outputs": list(program.outputs),
    }
    return network, arrays


def one_kernel_each(program: Program) -> Program:
    """The program with `lif_conv2d` only where one convolution arrives and nothing else.

    No network is known that gave this application more (all that `from_nir` makes is one kernel).
    The others, such as those with self-synapses, become `lif_no_delay`, whose arithmetic is the
    same and whose synapses are listed one by one.
    """

    def fits(population: Neurons) -> bool:
        incoming = program.incoming(population.name)
        return len(incoming) == 1 and incoming[0].kind == "conv2d"

    return replace(
        program,
        populations=tuple(
            replace(p, model="lif_no_delay") if p.model == CONVOLUTION and not fits(p) else p
            for p in program.populations
        ),
    )


def _population(population: Neurons, place: str, arrays: Arrays) -> dict[str, Any]:
    """Name, model, sizes, what is recorded, and parameters: numbers or names of arrays."""
    parameters: dict[str, Any] = {}
    for register, values in population.parameters.items():
        if register == "reset":
            to = int(values.reshape(-1)[0]) == TO_V_RESET
            parameters[register] = "reset_to_v_reset" if to else "reset_by_subtraction"
        elif values.size == 1:
            parameters[register] = values.reshape(-1)[0].item()
        else:
            arrays[f"{place}/{register}"] = values.reshape(-1)
            parameters[register] = {"array": f"{place}/{register}"}
    membrane = population.readout == "membrane"
    return {
        "name": population.name,
        "model": population.model,
        "size": population.size,
        "depth": population.depth,
        "record": ["spikes", *(["v"] if membrane else [])],
        "parameters": parameters,
    }


def _pairs(program: Program) -> dict[tuple[str, str], list[Synapses]]:
    """Synapses by source and target: one projection for each pair."""
    pairs: dict[tuple[str, str], list[Synapses]] = {}
    for synapses in program.synapses:
        pairs.setdefault((synapses.source, synapses.target), []).append(synapses)
    return pairs


def _projection(
    group: list[Synapses], target: Neurons, place: str, arrays: Arrays
) -> dict[str, Any]:
    if target.model == CONVOLUTION:
        kernel, parameters = _convolution(group[0])
        arrays[f"{place}/kernel"] = kernel
        return {"kind": "conv2d", "array": place, "parameters": parameters}
    columns = [np.concatenate(parts) for parts in zip(*map(_listed, group), strict=True)]
    types = {"pre": np.int32, "post": np.int32, "weight": np.int16, "delay": np.int8}
    for (name, dtype), values in zip(types.items(), columns, strict=True):
        arrays[f"{place}/{name}"] = values.astype(dtype)
    return {"kind": "list", "array": place, "synapses": len(columns[0])}


def _listed(synapses: Synapses) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Source neuron, target neuron, signed weight and delay field of each synapse that is not 0."""
    sign = -1 if synapses.port == "inhibitory" else 1
    if synapses.kind == "conv2d":
        pre, post, weight = _taps(synapses)
    elif synapses.kind == "dense":
        post, pre = np.nonzero(synapses.weight)
        weight = synapses.weight[post, pre]
    else:
        pre = post = np.flatnonzero(synapses.weight)
        weight = synapses.weight[pre]
    each = synapses.delay.size > 1
    delay = synapses.delay[post, pre] if each else np.broadcast_to(synapses.delay, weight.shape)
    return pre, post, sign * weight, delay


def _taps(synapses: Synapses) -> tuple[IntArray, IntArray, IntArray]:
    """A convolution one synapse at a time, as `linear.Conv2d` says: (pre, post, weight)."""
    outs, per_group, height, width = synapses.weight.shape
    (_, in_rows, in_columns), (_, rows, columns) = synapses.in_shape, synapses.out_shape
    o, c, i, j, y, x = (
        part.reshape(-1) for part in np.indices((outs, per_group, height, width, rows, columns))
    )
    weight = synapses.weight[o, c, i, j]
    row = y * synapses.stride[0] + i * synapses.dilation[0] - synapses.padding[0]
    column = x * synapses.stride[1] + j * synapses.dilation[1] - synapses.padding[1]
    channel = o // (outs // synapses.groups) * per_group + c
    inside = (row >= 0) & (row < in_rows) & (column >= 0) & (column < in_columns) & (weight != 0)
    pre = (channel * in_rows + row) * in_columns + column
    post = (o * rows + y) * columns + x
    return pre[inside], post[inside], weight[inside]


def _convolution(synapses: Synapses) -> tuple[NDArray[np.int8], dict[str, int]]:
    """Kernel and geometry of a `Conv2DProjection`.

    Names and order of axes are those of `from_nir` (SpiNNakerManchester/sPiNNIRker @47c758b,
    spinnirker/__init__.py, `get_conv2d_params`), where `stride_x` and `pool_x` hold the first of
    two numbers, the vertical one; so unequal ones are refused.

    Raises `ModelError` for groups, dilation, or strides or poolings that differ between axes.
    """
    pool, weight = _pooling(synapses)
    stride = (synapses.stride[0] // pool, synapses.stride[1] // pool)
    if synapses.groups != 1 or synapses.dilation != (1, 1) or stride[0] != stride[1]:
        raise ModelError(
            f"its stride is {synapses.stride}, its dilation {synapses.dilation} and it has "
            f"{synapses.groups} groups; {CONVOLUTION} takes equal strides, no dilation and one "
            "group",
            node=synapses.name,
        )
    vertical, horizontal = (padding // pool for padding in synapses.padding)
    return weight.swapaxes(0, 1).astype(np.int8), {
        "in_height": synapses.in_shape[1],
        "in_width": synapses.in_shape[2],
        "stride_x": stride[0],
        "stride_y": stride[1],
        "pool_x": pool,
        "pool_y": pool,
        "pad_top": vertical,
        "pad_bottom": vertical,
        "pad_left": horizontal,
        "pad_right": horizontal,
    }


def _pooling(synapses: Synapses) -> tuple[int, IntArray]:
    """The largest k for which this is a sum pooling of k x k, then a convolution; its kernel.

    Pooling with stride k and K taps after it are a kernel of k K taps in blocks of k equal ones,
    with stride and padding in multiples of k.
    """
    geometry: tuple[Pair, ...] = (
        synapses.stride,
        synapses.padding,
        (synapses.in_shape[1], synapses.in_shape[2]),
        (synapses.weight.shape[2], synapses.weight.shape[3]),
    )
    whole = int(np.gcd.reduce(np.array(geometry).reshape(-1)))
    for k in range(whole, 1, -1):
        first = synapses.weight[:, :, ::k, ::k]
        if whole % k == 0 and np.array_equal(
            first.repeat(k, axis=2).repeat(k, axis=3), synapses.weight
        ):
            return k, first
    return 1, synapses.weight
