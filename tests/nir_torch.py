"""NIR's linear nodes in torch, float32: what the interpreters of the front-end tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nir
import numpy as np
import torch
from torch.nn import functional as F


def tensor32(array: Any) -> Any:
    return torch.from_numpy(np.asarray(array)).float()


def linear_node(node: Any, x: Any) -> Any:
    """What a stateless node makes of float32 [B, ...]."""
    if isinstance(node, (nir.Affine, nir.Linear)):
        weight = tensor32(node.weight)
        bias = tensor32(node.bias) if isinstance(node, nir.Affine) else None
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        y = (weight @ x[..., None])[..., 0]
        return y if bias is None else y + bias
    if isinstance(node, (nir.Conv1d, nir.Conv2d)):
        convolve = F.conv1d if isinstance(node, nir.Conv1d) else F.conv2d
        return convolve(
            x,
            tensor32(node.weight),
            tensor32(node.bias),
            sizes(node.stride),
            node.padding if isinstance(node.padding, str) else sizes(node.padding),
            sizes(node.dilation),
            int(node.groups),
        )
    if isinstance(node, (nir.AvgPool2d, nir.SumPool2d)):
        divisor = 1 if isinstance(node, nir.SumPool2d) else None
        windows = map(sizes, (node.kernel_size, node.stride, node.padding))
        return F.avg_pool2d(x, *windows, divisor_override=divisor)
    if isinstance(node, nir.Flatten):
        last = int(node.end_dim)
        return x.flatten(1 + int(node.start_dim), last if last < 0 else 1 + last)
    if isinstance(node, nir.Scale):
        return x * tensor32(node.scale)
    if isinstance(node, nir.Threshold):
        return (x > tensor32(node.threshold)).float()
    raise TypeError(type(node))


def sizes(value: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in np.atleast_1d(value))


def one_step(
    graph: Any,
    x: Any,
    sources: Mapping[str, list[str]],
    neurons: Mapping[str, Callable[[Any], Any]],
) -> dict[str, Any]:
    """What every node delivers in a step with input `x`; `neurons` turn a current into spikes."""
    values = {"input": x}
    while len(values) < len(graph.nodes):
        for name, node in graph.nodes.items():
            if name in values or not all(source in values for source in sources[name]):
                continue
            total = sum(values[source] for source in sources[name])
            if name in neurons:
                values[name] = neurons[name](total)
            elif isinstance(node, nir.Output):
                values[name] = total
            else:
                values[name] = linear_node(node, total)
    return values
