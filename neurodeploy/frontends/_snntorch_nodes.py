"""NIR nodes from torch layers."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from snntorch._neurons import rleaky, rsynaptic
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_values import Layer, Shape

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


def layer_node(layer: Layer, parts: dict[str, nn.Module]) -> nir.NIRNode:
    """The NIR node of a stateless layer, batch norms folded in."""
    in_shape = layer.operand.shape
    if layer.kind == "flatten":
        return nir.Flatten({"input": np.array(in_shape)}, start_dim=0, end_dim=-1)
    module = parts[layer.path]
    if isinstance(module, nn.AvgPool2d):
        return _pool(layer, in_shape, module)
    weight, bias = _weights(module, layer.path)
    for path in layer.norms:
        weight, bias = _fold(weight, bias, parts[path], path)
    if isinstance(module, nn.Conv2d):
        return _conv(module, layer.path, in_shape, layer.shape, weight, bias)
    return _linear(weight, bias)


def _linear(weight: Array, bias: Array | None) -> nir.NIRNode:
    return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)


def _array(tensor: torch.Tensor, name: str, path: str) -> Array:
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ModelError(
            f"{name} is {tensor.dtype}, expected torch.float32 or torch.float64",
            node=path,
            hint="Convert the model with module.float().",
        )
    return tensor.detach().cpu().numpy().copy()


def _weights(module: Any, path: str) -> tuple[Array, Array | None]:
    """Weight and bias of a Linear or Conv2d."""
    if "weight" not in module._parameters:
        raise ModelError(
            "its weight is computed from others (weight_norm, spectral_norm)",
            node=path,
            hint="Make it a parameter first, for instance with torch.nn.utils.remove_weight_norm.",
        )
    bias: torch.Tensor | None = module.bias
    return (
        _array(module.weight, "weight", path),
        None if bias is None else _array(bias, "bias", path),
    )


def _fold(
    weight: Array, bias: Array | None, norm: Any, path: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Fold a batch norm in evaluation mode into the layer before it, in float64.

    .. math::
        W' = s W, \quad b' = s (b - \mu) + \beta, \quad s = \gamma / \sqrt{\sigma^2 + \epsilon}

    per output channel, with the running statistics (torch.nn.BatchNorm2d's documentation).
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ModelError(
            "normalises with the statistics of each batch (track_running_stats=False)",
            node=path,
            hint="Train with track_running_stats=True.",
        )
    mu = _array(mean, "running_mean", path).astype(np.float64)
    square = _array(variance, "running_var", path).astype(np.float64) + norm.eps
    if np.any(square <= 0):
        raise ModelError(
            "running_var + eps is not positive", node=path, hint="Load other running statistics."
        )
    scale, shift = 1 / np.sqrt(square), np.zeros_like(mu)
    if norm.affine:
        scale = scale * _array(norm.weight, "weight", path)
        shift = shift + _array(norm.bias, "bias", path)
    weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight, ((0.0 if bias is None else bias) - mu) * scale + shift


def _conv(
    module: nn.Conv2d,
    path: str,
    in_shape: Shape,
    out_shape: Shape,
    weight: Array,
    bias: Array | None,
) -> nir.Conv2d:
    """NIR's Conv2d, typed here: NIR infers groups and non-square kernels wrongly."""
    if module.padding_mode != "zeros":
        raise ModelError(f"padding_mode is {module.padding_mode!r}", node=path, hint="Use 'zeros'.")
    node = nir.Conv2d(
        input_shape=in_shape[1:],
        weight=weight,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=np.zeros(len(weight), weight.dtype) if bias is None else bias,
    )
    return _typed(node, in_shape, out_shape)


def _pool(layer: Layer, in_shape: Shape, module: nn.AvgPool2d) -> nir.AvgPool2d:
    """NIR's AvgPool2d, which divides by the kernel's area, padding included."""
    kernel, stride, padding = (
        np.broadcast_to(np.array(value), 2).copy()
        for value in (module.kernel_size, module.stride, module.padding)
    )
    area = math.prod(kernel.tolist())
    reason = None
    if module.ceil_mode:
        reason = "ceil_mode=True"
    elif module.divisor_override not in (None, area):
        reason = f"divisor_override={module.divisor_override}"
    elif not module.count_include_pad and module.divisor_override is None and padding.any():
        reason = "count_include_pad=False"
    if reason is not None:
        raise ModelError(
            f"AvgPool2d with {reason} has no exact equivalent in NIR",
            node=layer.path,
            hint="Use ceil_mode=False, and count_include_pad=True or padding=0.",
        )
    return _typed(nir.AvgPool2d(kernel, stride, padding), in_shape, layer.shape)


def _typed(node: nir.NIRNode, in_shape: Shape, out_shape: Shape) -> Any:
    node.input_type = {"input": np.array(in_shape)}
    node.output_type = {"output": np.array(out_shape)}
    return node


def recurrent_node(module: Any, shape: Shape, dtype: torch.dtype, path: str) -> nir.NIRNode:
    """The NIR node of the weights from a population of `shape` to itself.

    `module` is what an RLeaky or RSynaptic at `path` has as `recurrent`, and `dtype` the type of
    what it delivers: a single V times float32 spikes is float32 even in a float64 model.  Its bias
    acts from the first step on, before any spike: snnTorch adds `recurrent(0)` there.
    """
    inner = f"{path}.recurrent".lstrip(".")
    if type(module) in (rleaky.RecurrentOneToOne, rsynaptic.RecurrentOneToOne):
        return nir.Scale(neuron_array(module.V, "V", shape, dtype, path))
    if type(module) is nn.Conv2d and len(shape) == 3:
        return _conv(module, inner, shape, shape, *_weights(module, inner))
    if type(module) is not nn.Linear or len(shape) != 1:
        raise ModelError(
            f"{type(module).__name__} from neurons of shape {shape} to themselves is not supported",
            node=inner,
            hint="Use linear_features after nn.Linear, conv2d_channels after nn.Conv2d, or "
            "all_to_all=False.",
        )
    return _linear(*_weights(module, inner))


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
