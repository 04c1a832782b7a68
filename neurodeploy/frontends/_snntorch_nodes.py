"""NIR nodes from arrays of torch, with the shapes that NIR infers wrongly or not at all."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_values import Shape
from neurodeploy.frontends._snntorch_windows import Window, centred

Array = NDArray[Any]


def check_finite(module: nn.Module) -> None:
    """Check all parameters and stored buffers of a module.

    Raises
    ------
    ModelError
        One is not initialised, or holds NaN or infinity.
    """
    for name, tensor in module.state_dict(keep_vars=True).items():
        if nn.parameter.is_lazy(tensor):
            raise ModelError("is not initialised", node=name, hint="Run the model once first.")
        if not isinstance(tensor, torch.Tensor):
            continue
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ModelError(
                f"{bad} of {tensor.numel()} values are not finite (NaN or infinity)",
                node=name,
                hint="Train again, or load an earlier checkpoint.",
            )


def dense_node(weight: Array, bias: Array | None) -> nir.NIRNode:
    """NIR's Affine, or Linear where there is no bias; `weight` is (..., out, in)."""
    node = nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)
    lead = weight.shape[:-2]
    return typed(node, (*lead, weight.shape[-1]), (*lead, weight.shape[-2]))


def convolution_node(
    weight: Array, bias: Array | None, windows: tuple[Window, ...], groups: int, in_shape: Shape
) -> nir.NIRNode:
    """NIR's Conv1d or Conv2d; `weight` is (out, in / groups, *kernel)."""
    out_shape = (
        len(weight),
        *(w.outputs(n) for w, n in zip(windows, in_shape[1:], strict=True)),
    )
    weight, windows = centred(weight, windows)
    geometry = zip(*((w.stride, w.low, w.dilation) for w in windows), strict=True)
    stride, padding, dilation = geometry
    if bias is None:
        bias = np.zeros(len(weight), weight.dtype)
    if len(windows) == 1:
        node = nir.Conv1d(in_shape[1], weight, stride[0], padding[0], dilation[0], groups, bias)
    else:
        node = nir.Conv2d(in_shape[1:], weight, stride, padding, dilation, groups, bias)
    return typed(node, in_shape, out_shape)


def typed(node: nir.NIRNode, in_shape: Shape, out_shape: Shape) -> nir.NIRNode:
    """The node, with the shapes of its input and output noted in it."""
    node.input_type = {"input": np.array(in_shape)}
    node.output_type = {"output": np.array(out_shape)}
    return node


def float_array(tensor: torch.Tensor, name: str, path: str) -> Array:
    """A copy of a tensor that must be float32 or float64."""
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ModelError(
            f"{name} is {tensor.dtype}, expected torch.float32 or torch.float64",
            node=path,
            hint="Convert the model with module.float().",
        )
    return tensor.detach().cpu().numpy().copy()


def neuron_array(
    tensor: torch.Tensor, name: str, shape: Shape, dtype: torch.dtype, path: str
) -> NDArray[np.float64]:
    """A neuron parameter as snnTorch computes with it in tensors of `dtype`, of the given shape."""
    if tensor.dim() and torch.promote_types(tensor.dtype, dtype) != dtype:
        raise ModelError(
            f"{name} is {tensor.dtype}, expected {dtype}",
            node=path,
            hint="Give all parameters one type with module.float() or module.double().",
        )
    value: NDArray[np.float64]
    value = tensor.detach().cpu().to(dtype).numpy().astype(np.float64)
    try:
        return np.broadcast_to(value, (1, *shape)).reshape(shape).copy()
    except ValueError as error:
        raise ModelError(
            f"{name} of shape {value.shape} does not fit neurons of shape {shape}",
            node=path,
            hint="Give one value, or one for each neuron or channel.",
        ) from error
