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
    if isinstance(node, nir.Affine):
        return F.linear(x, tensor32(node.weight), tensor32(node.bias))
    if isinstance(node, nir.Linear):
        return F.linear(x, tensor32(node.weight))
    if isinstance(node, nir.Conv2d):
        padding = node.padding if isinstance(node.padding, str) else tuple(map(int, node.padding))
        return F.conv2d(
            x,
            tensor32(node.weight),
            tensor32(node.bias),
            tuple(map(int, node.stride)),
            padding,
            tuple(map(int, node.dilation)),
            int(node.groups),
        )
    if isinstance(node, nir.AvgPool2d):
        sizes = (node.kernel_size, node.stride, node.padding)
        return F.avg_pool2d(x, *(tuple(map(int, size)) for size in sizes))
    if isinstance(node, nir.Flatten):
        return x.flatten(1 + int(node.start_dim), int(node.end_dim))
    if isinstance(node, nir.Scale):
        return x * tensor32(node.scale)
    raise TypeError(type(node))


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
