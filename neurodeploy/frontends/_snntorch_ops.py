"""Torch operations that a traced forward pass may use outside its layers, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import resolve_name

from neurodeploy.frontends._snntorch_arithmetic import NAMES
from neurodeploy.frontends._snntorch_registry import FUNCTIONS


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What these return carries none of the tensor's data.
QUERIES = _names(
    "shape size dim ndim ndimension numel nelement stride storage_offset device dtype layout "
    "is_cuda get_device is_floating_point is_complex is_contiguous requires_grad is_leaf grad_fn "
    "__len__ __repr__ __format__ zeros_like ones_like empty_like full_like rand_like randn_like "
    "new_zeros new_ones new_empty new_full"
)
RANDOM = _names(
    "rand randn randint randperm normal bernoulli poisson multinomial rand_like randn_like normal_ "
    "uniform_ bernoulli_ random_ exponential_"
)
COPIES = _names("detach clone contiguous float double to type_as cpu cuda data type requires_grad_")
RESHAPES = _names("flatten view reshape squeeze unsqueeze ravel")
VIEWS = _names(
    "__getitem__ select unbind split chunk narrow transpose permute swapaxes movedim T mT"
)
STACKS = _names("stack cat concat concatenate hstack vstack")
JOINS = NAMES | STACKS | {"__setitem__"}
KNOWN = QUERIES | COPIES | RESHAPES | VIEWS | JOINS | set(FUNCTIONS)

_OUTSIDE = "Return the stacked spikes, and reduce them outside the model."
_ENCODED = "Encode the input as spikes outside the model, and give it these."
_FIXED = "Use nn.BatchNorm1d or nn.BatchNorm2d, whose statistics are fixed after training."
_HINTS = {
    "sum": _OUTSIDE,
    "mean": _OUTSIDE,
    "Unflatten": "No NIR node takes a vector apart: use convolutions from the image on.",
    "repeat": _ENCODED,  # spikegen.rate
    "bernoulli": _ENCODED,
    "relu": "Use snn.Leaky.",
    "ReLU": "Use snn.Leaky.",
    "LayerNorm": _FIXED,
    "layer_norm": _FIXED,
    "GroupNorm": _FIXED,
    "group_norm": _FIXED,
    "InstanceNorm2d": _FIXED,
    "instance_norm": _FIXED,
}
_SUPPORTED = (
    "Supported are Linear, Conv1d/2d, ConvTranspose1d/2d of stride 1, average, sum and maximum "
    "pooling, Flatten, BatchNorm1d/2d, Dropout, Identity and their functions, QuantLinear and "
    "QuantConv1d/2d of Brevitas, the neurons Leaky, Synaptic, Lapicque, RLeaky, RSynaptic and, "
    "without reset, Alpha, sums and differences, constant factors, and stacking of outputs; do the "
    "rest outside."
)


def hint(name: str) -> str:
    """What to use instead of an operation or class that is not supported."""
    return _HINTS.get(name, _SUPPORTED)


def name(func: Any) -> str:
    """Short name of a torch function, method or tensor property."""
    full = resolve_name(func) or str(getattr(func, "__name__", func))
    return full.removesuffix(".__get__").rsplit(".", 1)[-1]


def tensors(data: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested tuples, lists and dicts, in order."""
    if isinstance(data, torch.Tensor):
        yield data
    elif isinstance(data, (tuple, list)):
        for item in data:
            yield from tensors(item)
    elif isinstance(data, dict):
        for item in data.values():
            yield from tensors(item)


def is_in_place(name: str) -> bool:
    """Whether an operation changes its first argument."""
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are views of one storage."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def geometry(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where in its storage a tensor lies; strides of axes of length 1 mean nothing."""
    strides = [s if n > 1 else 0 for n, s in zip(tensor.shape, tensor.stride(), strict=True)]
    return tensor.storage_offset(), tuple(tensor.shape), tuple(strides)
