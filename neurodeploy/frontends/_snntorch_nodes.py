"""NIR nodes from torch layers and snnTorch neurons."""

from __future__ import annotations

import math
from typing import Any, cast

import nir
import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_values import Layer, Shape
from neurodeploy.semantics import Reset, ResetTiming, Semantics

Array = NDArray[Any]

_RESETS: dict[str, Reset] = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
_STORED_RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")


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
    weight, bias = _weights(cast(nn.Linear, module), layer.path)
    for path in layer.norms:
        weight, bias = _fold(weight, bias, cast(nn.BatchNorm2d, parts[path]), path)
    if isinstance(module, nn.Conv2d):
        return _conv(layer, in_shape, module, weight, bias)
    return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)


def _array(tensor: torch.Tensor, name: str, path: str) -> Array:
    if tensor.dtype != torch.float32:
        raise ModelError(
            f"{name} is {tensor.dtype}, expected torch.float32",
            node=path,
            hint="Convert the model with module.float().",
        )
    return tensor.detach().cpu().numpy().copy()


def _weights(module: nn.Linear, path: str) -> tuple[Array, Array | None]:
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
    weight: Array, bias: Array | None, norm: nn.BatchNorm2d, path: str
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
    layer: Layer, in_shape: Shape, module: nn.Conv2d, weight: Array, bias: Array | None
) -> nir.Conv2d:
    """NIR's Conv2d, typed here: NIR infers groups and non-square kernels wrongly."""
    if module.padding_mode != "zeros":
        raise ModelError(
            f"padding_mode is {module.padding_mode!r}", node=layer.path, hint="Use 'zeros'."
        )
    node = nir.Conv2d(
        input_shape=in_shape[1:],
        weight=weight,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=np.zeros(len(weight), weight.dtype) if bias is None else bias,
    )
    return _typed(node, in_shape, layer.shape)


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


def neuron_node(module: snn.Leaky, shape: Shape, dt: float, path: str) -> nir.NIRNode:
    r"""The NIR neuron of a Leaky, parameters in float64 and of the population's shape.

    With forward Euler, :math:`v \leftarrow (1 - dt/\tau) v + (dt/\tau) r x`, snnTorch's
    :math:`v \leftarrow \beta v + x` is :math:`\tau = dt / (1 - \beta)`, :math:`r = \tau / dt`.
    With :math:`\beta = 1` everywhere it is NIR's IF with :math:`r = 1/dt`.  In float64 the float32
    :math:`\beta` comes back bit for bit, which is checked (below 1e-8 it may not).
    """
    _check_plain(module, path)
    beta = np.clip(_parameter(module.beta, "beta", shape, path), 0, 1)
    threshold = _parameter(module.threshold, "threshold", shape, path)
    if np.any(threshold <= 0):
        raise ModelError(
            f"{np.count_nonzero(threshold <= 0)} of {threshold.size} thresholds are not positive, "
            f"the lowest is {threshold.min():g}",
            node=path,
            hint="Bound the threshold from below in training.",
        )
    reset = np.zeros(shape)
    if np.all(beta == 1):
        return nir.IF(r=np.full(shape, 1 / dt), v_threshold=threshold, v_reset=reset)
    if np.any(beta == 1):
        raise ModelError(
            f"beta is 1 (after clamping) for {np.count_nonzero(beta == 1)} of {beta.size} neurons; "
            "NIR has no time constant for it",
            node=path,
            hint="Clip beta below 1, or put these neurons into a population of their own.",
        )
    tau = dt / (1 - beta)
    lost = (1 - dt / tau).astype(np.float32) != beta
    if np.any(lost):
        raise ModelError(
            f"beta is {beta[lost].max():g} or less for {np.count_nonzero(lost)} neurons, too "
            "close to zero to be said by a time constant",
            node=path,
            hint="Set these betas to zero.",
        )
    return nir.LIF(
        tau=tau, r=tau / dt, v_leak=np.zeros(shape), v_threshold=threshold, v_reset=reset
    )


def graded_factor(module: snn.Leaky, shape: Shape, path: str) -> Array | None:
    """What a spike is multiplied with (float64, the population's shape); None where it is 1."""
    factor = _parameter(module.graded_spikes_factor, "graded_spikes_factor", shape, path)
    if np.any(factor == 0):
        raise ModelError("graded_spikes_factor is zero", node=path, hint="Remove these neurons.")
    return None if np.all(factor == 1) else factor


def semantics(module: snn.Leaky, dt: float, path: str) -> Semantics:
    """What the module computes, read from its bound update function.

    `reset_mechanism` and a loaded state_dict do not change the update of an existing module; with
    `reset_delay=False` they do change the reset after the spike, so the two must then agree.
    """
    update = module.state_function
    owner: Any = getattr(update, "__self__", None)
    name = getattr(update, "__name__", "")
    if name not in _RESETS or owner is not module:
        raise ModelError("its state_function is not its own", node=path, hint="Build it anew.")
    reset = _RESETS[name]
    timing: ResetTiming = "immediate"
    if not module.reset_delay:
        stored = _STORED_RESETS[int(module.reset_mechanism_val)]
        if stored != reset:
            raise ModelError(
                f"it was built with reset_mechanism={reset!r} and later set to {stored!r}, of "
                "which snnTorch computes a mixture",
                node=path,
                hint=f"Build it with reset_mechanism={stored!r}.",
            )
        timing = "held" if reset == "subtract" else "immediate"
    elif reset != "none":
        timing = "delayed"
    return Semantics(dt=dt, reset=reset, reset_timing=timing, rounding="float32")


def _check_plain(module: snn.Leaky, path: str) -> None:
    reason = None
    if module.inhibition:
        reason = "inhibition=True"
    elif module.state_quant:
        reason = "state_quant"
    elif not _is_step(module.spike_grad):
        reason = "a spike_grad whose forward is not a step at zero"
    if reason is not None:
        raise ModelError(f"{reason} is not supported", node=path, hint="Remove it.")


def _is_step(spike_grad: Any) -> bool:
    """Whether a surrogate's forward is 1 above zero and 0 else, probed at a few values."""
    tiny = torch.finfo(torch.float32).tiny
    probe = torch.tensor([-1e30, -1.0, -tiny, -0.0, 0.0, tiny, 1e-3, 1.0, 1e30])
    return torch.equal(spike_grad(probe).detach().cpu(), (probe > 0).float())


def _parameter(tensor: torch.Tensor, name: str, shape: Shape, path: str) -> NDArray[np.float64]:
    """A neuron parameter as snnTorch computes with it: rounded to float32, of the given shape."""
    if tensor.is_floating_point() and tensor.dtype != torch.float32 and tensor.dim():
        raise ModelError(
            f"{name} is {tensor.dtype}, expected torch.float32",
            node=path,
            hint="Convert the model with module.float().",
        )
    value: NDArray[np.float64]
    value = tensor.detach().cpu().to(torch.float32).numpy().astype(np.float64)
    try:
        return np.broadcast_to(value, (1, *shape)).reshape(shape).copy()
    except ValueError as error:
        raise ModelError(
            f"{name} of shape {value.shape} does not fit neurons of shape {shape}",
            node=path,
            hint="Give one value, or one for each neuron or channel.",
        ) from error
