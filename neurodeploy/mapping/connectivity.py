"""Which synapses one spike reaches, exactly, per source neuron."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.linear import Conv2d, Dense, FloatArray, LinearMap, Scale
from neurodeploy.program import IntArray, Synapses


def fan_out(synapses: Synapses) -> IntArray:
    """Synapses of nonzero weight that one spike of each source neuron reaches.

    int64 (source neurons,), C order.  With C = (W != 0) it is C^T 1: column sums of a dense matrix;
    for a convolution the kernel taps that hit the output, borders and stride included.
    """
    return _onto(synapses, np.ones(synapses.out_shape))


def reached(synapses: Synapses, core: IntArray) -> tuple[IntArray, IntArray]:
    """On which cores the synapses that a spike reaches lie.

    Parameters
    ----------
    core: core of each target neuron, int64 (target neurons,), C order.

    Returns
    -------
    cores: int64 (m,), the cores that occur in `core`, ascending.
    counts: int64 (m, source neurons): synapses of nonzero weight that one spike of a source neuron
        reaches on that core, C^T [target on core].  Their sum over cores is `fan_out`.
    """
    if synapses.kind == "dense":
        return summed(synapses.weight != 0, core)
    size, rows = math.prod(synapses.in_shape), []
    for _, reach, counts in _by_core(synapses, core):
        rows.append(np.bincount(reach, counts, size))
    return np.unique(core), np.rint(rows).astype(np.int64)


def reaching(links: Sequence[Synapses], core: IntArray) -> Iterator[tuple[int, IntArray]]:
    """For each core, ascending, which source neurons have synapses on it, int64, ascending.

    Parameters
    ----------
    links: synapses with one source and one target.
    core: core of each target neuron, int64 (target neurons,), C order.
    """
    for group in zip(*(_by_core(synapses, core) for synapses in links), strict=True):
        sources = [reach[counts > 0] for _, reach, counts in group]
        yield group[0][0], sources[0] if len(sources) == 1 else np.unique(np.concatenate(sources))


def _by_core(synapses: Synapses, core: IntArray) -> Iterator[tuple[int, IntArray, IntArray]]:
    """Core, some source neurons, ascending, and how many synapses each has there; others: none."""
    if synapses.kind == "dense":
        cores, counts = summed(synapses.weight != 0, core)
        everyone = np.arange(counts.shape[1])
        for one, row in zip(cores.tolist(), counts, strict=True):
            yield one, everyone, row
        return
    order = np.argsort(core, kind="stable")
    cores, first = np.unique(core[order], return_index=True)
    for one, targets in zip(cores.tolist(), np.split(order, first[1:]), strict=True):
        if synapses.kind == "one-to-one":
            yield one, targets, (synapses.weight.reshape(-1)[targets] != 0).astype(np.int64)
        else:
            yield one, *_window(synapses, targets)


def _window(synapses: Synapses, targets: IntArray) -> tuple[IntArray, IntArray]:
    """Source neurons in the window of a convolution that some targets see, and their synapses."""
    _, rows, columns = np.unravel_index(targets, synapses.out_shape)
    top, left, height, width = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
    shape = tuple(
        int((n - 1) * s + d * (k - 1) + 1)
        for n, s, d, k in zip(
            (height, width),
            synapses.stride,
            synapses.dilation,
            synapses.weight.shape[2:],
            strict=True,
        )
    )
    existing = (synapses.weight != 0).astype(np.float64)
    channels, in_rows, in_columns = synapses.in_shape
    seen = Conv2d(
        existing, (channels, *shape), synapses.stride, (0, 0), synapses.dilation, synapses.groups
    )
    there = np.zeros(synapses.out_shape)
    there.reshape(-1)[targets] = 1
    there = there[:, top : top + height, left : left + width]
    counts = np.rint(seen.adjoint(there[None])[0]).astype(np.int64)
    y = np.arange(shape[0]) + top * synapses.stride[0] - synapses.padding[0]
    x = np.arange(shape[1]) + left * synapses.stride[1] - synapses.padding[1]
    inside_y, inside_x = (y >= 0) & (y < in_rows), (x >= 0) & (x < in_columns)
    counts = counts[:, inside_y][:, :, inside_x]
    index = (np.arange(channels)[:, None, None] * in_rows + y[inside_y, None]) * in_columns
    return (index + x[inside_x]).reshape(-1), counts.reshape(-1)


def summed(counts: NDArray[Any], core: IntArray) -> tuple[IntArray, IntArray]:
    """Rows (targets, sources) added up by core: the cores, ascending, and int64 (m, sources)."""
    order = np.argsort(core, kind="stable")
    cores, first = np.unique(core[order], return_index=True)
    return cores, np.add.reduceat(counts[order], first, axis=0, dtype=np.int64)


def written_out(synapses: Synapses) -> IntArray:
    """Every weight by target and source neuron: int64 (target neurons, source neurons)."""
    if synapses.kind == "dense":
        return synapses.weight
    weight = np.zeros((math.prod(synapses.out_shape), math.prod(synapses.in_shape)), np.int64)
    target, source, values = listed(synapses)
    weight[target, source] = values
    return weight


def listed(synapses: Synapses) -> tuple[IntArray, IntArray, IntArray]:
    """Target neuron, source neuron and weight of each synapse whose weight is not zero: (n,)."""
    if synapses.kind != "conv2d":
        one_to_one = synapses.kind == "one-to-one"
        weight = synapses.weight.reshape(-1) if one_to_one else synapses.weight
        found = np.nonzero(weight)
        return found[0], found[-1], weight[found]
    outs, per_group, height, width = synapses.weight.shape
    (_, in_rows, in_columns), (_, rows, columns) = synapses.in_shape, synapses.out_shape
    o, c, i, j, y, x = (
        part.reshape(-1) for part in np.indices((outs, per_group, height, width, rows, columns))
    )
    row = y * synapses.stride[0] + i * synapses.dilation[0] - synapses.padding[0]
    column = x * synapses.stride[1] + j * synapses.dilation[1] - synapses.padding[1]
    channel = o // (outs // synapses.groups) * per_group + c
    value = synapses.weight[o, c, i, j]
    inside = (row >= 0) & (row < in_rows) & (column >= 0) & (column < in_columns) & (value != 0)
    source = (channel * in_rows + row) * in_columns + column
    target = (o * rows + y) * columns + x
    return target[inside], source[inside], value[inside]


def _onto(synapses: Synapses, targets: FloatArray) -> IntArray:
    """C^T targets, int64 (source neurons,); sums of ones are exact in float64."""
    counts = _existing(synapses).adjoint(targets[None])
    return np.asarray(np.rint(counts).astype(np.int64).reshape(-1))


def _existing(synapses: Synapses) -> LinearMap:
    """C: the connection with every nonzero weight replaced by 1."""
    ones = (synapses.weight != 0).astype(np.float64)
    if synapses.kind == "dense":
        return Dense(ones, synapses.in_shape, synapses.out_shape)
    if synapses.kind == "one-to-one":
        return Scale(ones.reshape(synapses.in_shape))
    if synapses.kind == "conv2d":
        return synapses.convolution(ones)
    raise ModelError(f"unknown kind of synapses {synapses.kind!r}", node=synapses.name)
