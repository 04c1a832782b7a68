"""Torch operations that a traced forward pass may use outside its layers, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import resolve_name


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What these return carries none of the tensor's data.
QUERIES = _names(
    "shape size dim ndim ndimension numel nelement stride storage_offset device dtype layout "
    "is_cuda get_device is_floating_point is_complex is_contiguous requires_grad is_leaf grad_fn "
    "__len__ __repr__ __format__ zeros_like ones_like empty_like full_like rand_like randn_like "
    "new_zeros new_ones new_empty new_full"
)
COPIES = _names("detach clone contiguous float double to type_as cpu cuda data type requires_grad_")
RESHAPES = _names("flatten view reshape squeeze unsqueeze ravel")
VIEWS = _names(
    "__getitem__ select unbind split chunk narrow transpose permute swapaxes movedim T mT"
)
ADDS = _names("add __add__ __radd__ add_ __iadd__")
STACKS = _names("stack cat concat concatenate hstack vstack")
JOINS = ADDS | STACKS | {"__setitem__"}
KNOWN = QUERIES | COPIES | RESHAPES | VIEWS | JOINS

_OUTSIDE = "Return the stacked spikes, and reduce them outside the model."
_REGISTERED = "Call it as a module that is registered on the model."
_HINTS = {
    "sum": _OUTSIDE,
    "mean": _OUTSIDE,
    "linear": _REGISTERED,
    "conv2d": _REGISTERED,
    "dropout": "Use nn.Dropout.",
    "avg_pool2d": "Use nn.AvgPool2d.",
    "max_pool2d": "Use nn.AvgPool2d.",
    "MaxPool2d": "Use nn.AvgPool2d.",
    "relu": "Use snn.Leaky.",
    "ReLU": "Use snn.Leaky.",
}
_SUPPORTED = (
    "Supported are Linear, Conv2d, AvgPool2d, Flatten, BatchNorm1d/2d, Dropout, Identity, the "
    "neurons Leaky, Synaptic, Lapicque, RLeaky and RSynaptic, sums of branches, flattening, and "
    "stacking of outputs; do the rest outside."
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


def is_flat(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether all axes but the first were made one."""
    batch = before.shape[0] if before.dim() else 0
    return after.dim() == 2 and after.shape[0] == batch and after.numel() == before.numel()


def same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are views of one storage."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def geometry(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where in its storage a tensor lies; strides of axes of length 1 mean nothing."""
    strides = [s if n > 1 else 0 for n, s in zip(tensor.shape, tensor.stride(), strict=True)]
    return tensor.storage_offset(), tuple(tensor.shape), tuple(strides)
