"""What stateless layers compute, as frozen values that make their own NIR nodes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import nir
import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_nodes import (
    Array,
    convolution_node,
    dense_node,
    float_array,
    typed,
)
from neurodeploy.frontends._snntorch_values import Constant, Layer, Shape
from neurodeploy.frontends._snntorch_windows import Window
from neurodeploy.semantics import to_metadata

Tensors: TypeAlias = Mapping[str, torch.Tensor]
Nodes: TypeAlias = list[tuple[str, nir.NIRNode]]
Weights: TypeAlias = tuple[Array, Array | None]


# Layers with weights and a bias, and what is folded into these


@dataclass(frozen=True)
class Norm:
    """A batch norm in evaluation mode; its tensors by name."""

    path: str
    mean: str
    variance: str
    weight: str | None
    bias: str | None
    epsilon: float

    def folded(
        self, weight: Array, bias: Array, tensors: Tensors
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        r"""Fold it into the layer before it, in float64.

        .. math::
            W' = s W, \quad b' = s (b - \mu) + \beta,
            \quad s = \gamma / \sqrt{\sigma^2 + \epsilon}

        per output channel, the first axis of weight and bias, with the running statistics
        (torch.nn.BatchNorm2d's documentation).
        """
        mean, scale = self._array(self.mean, tensors), self.factors(tensors)
        shift = 0.0 if self.bias is None else _along(self._array(self.bias, tensors), bias)
        return weight * _along(scale, weight), (bias - _along(mean, bias)) * _along(
            scale, bias
        ) + shift

    def factors(self, tensors: Tensors) -> NDArray[np.float64]:
        """The s of `folded`, one per output channel."""
        square = self._array(self.variance, tensors) + self.epsilon
        if np.any(square <= 0):
            raise ModelError(
                "running_var + eps is not positive",
                node=self.path,
                hint="Load other running statistics.",
            )
        scale = 1 / np.sqrt(square)
        if self.weight is not None:
            scale = scale * self._array(self.weight, tensors)
        return scale

    def _array(self, name: str, tensors: Tensors) -> NDArray[np.float64]:
        return float_array(tensors[name], name, self.path).astype(np.float64)


def _along(channels: Array, like: Array) -> Array:
    """One value per channel, shaped to be broadcast along the first axis of `like`."""
    return channels.reshape(-1, *(1,) * (like.ndim - 1))


@dataclass(frozen=True)
class Quantisation:
    """Weights that are integers times a scale.

    Attributes
    ----------
    bits: width of the integers, two's complement where `signed`.
    scale: of all weights (of shape ()), or one per output channel.
    """

    bits: int
    signed: bool
    scale: Constant

    def folded(self, norm: Norm, tensors: Tensors) -> Quantisation:
        """The same integers after `norm` is folded into the weights."""
        return replace(self, scale=Constant.of(self.scale.array * norm.factors(tensors)))

    @property
    def metadata(self) -> dict[str, str]:
        entry = {
            "bits": self.bits,
            "signed": self.signed,
            "zero_point": 0,
            "scale": self.scale.array.reshape(-1).tolist(),
        }
        return to_metadata(quantisation=entry)


@dataclass(frozen=True)
class Weighted(ABC):
    """A layer with weights and a bias.

    Attributes
    ----------
    changes: batch norms, and constants added, of the bias's shape; folded in one after the other.
    quantisation: of the weights before these.
    """

    changes: tuple[Norm | Constant, ...] = ()
    quantisation: Quantisation | None = None

    def changed(self, change: Norm | Constant) -> Weighted:
        """The same layer followed by `change`."""
        return replace(self, changes=(*self.changes, change))

    def bias_shape(self, shape: Shape) -> Shape:
        """Shape of the bias where the output is of `shape`: one value per channel."""
        return shape[:1]

    def nodes(self, layer: Layer, tensors: Tensors) -> Nodes:
        weight, bias = self._weights(layer, tensors)
        quantisation = self.quantisation
        for change in self.changes:
            if bias is None:
                bias = np.zeros(self.bias_shape(layer.shape))
            if isinstance(change, Norm):
                weight, bias = change.folded(weight, bias, tensors)
                quantisation = quantisation and quantisation.folded(change, tensors)
            else:
                bias = bias + change.array
        node = self._node(layer, weight, bias)
        if quantisation is not None:
            node.metadata = quantisation.metadata
        return [("", node)]

    @abstractmethod
    def _weights(self, layer: Layer, tensors: Tensors) -> Weights: ...

    @abstractmethod
    def _node(self, layer: Layer, weight: Array, bias: Array | None) -> nir.NIRNode: ...


@dataclass(frozen=True, kw_only=True)
class Dense(Weighted):
    """y = W x + b along the last axis, the same for all rows; the tensors by name."""

    weight: str
    bias: str | None

    def bias_shape(self, shape: Shape) -> Shape:
        return shape

    def _weights(self, layer: Layer, tensors: Tensors) -> Weights:
        weight, bias = _named(self.weight, self.bias, layer.path, tensors)
        rows = layer.shape[:-1]
        if rows:  # NIR has a matrix for each row
            weight = np.broadcast_to(weight, (*rows, *weight.shape)).copy()
            bias = None if bias is None else np.broadcast_to(bias, layer.shape).copy()
        return weight, bias

    def _node(self, layer: Layer, weight: Array, bias: Array | None) -> nir.NIRNode:
        return dense_node(weight, bias)


@dataclass(frozen=True, kw_only=True)
class Convolution(Weighted):
    """torch's convolution over all axes but the first; the tensors by name.

    With `transposed`, the weight is one of a transposed convolution of stride 1, (in, out / groups,
    *kernel): the convolution with the flipped kernel, in and out swapped within each group.
    """

    weight: str
    bias: str | None
    windows: tuple[Window, ...]
    groups: int
    transposed: bool = False

    def _weights(self, layer: Layer, tensors: Tensors) -> Weights:
        weight, bias = _named(self.weight, self.bias, layer.path, tensors)
        if self.transposed:
            grouped = weight.reshape(self.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
            weight = np.flip(grouped, tuple(range(3, grouped.ndim)))
            weight = weight.reshape(-1, *weight.shape[2:]).copy()
        return weight, bias

    def _node(self, layer: Layer, weight: Array, bias: Array | None) -> nir.NIRNode:
        return convolution_node(weight, bias, self.windows, self.groups, layer.operand.shape)


@dataclass(frozen=True)
class PerChannel(Weighted):
    """What is folded into it, standing alone: a diagonal matrix, or a depthwise convolution."""

    def _weights(self, layer: Layer, tensors: Tensors) -> Weights:
        channels, *axes = layer.shape
        return (np.ones((channels, 1, *(1 for _ in axes))) if axes else np.eye(channels)), None

    def _node(self, layer: Layer, weight: Array, bias: Array | None) -> nir.NIRNode:
        if weight.ndim == 2:
            return dense_node(weight, bias)
        windows = (Window(1),) * (weight.ndim - 2)
        return convolution_node(weight, bias, windows, len(weight), layer.shape)


def _named(weight: str, bias: str | None, path: str, tensors: Tensors) -> Weights:
    return (
        float_array(tensors[weight], weight, path),
        None if bias is None else float_array(tensors[bias], bias, path),
    )


# Layers without


@dataclass(frozen=True)
class Flat:
    """The axes `first` to `last` made one."""

    first: int
    last: int

    def nodes(self, layer: Layer, tensors: Tensors) -> Nodes:
        shape = layer.operand.shape
        last = -1 if self.last == len(shape) - 1 else self.last
        node = nir.Flatten({"input": np.array(shape)}, start_dim=self.first, end_dim=last)
        return [("", node)]


@dataclass(frozen=True)
class Factor:
    """y = c x, element by element; c is broadcast to the shape of x."""

    factor: Constant

    def nodes(self, layer: Layer, tensors: Tensors) -> Nodes:
        return [("", _scale(self.factor, layer.shape))]


@dataclass(frozen=True)
class Pool:
    """Sums over windows, each times `factor`, which is broadcast to the output's shape."""

    windows: tuple[Window, ...]
    factor: Constant

    def nodes(self, layer: Layer, tensors: Tensors) -> Nodes:
        factor, area = self.factor.array, math.prod(window.size for window in self.windows)
        if np.all(factor == 1):
            return [("", _window_sum(self.windows, layer))]
        if _is_plain(self.windows) and np.all(factor == 1 / area):
            return [("", _pool(nir.AvgPool2d, self.windows, layer))]
        return [("sum", _window_sum(self.windows, layer)), ("", _scale(self.factor, layer.shape))]


@dataclass(frozen=True)
class AnyOf:
    """Whether a window holds a spike, which is the maximum of zeros and ones."""

    windows: tuple[Window, ...]

    def nodes(self, layer: Layer, tensors: Tensors) -> Nodes:
        threshold = nir.Threshold(np.full(layer.shape, 0.5))
        return [("sum", _window_sum(self.windows, layer)), ("", threshold)]


def _scale(factor: Constant, shape: Shape) -> nir.NIRNode:
    return nir.Scale(np.broadcast_to(factor.array, shape).copy())


def _is_plain(windows: tuple[Window, ...]) -> bool:
    """Whether NIR's pooling nodes can say the windows."""
    return len(windows) == 2 and all(w.symmetric and w.dilation == 1 for w in windows)


def _pool(kind: type[nir.NIRNode], windows: tuple[Window, ...], layer: Layer) -> nir.NIRNode:
    sizes = (
        np.array(size) for size in zip(*((w.size, w.stride, w.low) for w in windows), strict=True)
    )
    return typed(kind(*sizes), layer.operand.shape, layer.shape)


def _window_sum(windows: tuple[Window, ...], layer: Layer) -> nir.NIRNode:
    """SumPool2d, or a depthwise convolution of ones."""
    if _is_plain(windows):
        return _pool(nir.SumPool2d, windows, layer)
    channels = layer.shape[0]
    ones = np.ones((channels, 1, *(window.size for window in windows)), np.float32)
    return convolution_node(ones, None, windows, channels, layer.operand.shape)
