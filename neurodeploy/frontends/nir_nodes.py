"""NIR nodes one by one: parameters checked, neurons discretised, linear nodes as linear maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

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
    Weights,
    pool2d,
    written_out,
)
from neurodeploy.semantics import Semantics

MAX_NEURONS = 1 << 23
MAX_ELEMENTS = 1 << 24
"""Of all nodes together: what is made of them then takes less than a gigabyte."""
MAX_DIMENSIONS = 8
MAX_MAGNITUDE = 1e30
MAX_DELAYS = 256
MAX_STEPS = 1 << 20
DELAY_TOLERANCE = 1e-6  # of a delay, as float32 seconds keep it
SPIKING = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)
POPULATIONS = (*SPIKING, nir.LI, nir.I, nir.CubaLI)


def shape_of(value: Any) -> Shape:
    if value is None:
        raise ModelError("has no shape")
    sizes = np.atleast_1d(np.asarray(value))
    if sizes.size > MAX_DIMENSIONS or sizes.ndim > 1:
        raise ModelError(f"has a shape of {sizes.size} sizes, the limit is {MAX_DIMENSIONS}")
    shape = tuple(int(n) for n in sizes)
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
    _check_magnitude(array, name)
    return array.copy()


def _check_magnitude(array: Weights, name: str) -> None:
    """Values beyond 1e30 are refused: products of them overflow, in float32 even alone."""
    largest = max(float(array.max()), -float(array.min())) if array.size else 0.0
    if largest > MAX_MAGNITUDE:
        raise ModelError(
            f"{name} holds {largest:g}, the limit is {MAX_MAGNITUDE:g}",
            hint="Scale the model; neurons that never spike are nir.LI."
            if "thresh" in name
            else None,
        )


@dataclass(frozen=True, eq=False)
class Steps:
    """One step of a neuron node: i' = current_decay i + gain x + bias, v' = decay v + i' + leak."""

    current_decay: FloatArray
    decay: FloatArray
    gain: FloatArray
    bias: FloatArray
    leak: FloatArray | None = None


def discretise(node: Any, shape: Shape, semantics: Semantics, dtype: str) -> Steps:
    """Decays, input gain and leak current of one step of one of `POPULATIONS`.

    NIR: tau dv/dt = v_leak - v + r i, and for CubaLIF tau_syn di/dt = -i + w_in x.  Euler:
    v' = (1 - dt/tau) v + (dt/tau)(v_leak + r i), with the i of the same step.  Exact (zero-order
    hold): 1 - dt/tau becomes exp(-dt/tau).  IF and I integrate r dt x, a Threshold keeps nothing:
    v' = x.  i is scaled by r dt/tau here, so the gain of x is the product of both; where r is
    tau/dt it is 1 bit for bit.  v_leak is a bias where there is no synaptic current to filter it.
    Where the metadata says that the source model had float32 parameters, decays, gains and leaks
    are rounded to float32, which gives back the model's own alpha and beta bit for bit.
    """
    none = np.zeros(shape)
    if isinstance(node, nir.Threshold):
        return Steps(none, none, np.ones(shape), none)
    reset = getattr(node, "v_reset", None)
    if reset is not None and np.any(real_array(reset, shape, "v_reset") != 0):
        raise ModelError(
            "v_reset is not 0; neurons that reset to another potential are not supported",
            hint="Shift v_reset, v_leak and v_threshold by -v_reset, which changes no spike.",
        )

    def rounded(array: FloatArray) -> FloatArray:
        return array.astype(np.float32).astype(np.float64) if dtype == "float32" else array

    resistance = real_array(node.r, shape, "r")
    if isinstance(node, (nir.IF, nir.I)):
        return Steps(none, np.ones(shape), rounded(resistance / (1.0 / semantics.dt)), none)
    cuba = isinstance(node, (nir.CubaLIF, nir.CubaLI))
    share = share_of(node.tau_mem if cuba else node.tau, shape, semantics)
    leak = rounded(share * real_array(node.v_leak, shape, "v_leak"))
    decay = rounded(1.0 - share)
    gain = rounded(_gain(resistance, node.tau_mem if cuba else node.tau, share, semantics))
    if not cuba:
        return Steps(none, decay, gain, leak)
    synaptic = share_of(node.tau_syn, shape, semantics)
    weight = real_array(node.w_in, shape, "w_in")
    weight = rounded(_gain(weight, node.tau_syn, synaptic, semantics))
    filtered = leak if np.any(leak) else None
    return Steps(rounded(1.0 - synaptic), decay, weight * gain, none, filtered)


def threshold_of(node: Any, shape: Shape) -> FloatArray:
    """The firing thresholds of one of `POPULATIONS`; infinite where it does not spike."""
    if not isinstance(node, SPIKING):
        return np.full(shape, np.inf)
    name = "threshold" if isinstance(node, nir.Threshold) else "v_threshold"
    values = real_array(getattr(node, name), shape, name)
    small = (values != 0) & (np.abs(values) < 1 / MAX_MAGNITUDE)
    if np.any(small):
        raise ModelError(
            f"{name} holds {values[small].flat[0]:g}, the least is {1 / MAX_MAGNITUDE:g}",
            hint="Scale the model.",
        )
    return values


def delays(node: nir.Delay, shape: Shape, dt: float) -> NDArray[np.int64]:
    """The delay of every element in steps.

    Raises
    ------
    ModelError
        It is negative or no whole number of steps, or there are more than 256 different ones.
    """
    seconds = real_array(node.delay, shape, "delay")
    ratio = seconds / dt
    steps = np.rint(ratio)
    wrong = (seconds < 0) | (np.abs(ratio - steps) > DELAY_TOLERANCE * np.maximum(steps, 1))
    if np.any(wrong) or np.any(steps > MAX_STEPS):
        value = float(seconds[wrong | (steps > MAX_STEPS)].flat[0])
        raise ModelError(
            f"a delay of {value:g} s is not a whole number of steps of {dt:g} s, from 0 to "
            f"{MAX_STEPS}",
            hint="Choose the dt that the model was made with.",
        )
    if len(np.unique(steps)) > MAX_DELAYS:
        raise ModelError(
            f"has {len(np.unique(steps))} different delays, the limit is {MAX_DELAYS}",
            hint="Split it, or round the delays.",
        )
    return steps.astype(np.int64)


def share_of(tau: Any, shape: Shape, semantics: Semantics) -> FloatArray:
    """dt/tau (Euler) or 1 - exp(-dt/tau): the share of its input that a leaky integrator takes."""
    times = real_array(tau, shape, "tau")
    if times.min() <= 0:
        raise ModelError(f"tau is {times.min():g}, expected a positive time in s")
    with np.errstate(over="ignore"):  # then it is infinitely longer
        ratio = semantics.dt / times
    share = ratio if semantics.integrator == "euler" else -np.expm1(-ratio)
    if share.max() > 1:
        raise ModelError(
            f"dt = {semantics.dt:g} s is longer than tau = {times.min():g} s",
            hint="Choose the dt that the model was trained with.",
        )
    return np.asarray(share)


def _gain(factor: FloatArray, tau: Any, share: FloatArray, semantics: Semantics) -> FloatArray:
    """What `factor` times the share is."""
    euler = semantics.integrator == "euler"
    return factor / (np.asarray(tau, np.float64) / semantics.dt) if euler else factor * share


def linear_map(node: nir.NIRNode, shape: Shape) -> tuple[tuple[LinearMap, ...], FloatArray | None]:
    """What a linear node does to an input of `shape`: maps in order, and a bias of full shape."""
    if isinstance(node, (nir.Affine, nir.Linear)):
        return _affine(node, shape)
    if isinstance(node, nir.Conv2d):
        return _conv2d(node, shape)
    if isinstance(node, nir.Conv1d):
        return _conv1d(node, shape)
    if isinstance(node, (nir.AvgPool2d, nir.SumPool2d)):
        average = isinstance(node, nir.AvgPool2d)
        if len(shape) != 3:
            raise ModelError(f"2-d pooling of an input of shape {shape}")
        kernel, stride, padding = map(_pair, (node.kernel_size, node.stride, node.padding))
        if min(*kernel, *stride) < 1:
            raise ModelError(f"kernel {kernel} and stride {stride} must be positive")
        padded = _bounded(
            (*shape[:1], *(n + 2 * p for n, p in zip(shape[1:], padding, strict=True)))
        )
        if any(k > n for k, n in zip(kernel, padded[1:], strict=True)):
            raise ModelError(f"kernel {kernel} does not fit a padded input of {padded[1:]}")
        return (pool2d(shape, kernel, stride, padding, average=average),), None
    if isinstance(node, nir.Flatten):
        _check_declared(node.input_type.get("input"), shape)
        return (Reshape(shape, _flattened(shape, int(node.start_dim), int(node.end_dim))),), None
    if isinstance(node, nir.Scale):
        return (Scale(real_array(node.scale, shape, "scale")),), None
    raise ModelError(
        f"{type(node).__name__} is not a NIR 1.0.8 node that this version knows",
        hint="Known are Affine, Linear, Conv1d, Conv2d, AvgPool2d, SumPool2d, Flatten, Scale, "
        "Delay, Threshold, I, IF, LI, LIF, CubaLI and CubaLIF.",
    )


def _affine(
    node: nir.Affine | nir.Linear, shape: Shape
) -> tuple[tuple[LinearMap, ...], FloatArray | None]:
    """y = W x + b on the last axis; weight (..., out, in), one matrix for each leading index."""
    weight = _weights(node.weight)
    if weight.ndim < 2 or (*weight.shape[:-2], weight.shape[-1]) != shape:
        raise ModelError(
            f"weight {weight.shape} does not fit an input of shape {shape}",
            hint="Flatten the input first." if len(shape) > 1 else None,
        )
    out_shape = _bounded((*shape[:-1], weight.shape[-2]))
    bias = real_array(node.bias, out_shape, "bias") if isinstance(node, nir.Affine) else None
    if weight.ndim == 2:
        return (Dense(weight, shape, out_shape),), bias
    rows, flat_in, flat_out = math.prod(shape[:-1]), math.prod(shape), math.prod(out_shape)
    # One matrix for each row is a convolution of single pixels with one group for each row.
    blocks = Conv2d(weight.reshape(flat_out, shape[-1], 1, 1), (flat_in, 1, 1), groups=rows)
    return (Reshape(shape, blocks.in_shape), blocks, Reshape(blocks.out_shape, out_shape)), bias


def _conv2d(node: nir.Conv2d, shape: Shape) -> tuple[tuple[LinearMap, ...], FloatArray]:
    if node.input_shape is not None:
        _check_declared(node.input_shape, shape[1:])
    op = _convolution(node, shape, _weights(node.weight))
    return (op,), _channel_bias(node.bias, op.out_shape)


def _conv1d(node: nir.Conv1d, shape: Shape) -> tuple[tuple[LinearMap, ...], FloatArray]:
    """A convolution along the one axis of (channels, length): a 2-d one of height 1."""
    weight = _weights(node.weight)
    if weight.ndim != 3 or len(shape) != 2:
        raise ModelError(f"1-d convolution of weight {weight.shape} on an input of shape {shape}")
    if node.input_shape is not None:
        _check_declared(node.input_shape, shape[1:])
    op = _convolution(node, (shape[0], 1, shape[1]), weight[:, :, None])
    out_shape = (op.out_shape[0], op.out_shape[2])
    chain = (Reshape(shape, op.in_shape), op, Reshape(op.out_shape, out_shape))
    return chain, _channel_bias(node.bias, out_shape)


def _check_declared(declared: Any, shape: Shape) -> None:
    """Check the input shape that a node was written with against what reaches it."""
    found = None if declared is None else tuple(int(n) for n in np.atleast_1d(declared))
    if found is not None and found != shape:
        raise ModelError(f"was written for an input of shape {found} and gets {shape}")


def _convolution(node: Any, shape: Shape, weight: Weights) -> Conv2d:
    """`node`'s convolution; its sizes are numbers, or have an entry for each of its own axes."""
    if weight.ndim != 4 or len(shape) != 3:
        raise ModelError(f"2-d convolution of weight {weight.shape} on an input of shape {shape}")
    flat = isinstance(node, nir.Conv1d)
    stride, dilation = (_sizes(n, flat, rest=1) for n in (node.stride, node.dilation))
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if not isinstance(padding, str):
        size = _sizes(padding, flat, rest=0)
    elif padding == "same":
        weight, dilation, size = _same(weight, stride, dilation)
    elif padding == "valid":
        size = (0, 0)
    else:
        raise ModelError(f"padding {padding!r} is neither numbers, 'same' nor 'valid'")
    _bounded((*shape[:1], *(n + 2 * p for n, p in zip(shape[1:], size, strict=True))))
    op = Conv2d(weight, shape, stride, size, dilation, int(node.groups))
    _bounded(op.out_shape)
    return op


def _sizes(value: Any, flat: bool, *, rest: int) -> Pair:
    """(height, width) of what a 1-d node says for its one axis and a 2-d node for both."""
    return (rest, int(np.asarray(value).reshape(()))) if flat else _pair(value)


def _same(weight: Weights, stride: Pair, dilation: Pair) -> tuple[Weights, Pair, Pair]:
    """Kernel, dilation and padding of a convolution whose output has the size of its input.

    It needs d (k - 1) zeros around each axis, the odd one behind (as in torch).  Where that number
    is odd, the kernel is written out with its gaps and one zero before it, so that padding by
    half of d (k - 1) + 1 on both sides does the same.
    """
    if stride != (1, 1):
        raise ModelError(f"padding 'same' needs stride 1, not {stride}", hint="Pad by numbers.")
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    dilations = list(dilation)
    for axis, zeros in enumerate(total):
        if zeros % 2:
            weight = written_out(weight, 2 + axis, dilations[axis], 1, 0)
            dilations[axis], total[axis] = 1, zeros + 1
    return weight, (dilations[0], dilations[1]), (total[0] // 2, total[1] // 2)


def _channel_bias(value: Any, out_shape: Shape) -> FloatArray:
    bias = _finite(value, "bias")
    if bias.shape != out_shape[:1]:
        raise ModelError(f"bias has shape {bias.shape}, the layer {out_shape[0]} channels")
    return np.broadcast_to(bias.reshape(-1, *(1,) * (len(out_shape) - 1)), out_shape).copy()


def _finite(value: Any, name: str) -> FloatArray:
    return real_array(value, np.shape(value), name)


def _weights(value: Any) -> Weights:
    """A weight as it is in the graph, not copied; in float64 where it is not of a float type."""
    array = np.asarray(value)
    if array.dtype not in (np.float32, np.float64):
        return _finite(array, "weight")
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ModelError(f"{bad} of {array.size} values of weight are not finite")
    _check_magnitude(array, "weight")
    return array


def _pair(value: Any) -> Pair:
    values = [int(n) for n in np.broadcast_to(np.asarray(value), (2,))]
    return (values[0], values[1])


def _flattened(shape: Shape, start: int, end: int) -> Shape:
    start, end = (axis + len(shape) if axis < 0 else axis for axis in (start, end))
    if not 0 <= start <= end < len(shape):
        raise ModelError(f"cannot flatten axes {start}..{end} of shape {shape}")
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
