"""The stateless layers of torch: for each, one rule from a call to the value of its output.

A module and the function of the same name share the rule: the module's attributes are named like
the function's arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_maps import (
    AnyOf,
    Convolution,
    Dense,
    Flat,
    Norm,
    PerChannel,
    Pool,
    Quantisation,
    Weighted,
)
from neurodeploy.frontends._snntorch_values import (
    Constant,
    Layer,
    Op,
    Operand,
    Shape,
    Spikes,
    Value,
)
from neurodeploy.frontends._snntorch_windows import Window, per_axis

MAX_ROW_WEIGHTS = 1 << 26
MAX_DIAGONAL = 4096


@dataclass(frozen=True)
class Call:
    """A call of a stateless layer, of which `operand` is the input.

    Attributes
    ----------
    name: class of the module, or name of the function.
    path: name of the layer in the graph.
    shape: shape of the output without batch.
    options: the module, or the function's arguments by name.
    names: names of the model's parameters and statistics by identity.
    parts: the model's modules by path.
    computed: what layers compute with that is no tensor of the model, by name; see `keep`.
    quantisation: of the weight.
    """

    name: str
    path: str
    operand: Operand
    shape: Shape
    options: Any
    names: Mapping[int, str]
    parts: Mapping[str, nn.Module]
    computed: dict[str, torch.Tensor] = field(default_factory=dict)
    quantisation: Quantisation | None = None

    def layer(self, op: Op) -> Layer:
        return Layer(self.shape, self.path, self.operand, op)

    def refuse(self, reason: str, hint: str) -> ModelError:
        return ModelError(f"{self.name} {reason}", hint=hint)

    def check_axes(self, *expected: int) -> None:
        """Check the number of axes of the input, batch included."""
        axes = 1 + len(self.operand.shape)
        if axes not in expected:
            raise self.refuse(
                f"gets a tensor of {axes} axes, expected {' or '.join(map(str, expected))} axes",
                "The first axis is the batch, the second holds the channels of an image or series.",
            )

    def tensor(self, name: str) -> str | None:
        """Name in the model of an argument; None where the argument is."""
        tensor = getattr(self.options, name)
        if tensor is None:
            return None
        if id(tensor) not in self.names:
            raise self.refuse(
                f"has a {name} that is no parameter of the model, or computed from others "
                "(weight_norm, spectral_norm, arithmetic in forward)",
                "Make it a parameter first, for instance with torch.nn.utils.remove_weight_norm.",
            )
        return self.names[id(tensor)]

    def keep(self, name: str, tensor: torch.Tensor) -> str:
        """Name under which a tensor that the layer computes is kept for its node."""
        full = f"{self.path}.{name}".lstrip(".")
        if not torch.equal(self.computed.setdefault(full, tensor), tensor):
            raise self.refuse(
                f"computes another {name} in each call, and NIR's parameters are constant",
                "Make it deterministic, for instance by rounding to the nearest.",
            )
        return full

    def weight(self) -> str:
        """Name in the model of the weight."""
        name = self.tensor("weight")
        if name is None:
            raise self.refuse("has no weight", "Give it one.")
        return name


Rule: TypeAlias = Callable[[Call], Operand]


def names_of(tensors: Mapping[str, torch.Tensor]) -> dict[int, str]:
    """Names by identity, the first of those that are tied."""
    return {id(tensor): name for name, tensor in reversed(list(tensors.items()))}


# Rules


def bypass(call: Call) -> Operand:
    """What evaluation mode passes on unchanged."""
    if not isinstance(call.options, nn.Module) and call.options.training:
        raise call.refuse(
            "drops values at random", "Give it training=self.training, or use nn.Dropout."
        )
    return call.operand


def flatten(call: Call) -> Operand:
    value = flattened(call.operand, call.shape, call.path)
    if value is None:
        raise call.refuse(
            f"turns {call.operand.shape} into {call.shape} (without batch)",
            "Flatten neighbouring axes: nn.Flatten(), nn.Flatten(2).",
        )
    return value


def flattened(value: Operand, shape: Shape, path: str) -> Operand | None:
    """The value brought to `shape` by making neighbouring axes one; None where that does not do."""
    if value.shape == shape:
        return value
    axes = len(value.shape)
    for first in range(axes if shape else 0):
        for last in range(axes - 1, first, -1):
            merged = math.prod(value.shape[first : last + 1])
            if (*value.shape[:first], merged, *value.shape[last + 1 :]) == shape:
                return Layer(shape, path, value, Flat(first, last))
    return None


def linear(call: Call) -> Layer:
    if not call.operand.shape:
        raise call.refuse(
            "gets a tensor of 1 axis, expected 2 or more axes", "The first axis is the batch."
        )
    rows, outputs = call.shape[:-1], call.shape[-1]
    entries = math.prod(call.shape) * call.operand.shape[-1]
    if rows and entries > MAX_ROW_WEIGHTS:
        raise call.refuse(
            f"is applied to {math.prod(rows)} rows, for each of which NIR has a matrix of its own: "
            f"{entries} weights, at most {MAX_ROW_WEIGHTS}",
            f"Use nn.Conv1d({call.operand.shape[-1]}, {outputs}, 1) on (batch, features, rows).",
        )
    return call.layer(
        Dense(weight=call.weight(), bias=call.tensor("bias"), quantisation=call.quantisation)
    )


def convolution(call: Call, *, transposed: bool = False) -> Layer:
    options = call.options
    sizes = tuple(options.weight.shape[2:])
    call.check_axes(2 + len(sizes))
    mode = getattr(options, "padding_mode", "zeros")
    if mode != "zeros":
        raise call.refuse(
            f"has padding_mode={mode!r}, and NIR pads with zeros", "Use padding_mode='zeros'."
        )
    strides, dilations = (
        per_axis(options.stride, len(sizes)),
        per_axis(options.dilation, len(sizes)),
    )
    spans = [dilation * (size - 1) for size, dilation in zip(sizes, dilations, strict=True)]
    if transposed:
        if any(stride != 1 for stride in strides):
            raise call.refuse(
                f"with stride {strides} puts zeros between its inputs, which no NIR node does",
                "Use stride 1, or flatten and use nn.Linear.",
            )
        lows = [
            span - p for span, p in zip(spans, per_axis(options.padding, len(sizes)), strict=True)
        ]
        more = per_axis(options.output_padding, len(sizes))
        highs = [low + extra for low, extra in zip(lows, more, strict=True)]
    elif options.padding == "same":  # the odd one at the end (torch.nn.Conv2d's documentation)
        lows = [span // 2 for span in spans]
        highs = [span - low for span, low in zip(spans, lows, strict=True)]
    else:
        lows = highs = list(
            per_axis(0 if options.padding == "valid" else options.padding, len(sizes))
        )
    windows = tuple(map(Window, sizes, strides, lows, highs, dilations))
    return call.layer(
        Convolution(
            weight=call.weight(),
            bias=call.tensor("bias"),
            quantisation=call.quantisation,
            windows=windows,
            groups=options.groups,
            transposed=transposed,
        )
    )


def batch_norm(call: Call, axes: tuple[int, ...]) -> Operand:
    """Folded into the layer before it, or standing alone."""
    options, operand = call.options, call.operand
    call.check_axes(*axes)
    if options.running_mean is None or options.running_var is None:
        raise call.refuse(
            "normalises with the statistics of each batch (track_running_stats=False)",
            "Train with track_running_stats=True.",
        )
    if options.training:
        raise call.refuse(
            "normalises with the statistics of each batch", "Give it training=self.training."
        )
    mean, variance = call.tensor("running_mean"), call.tensor("running_var")
    norm = Norm(
        call.path, str(mean), str(variance), call.tensor("weight"), call.tensor("bias"), options.eps
    )
    if isinstance(operand, Layer) and isinstance(operand.op, Weighted):
        return Layer(operand.shape, operand.path, operand.operand, operand.op.changed(norm))
    if len(call.shape) == 1 and call.shape[0] > MAX_DIAGONAL:
        raise call.refuse(
            f"of {call.shape[0]} features does not follow a layer with weights, and as a matrix of "
            f"its own has at most {MAX_DIAGONAL} features",
            "Place it right after nn.Linear, into which it is folded.",
        )
    return call.layer(PerChannel((norm,)))


def _windows(call: Call, axes: int) -> tuple[Window, ...]:
    """The windows of a pooling; with ceil_mode the last ones reach beyond the padding."""
    call.check_axes(2 + axes)
    options = call.options
    sizes = per_axis(options.kernel_size, axes)
    strides = per_axis(options.stride or options.kernel_size, axes)
    lows = per_axis(getattr(options, "padding", 0), axes)
    dilations = per_axis(getattr(options, "dilation", 1), axes)
    windows = []
    for length, outputs, *geometry in zip(
        call.operand.shape[1:], call.shape[1:], sizes, strides, lows, dilations, strict=True
    ):
        size, stride, low, dilation = geometry
        reach = (outputs - 1) * stride - low + dilation * (size - 1) + 1 - length
        windows.append(Window(size, stride, low, max(low, reach), dilation))
    return tuple(windows)


def _counts(call: Call, windows: tuple[Window, ...], padded: bool) -> Any:
    """Number of inputs in each window; the padding counts where `padded`, what lies beyond not."""
    counts = np.ones((), np.int64)
    for length, window in zip(call.operand.shape[1:], windows, strict=True):
        ends = window.low if padded else 0
        counts = np.multiply.outer(counts, window.seen(length, low=ends, high=ends))
    return counts


def _pooled(call: Call, windows: tuple[Window, ...], factor: Any) -> Operand:
    first = factor.flat[0]
    return call.layer(Pool(windows, Constant.of(first if np.all(factor == first) else factor)))


def average(call: Call, axes: int) -> Operand:
    r"""Sums over windows divided by what torch.nn.AvgPool2d's documentation counts."""
    windows = _windows(call, axes)
    divisor = _counts(call, windows, call.options.count_include_pad)
    if getattr(call.options, "divisor_override", None) is not None:
        divisor = np.asarray(call.options.divisor_override)
    return _pooled(call, windows, 1 / divisor)


def adaptive(call: Call, axes: int) -> Operand:
    call.check_axes(2 + axes)
    sizes = list(zip(call.operand.shape[1:], call.shape[1:], strict=True))
    if any(length % outputs for length, outputs in sizes):
        raise call.refuse(
            f"of {call.operand.shape[1:]} into {call.shape[1:]} has windows of different sizes",
            "Choose an output size that divides the input's.",
        )
    windows = tuple(Window(length // outputs, length // outputs) for length, outputs in sizes)
    return _pooled(call, windows, 1 / np.asarray(math.prod(window.size for window in windows)))


def power(call: Call, axes: int) -> Operand:
    """Sum pooling; torch sums a window cut by ceil_mode as its mean times the whole area."""
    if float(call.options.norm_type) != 1:
        raise call.refuse(
            f"with norm_type={call.options.norm_type} takes a root of powers, which no NIR node "
            "does",
            "Use norm_type=1, which sums, or nn.AvgPool2d.",
        )
    windows = _windows(call, axes)
    area = math.prod(window.size for window in windows)
    return _pooled(call, windows, area / _counts(call, windows, True))


def maximum(call: Call, axes: int) -> Operand:
    """On spikes: neurons that fire where a window holds one."""
    if not is_binary(call.operand, call.parts):
        raise call.refuse(
            "takes the maximum of currents, which is no sum and no NIR node; of the spikes of "
            "neurons (graded_spikes_factor 1) it can be said",
            "Pool after the neuron, or use average pooling.",
        )
    windows = _windows(call, axes)
    if np.any(_counts(call, windows, False) == 0):
        raise call.refuse(
            "has windows that lie in the padding, whose maximum is -inf", "Use less padding."
        )
    return call.layer(AnyOf(windows))


def is_binary(value: Value, parts: Mapping[str, nn.Module]) -> bool:
    """Whether a value is provably zeros and ones: spikes, seen through their shape only."""
    if isinstance(value, Spikes):
        factor: Any = parts[value.path].graded_spikes_factor
        return bool((factor == 1).all())
    if isinstance(value, Layer):
        flat = isinstance(value.op, Flat) and is_binary(value.operand, parts)
        return flat or isinstance(value.op, AnyOf)
    return False
