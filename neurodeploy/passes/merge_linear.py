"""Merge the linear maps of each connection into the one map that a chip can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.linear import (
    Conv2d,
    Dense,
    FloatArray,
    LinearMap,
    Reshape,
    Scale,
    Shape,
    Weights,
    describe,
    ungrouped,
)
from neurodeploy.network import Connection, Network

MAX_DENSE_WEIGHTS = 1 << 26


@dataclass(frozen=True)
class MergeLinear:
    """Every connection becomes one `Dense` or one `Conv2d`.

    Composition is exact in real arithmetic: convolution after convolution (pooling included) where
    the zero padding in between cannot be told from zeros of the input, anything else as the product
    of the matrices.  The number of synapses that a spike reaches does not grow when a pooling with
    stride k is merged into the next convolution.
    """

    @property
    def name(self) -> str:
        return "merge-linear"

    def run(self, network: Network) -> Network:
        connections = tuple(
            replace(connection, ops=(merge(connection, network.shapes[connection.source]),))
            for connection in network.connections
        )
        return replace(network, connections=connections)


def merge(connection: Connection, shape: Shape) -> Dense | Conv2d:
    """The single map equal to the chain `connection.ops` from a source of `shape`.

    No maps at all, as on a residual branch, are synapses of weight 1 from each neuron to its like.

    Raises
    ------
    ModelError
        Its matrix would have more than 2^26 weights.
    """
    ops = list(connection.ops)
    if len(shape) == 3 and all(isinstance(op, Scale) for op in ops):
        ops.insert(0, Conv2d(np.ones((shape[0], 1, 1, 1)), shape, groups=shape[0]))
    ops = ops or [Scale(np.ones(shape))]
    while len(ops) > 1:
        # Pulling a matrix back through what precedes it never builds a larger matrix.
        at = next((i for i in range(len(ops) - 1) if isinstance(ops[i + 1], Dense)), 0)
        ops[at : at + 2] = [_compose(ops[at], ops[at + 1], connection.name)]
    op = ops[0]
    return op if isinstance(op, (Dense, Conv2d)) else as_dense(op, connection.name)


def _compose(a: LinearMap, b: LinearMap, node: str) -> LinearMap:
    if isinstance(b, Dense):
        return Dense(_rows(a, b.weight, node), a.in_shape, b.out_shape)
    if isinstance(a, Reshape) and isinstance(b, Reshape):
        return Reshape(a.in_shape, b.out_shape)
    if isinstance(a, Dense) and isinstance(b, Reshape):
        return Dense(a.weight, a.in_shape, b.out_shape)
    if isinstance(a, Dense) and isinstance(b, Scale):
        return Dense(a.weight * b.factor.reshape(-1, 1), a.in_shape, a.out_shape)
    if isinstance(a, Scale) and isinstance(b, Scale):
        return Scale(a.factor * b.factor)
    if isinstance(a, Conv2d) and isinstance(b, Scale) and _per_channel(b.factor):
        return replace(a, weight=a.weight * b.factor[:, :1, :1, None])
    if isinstance(a, Scale) and isinstance(b, Conv2d) and _per_channel(a.factor):
        return _scale_inputs(a.factor[:, 0, 0], b)
    if isinstance(a, Conv2d) and isinstance(b, Conv2d) and _padding_is_zero(a, b):
        return _compose_convolutions(a, b)
    return _compose(a, as_dense(b, node), node)


def _rows(a: LinearMap, weight: Weights, node: str) -> FloatArray:
    """Rows of `weight` pulled back through `a`: the product of the two matrices."""
    size = len(weight) * math.prod(a.in_shape)
    if size > MAX_DENSE_WEIGHTS:
        raise ModelError(
            f"{describe(a)} before a dense layer would need {size} weights, "
            f"the limit is {MAX_DENSE_WEIGHTS}",
            node=node,
        )
    rows = weight.reshape(-1, *a.out_shape).astype(np.float64, copy=False)
    return a.adjoint(rows).reshape(len(weight), -1)


def as_dense(op: LinearMap, node: str) -> Dense:
    """Any linear map as its matrix, column by column or row by row, whichever are fewer."""
    inputs, outputs = math.prod(op.in_shape), math.prod(op.out_shape)
    if inputs * outputs > MAX_DENSE_WEIGHTS:
        raise ModelError(
            f"{describe(op)} would need {inputs * outputs} weights as a matrix, "
            f"the limit is {MAX_DENSE_WEIGHTS}",
            node=node,
        )
    if outputs < inputs:
        weight = _rows(op, np.eye(outputs), node)
    else:
        weight = op.apply(np.eye(inputs).reshape(-1, *op.in_shape)).reshape(inputs, -1).T
    return Dense(weight, op.in_shape, op.out_shape)


def _per_channel(factor: FloatArray) -> bool:
    return factor.ndim == 3 and bool(np.all(factor == factor[:, :1, :1]))


def _scale_inputs(factor: FloatArray, conv: Conv2d) -> Conv2d:
    grouped = np.repeat(factor.reshape(conv.groups, 1, -1), len(conv.weight) // conv.groups, axis=1)
    return replace(conv, weight=conv.weight * grouped.reshape(len(conv.weight), -1, 1, 1))


def _padding_is_zero(a: Conv2d, b: Conv2d) -> bool:
    """Whether the zeros that `b` pads with equal what `a` computes outside its output.

    Index m of a's output reads inputs from m s - p on.  At m = (output size) all of them must lie
    behind the input; then those of m = -1 lie before it, since the kernel is no longer than s + p.
    """
    return all(
        pb == 0 or m * s - p >= n
        for pb, s, p, m, n in zip(
            b.padding,
            a.stride,
            a.padding,
            a.out_shape[1:],
            a.in_shape[1:],
            strict=True,
        )
    )


def _compose_convolutions(a: Conv2d, b: Conv2d) -> Conv2d:
    """K[j d_b s_a + i d_a] = sum over (i, j) of K_b[j] K_a[i].

    Stride s_a s_b, padding p_b s_a + p_a.
    """
    full_a, full_b = ungrouped(a), ungrouped(b)
    steps = [d * s for d, s in zip(b.dilation, a.stride, strict=True)]
    size = [
        (kb - 1) * step + (ka - 1) * d + 1
        for kb, step, ka, d in zip(
            full_b.shape[2:], steps, full_a.shape[2:], a.dilation, strict=True
        )
    ]
    weight = np.zeros((len(full_b), full_a.shape[1], *size))
    rows, columns = (
        slice(0, (k - 1) * d + 1, d) for k, d in zip(full_a.shape[2:], a.dilation, strict=True)
    )
    for i in range(full_b.shape[2]):
        for j in range(full_b.shape[3]):
            block = weight[:, :, i * steps[0] :, j * steps[1] :]
            block[:, :, rows, columns] += np.einsum(
                "om,mckl->ockl", full_b[:, :, i, j], full_a, optimize=True
            )
    pad_a, pad_b, stride_a, stride_b = a.padding, b.padding, a.stride, b.stride
    groups = math.gcd(a.groups, b.groups)
    return Conv2d(
        _grouped(weight, groups),
        a.in_shape,
        (stride_a[0] * stride_b[0], stride_a[1] * stride_b[1]),
        (pad_b[0] * stride_a[0] + pad_a[0], pad_b[1] * stride_a[1] + pad_a[1]),
        (1, 1),
        groups,
    )


def _grouped(full: FloatArray, groups: int) -> FloatArray:
    """The diagonal blocks of a kernel whose other blocks are zero."""
    out, channels = full.shape[:2]
    rows, columns = out // groups, channels // groups
    return np.concatenate(
        [full[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] for g in range(groups)]
    )
