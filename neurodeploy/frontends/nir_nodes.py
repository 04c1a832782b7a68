"""NIR nodes one by one: parameters checked, neurons discretised, linear nodes as linear maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.linear import (
    Conv2d,
    Dense,
    FloatArray,
    LinearMap,
    Pair,
    Reshape,
    Scale,
    Shape,
    pool2d,
)
from neurodeploy.semantics import Semantics

MAX_NEURONS = 1 << 28
NEURONS = (nir.LIF, nir.IF, nir.CubaLIF)


def shape_of(value: Any) -> Shape:
    if value is None:
        raise ModelError("has no shape")
    shape = tuple(int(n) for n in np.atleast_1d(np.asarray(value)))
    if not shape or any(n < 1 for n in shape):
        raise ModelError(f"has shape {shape}, expected positive sizes")
    return _bounded(shape)


def _bounded(shape: Shape) -> Shape:
    if math.prod(shape) > MAX_NEURONS:
        raise ModelError(f"shape {shape} has more than {MAX_NEURONS} elements")
    return shape


def real_array(value: Any, shape: Shape, name: str) -> FloatArray:
    """Float64 copy of a parameter, of exactly the population's shape (scalars are spread)."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ModelError(f"{name} is {array.dtype}, expected real numbers")
    array = array.astype(np.float64)
    if array.ndim == 0:
        array = np.full(shape, float(array))
    if array.shape != shape:
        raise ModelError(f"{name} has shape {array.shape}, the layer {shape}")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise ModelError(f"{bad} of {array.size} values of {name} are not finite")
    return array.copy()


@dataclass(frozen=True, eq=False)
class Steps:
    """One step of a neuron node: i' = current_decay i + gain x, v' = decay v + i' + leak."""

    current_decay: FloatArray
    decay: FloatArray
    gain: FloatArray
    leak: FloatArray


def discretise(
    node: nir.LIF | nir.IF | nir.CubaLIF, shape: Shape, semantics: Semantics, dtype: str
) -> Steps:
    """Decays, input gain and leak current of one step.

    NIR: tau dv/dt = v_leak - v + r i, and for CubaLIF tau_syn di/dt = -i + w_in x.  Euler:
    v' = (1 - dt/tau) v + (dt/tau)(v_leak + r i), with the i of the same step.  Exact (zero-order
    hold): 1 - dt/tau becomes exp(-dt/tau).  An IF node integrates r dt x.  i is scaled by r dt/tau
    here, so the gain of x is the product of both.  Where the metadata says that the source model
    had float32 parameters, decays and gains are rounded to float32, which gives back the model's
    own alpha and beta bit for bit.
    """
    reset = np.zeros(shape) if node.v_reset is None else real_array(node.v_reset, shape, "v_reset")
    if np.any(reset != 0):
        raise ModelError(
            "v_reset is not 0; neurons that reset to another potential are not supported",
            hint="Shift v_reset, v_leak and v_threshold by -v_reset, which changes no spike.",
        )

    def rounded(array: FloatArray) -> FloatArray:
        return array.astype(np.float32).astype(np.float64) if dtype == "float32" else array

    resistance = real_array(node.r, shape, "r")
    none = np.zeros(shape)
    if isinstance(node, nir.IF):
        return Steps(none, np.ones(shape), rounded(semantics.dt * resistance), none)
    cuba = isinstance(node, nir.CubaLIF)
    share = _share(node.tau_mem if cuba else node.tau, shape, semantics)
    leak = share * real_array(node.v_leak, shape, "v_leak")
    decay, gain = rounded(1.0 - share), rounded(share * resistance)
    if not cuba:
        return Steps(none, decay, gain, leak)
    if np.any(leak != 0):
        raise ModelError("v_leak is not 0, which a neuron with a synaptic current cannot have here")
    synaptic = _share(node.tau_syn, shape, semantics)
    weight = rounded(synaptic * real_array(node.w_in, shape, "w_in"))
    return Steps(rounded(1.0 - synaptic), decay, weight * gain, none)


def _share(tau: Any, shape: Shape, semantics: Semantics) -> FloatArray:
    """dt/tau (Euler) or 1 - exp(-dt/tau): the share of its input that a leaky integrator takes."""
    times = real_array(tau, shape, "tau")
    if times.min() <= 0:
        raise ModelError(f"tau is {times.min():g}, expected a positive time in s")
    ratio = semantics.dt / times
    share = ratio if semantics.integrator == "euler" else -np.expm1(-ratio)
    if share.max() > 1:
        raise ModelError(
            f"dt = {semantics.dt:g} s is longer than tau = {times.min():g} s",
            hint="Choose the dt that the model was trained with.",
        )
    return np.asarray(share)


def linear_map(node: nir.NIRNode, shape: Shape) -> tuple[LinearMap, FloatArray | None]:
    """The linear map of a node, and its bias of the output's full shape."""
    if isinstance(node, (nir.Affine, nir.Linear)):
        weight = _finite(node.weight, "weight")
        if weight.ndim != 2 or len(shape) != 1 or weight.shape[1] != shape[0]:
            raise ModelError(
                f"weight {weight.shape} does not fit an input of shape {shape}",
                hint="Flatten the input first." if len(shape) > 1 else None,
            )
        dense = Dense(weight, shape, (weight.shape[0],))
        bias = (
            real_array(node.bias, dense.out_shape, "bias") if isinstance(node, nir.Affine) else None
        )
        return dense, bias
    if isinstance(node, nir.Conv2d):
        return _conv2d(node, shape)
    if isinstance(node, (nir.AvgPool2d, nir.SumPool2d)):
        average = isinstance(node, nir.AvgPool2d)
        if len(shape) != 3:
            raise ModelError(f"2-d pooling of an input of shape {shape}")
        kernel, stride, padding = map(_pair, (node.kernel_size, node.stride, node.padding))
        if min(*kernel, *stride) < 1:
            raise ModelError(f"kernel {kernel} and stride {stride} must be positive")
        _bounded((*shape[:1], *(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))))
        return pool2d(shape, kernel, stride, padding, average=average), None
    if isinstance(node, nir.Flatten):
        return Reshape(shape, _flattened(shape, int(node.start_dim), int(node.end_dim))), None
    if isinstance(node, nir.Scale):
        return Scale(real_array(node.scale, shape, "scale")), None
    raise ModelError(
        f"nir.{type(node).__name__} is not supported yet",
        hint="Supported: Affine, Linear, Conv2d, AvgPool2d, SumPool2d, Flatten, Scale, LIF, IF, "
        "CubaLIF.",
    )


def _conv2d(node: nir.Conv2d, shape: Shape) -> tuple[LinearMap, FloatArray]:
    weight = _finite(node.weight, "weight")
    stride, dilation = _pair(node.stride), _pair(node.dilation)
    padding = _padding(node.padding, weight.shape, stride, dilation)
    op = Conv2d(weight, shape, stride, padding, dilation, int(node.groups))
    _bounded((*shape[:1], *(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))))
    bias = _finite(node.bias, "bias")
    if bias.shape != op.out_shape[:1]:
        raise ModelError(f"bias has shape {bias.shape}, the layer {op.out_shape[0]} channels")
    return op, np.broadcast_to(bias[:, None, None], op.out_shape).copy()


def _finite(value: Any, name: str) -> FloatArray:
    return real_array(value, np.shape(value), name)


def _pair(value: Any) -> Pair:
    values = [int(n) for n in np.broadcast_to(np.asarray(value), (2,))]
    return (values[0], values[1])


def _padding(value: Any, weight: Shape, stride: Pair, dilation: Pair) -> Pair:
    """Padding as numbers; 'same' keeps the size and is symmetric for odd kernels only."""
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        return _pair(value)
    if value == "valid":
        return (0, 0)
    if value != "same":
        raise ModelError(f"padding {value!r} is neither numbers, 'same' nor 'valid'")
    total = [d * (k - 1) for d, k in zip(dilation, weight[2:], strict=True)]
    if stride != (1, 1) or any(n % 2 for n in total):
        raise ModelError(
            "padding 'same' needs stride 1 and an odd kernel to be symmetric",
            hint="Pad explicitly.",
        )
    return (total[0] // 2, total[1] // 2)


def _flattened(shape: Shape, start: int, end: int) -> Shape:
    start, end = (axis + len(shape) if axis < 0 else axis for axis in (start, end))
    if not 0 <= start <= end < len(shape):
        raise ModelError(f"cannot flatten axes {start}..{end} of shape {shape}")
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
