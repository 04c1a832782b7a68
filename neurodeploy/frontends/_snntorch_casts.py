"""Float types within a model: snnTorch's spikes are float32, whatever the type of the model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from neurodeploy.frontends._snntorch_layers import is_binary
from neurodeploy.frontends._snntorch_maps import Flat
from neurodeploy.frontends._snntorch_values import Layer, Record, Source, Sum, Value

CAST_HINT = (
    "snnTorch's spikes are float32: cast them to the model's type before every layer, x.double(), "
    "or in its forward pre-hook."
)


def is_computed(value: Value) -> bool:
    """Whether arithmetic, which rounds, made the value."""
    if isinstance(value, Layer):
        return not isinstance(value.op, Flat) or is_computed(value.operand)
    return isinstance(value, Sum)


def is_counted(value: Value, parts: Mapping[str, nn.Module]) -> bool:
    """Whether a value is made of spikes of size one, or the sample, and sums of these.

    These are small whole numbers, the same in every float type.
    """
    if isinstance(value, Sum):
        return all(is_counted(term, parts) for term in value.terms)
    if isinstance(value, Layer) and isinstance(value.op, Flat):
        return is_counted(value.operand, parts)
    return isinstance(value, Source) or is_binary(value, parts)


def keeps(
    value: Value,
    before: torch.dtype,
    after: torch.dtype,
    model: torch.dtype,
    parts: Mapping[str, nn.Module],
) -> bool:
    """Whether a cast changes no number, in a model of type `model`."""
    if isinstance(value, Record):
        return True
    if is_counted(value, parts):
        return after in (torch.float32, torch.float64)
    return after == model == torch.promote_types(before, after)
