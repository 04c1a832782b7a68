r"""NIR neurons and semantics from snnTorch neurons.

With forward Euler, NIR's :math:`\tau \dot v = -v + r x` becomes
:math:`v \leftarrow (1 - dt/\tau) v + (dt/\tau) r x`.  A decay :math:`\beta` of snnTorch is said by
:math:`\tau = dt / (1 - \beta)` in float64, which gives a float32 :math:`\beta` back bit for bit,
and a float64 one to within :math:`2^{-53}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import nir
import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from snntorch._neurons import rleaky, rsynaptic
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_classes import WITH_CURRENT, reset_of
from neurodeploy.frontends._snntorch_layers import Call, convolution, linear, names_of
from neurodeploy.frontends._snntorch_maps import Tensors
from neurodeploy.frontends._snntorch_nodes import neuron_array
from neurodeploy.frontends._snntorch_values import Layer, Shape, Source
from neurodeploy.semantics import Reset, ResetTiming, Semantics

Array = NDArray[np.float64]

_STORED_RESETS: tuple[Reset, ...] = ("subtract", "zero", "none")


@dataclass(frozen=True)
class Arithmetic:
    """What a model computes in: steps of `dt` seconds, and float32 or float64."""

    dt: float
    dtype: torch.dtype

    @property
    def name(self) -> Literal["float32", "float64"]:
        """The float type as `Semantics` and metadata have it."""
        return "float64" if self.dtype == torch.float64 else "float32"


def neuron_node(module: Any, shape: Shape, model: Arithmetic, path: str) -> nir.NIRNode:
    """The NIR neuron of an snnTorch neuron, parameters in float64 and of the population's shape.

    Of an Alpha it is the Threshold at the end; for what leads there see `_snntorch_alpha`.

    Raises
    ------
    ModelError
        An option or a parameter has no exact form in NIR.
    """
    threshold = _thresholds(module, shape, model, path)
    if isinstance(module, snn.Alpha):
        return nir.Threshold(threshold)
    if isinstance(module, snn.Lapicque):
        return _lapicque(module, threshold, model, path)
    beta = np.clip(neuron_array(module.beta, "beta", shape, model.dtype, path), 0, 1)
    if isinstance(module, WITH_CURRENT):
        alpha = np.clip(neuron_array(module.alpha, "alpha", shape, model.dtype, path), 0, 1)
        return _cuba(alpha, beta, threshold, model, path)
    return _leaky(beta, threshold, model, path)


def _thresholds(module: Any, shape: Shape, model: Arithmetic, path: str) -> Array:
    """Thresholds of the population.

    A reset by subtraction takes away the threshold times a float32 spike.  Where the threshold is
    a single number that product is float32 in a float64 model too, and the two may differ.
    """
    threshold = neuron_array(module.threshold, "threshold", shape, model.dtype, path)
    if np.any(threshold <= 0):
        raise ModelError(
            f"{np.count_nonzero(threshold <= 0)} of {threshold.size} thresholds are not positive, "
            f"the lowest is {threshold.min():g}",
            node=path,
            hint="Bound the threshold from below in training.",
        )
    subtracted = neuron_array(
        module.threshold.to(torch.float32), "threshold", shape, model.dtype, path
    )
    single = module.threshold.dim() == 0 and _reset(module, path) == "subtract"
    if single and np.any(subtracted != threshold):
        raise ModelError(
            f"its threshold is {threshold.flat[0]!r}, its reset subtracts {subtracted.flat[0]!r}, "
            "since snnTorch's spikes are float32",
            node=path,
            hint="Give every neuron a threshold: threshold=torch.full((neurons,), value).",
        )
    return threshold


def _leaky(beta: Array, threshold: Array, model: Arithmetic, path: str) -> nir.NIRNode:
    r"""LIF of :math:`v \leftarrow \beta v + x`, that is Leaky and RLeaky: :math:`r = \tau / dt`.

    With :math:`\beta = 1` everywhere it is NIR's IF with :math:`r = 1/dt`.
    """
    zeros = np.zeros_like(beta)
    if np.all(beta == 1):
        return nir.IF(r=np.full_like(beta, 1 / model.dt), v_threshold=threshold, v_reset=zeros)
    tau = time_constant(beta, "beta", model, path)
    return nir.LIF(
        tau=tau, r=tau / model.dt, v_leak=zeros, v_threshold=threshold, v_reset=zeros.copy()
    )


def _cuba(alpha: Array, beta: Array, threshold: Array, model: Arithmetic, path: str) -> nir.CubaLIF:
    r"""CubaLIF of :math:`i \leftarrow \alpha i + x, v \leftarrow \beta v + i` (Synaptic).

    :math:`w_{in} = \tau_{syn} / dt` and :math:`r = \tau_{mem} / dt` make both gains one.
    """
    tau_syn = time_constant(alpha, "alpha", model, path)
    tau_mem = time_constant(beta, "beta", model, path)
    return nir.CubaLIF(
        tau_syn=tau_syn,
        tau_mem=tau_mem,
        r=tau_mem / model.dt,
        v_leak=np.zeros_like(beta),
        v_threshold=threshold,
        v_reset=np.zeros_like(beta),
        w_in=tau_syn / model.dt,
    )


def _lapicque(module: Any, threshold: Array, model: Arithmetic, path: str) -> nir.LIF:
    r"""LIF of :math:`v \leftarrow R \frac{1}{RC} T x + (1 - \frac{T}{RC}) v`, T the `time_step`.

    :math:`dt = T`, :math:`\tau = RC` and :math:`r = R`, corrected within their rounding so that the
    decay is snnTorch's (float32: bit for bit).  snnTorch multiplies the input by the three factors
    one after the other, NIR by their product, so the last bit of the input may differ: random
    networks spiked differently in 10 of 144 million entries.  `beta` does not act in snnTorch once
    `C` or `R` is computed from it.
    """
    model = Arithmetic(_time_step(module, model, path), model.dtype)
    resistance, capacity = module.R.detach().cpu(), module.C.detach().cpu()
    period = module.time_step.detach().cpu()
    shape = threshold.shape
    factor = neuron_array(resistance, "R", shape, model.dtype, path)
    if np.any(factor <= 0) or np.any(neuron_array(capacity, "C", shape, model.dtype, path) <= 0):
        raise ModelError("R or C is not positive", node=path, hint="Choose positive R and C.")
    rate = 1 / (resistance * capacity)
    decay = neuron_array(1 - period / (resistance * capacity), "R or C", shape, model.dtype, path)
    if np.any((decay < 0) | (decay >= 1)):
        wrong = decay[(decay < 0) | (decay >= 1)]
        raise ModelError(
            f"1 - time_step / (R C) is {wrong.flat[0]:g} for {wrong.size} of {decay.size} neurons, "
            "expected 0 or more and less than 1",
            node=path,
            hint="Choose R C of at least time_step, and not above 1e7 times it.",
        )
    tau = time_constant(decay, "1 - time_step / (R C)", model, path)
    gain = factor * neuron_array(rate, "R or C", shape, model.dtype, path) * model.dt
    zeros = np.zeros(shape)
    return nir.LIF(
        tau=tau,
        r=gain * (tau / model.dt),
        v_leak=zeros,
        v_threshold=threshold,
        v_reset=zeros.copy(),
    )


def _time_step(module: Any, model: Arithmetic, path: str) -> float:
    """The `time_step` of a Lapicque as snnTorch computes with it."""
    if module.time_step.numel() != 1 or not float(module.time_step) > 0:
        raise ModelError(
            "time_step is not one positive number", node=path, hint="Vary R or C between neurons."
        )
    return float(module.time_step.to(model.dtype))


def time_constant(decay: Array, name: str, model: Arithmetic, path: str) -> Array:
    r""":math:`\tau = dt / (1 - \beta)` of a decay in [0, 1].

    That a float32 decay comes back bit for bit is checked (below 1e-8 it may not).  Of a float64
    decay, the float64 numbers next to that quotient are tried, and the one kept that comes nearest.
    """
    if np.any(decay == 1):
        raise ModelError(
            f"{name} is 1 (after clamping) for {np.count_nonzero(decay == 1)} of {decay.size} "
            "neurons; NIR has no time constant for it",
            node=path,
            hint=f"Clip {name} below 1, or put these neurons into a population of their own.",
        )
    tau: Array = model.dt / (1 - decay)
    if model.dtype == torch.float64:
        near = tau + np.spacing(tau) * np.arange(-3, 4).reshape(-1, *(1,) * tau.ndim)
        best = np.abs(1 - model.dt / near - decay).argmin(axis=0)
        nearest: Array = np.take_along_axis(near, best[None], axis=0)[0]
        return nearest
    lost = (1 - model.dt / tau).astype(np.float32) != decay
    if np.any(lost):
        raise ModelError(
            f"{name} is {decay[lost].max():g} or less for {np.count_nonzero(lost)} neurons, too "
            "close to zero to be said by a time constant",
            node=path,
            hint=f"Set {name} to zero there.",
        )
    return tau


def graded_factor(module: Any, shape: Shape, dtype: torch.dtype, path: str) -> Array | None:
    """What a spike is multiplied with (float64, the population's shape); None where it is 1.

    A single number times snnTorch's float32 spikes is float32, also in a float64 model.
    """
    factor = module.graded_spikes_factor
    dtype = dtype if factor.dim() else torch.float32
    factor = neuron_array(factor, "graded_spikes_factor", shape, dtype, path)
    if np.any(factor == 0):
        raise ModelError("graded_spikes_factor is zero", node=path, hint="Remove these neurons.")
    return None if np.all(factor == 1) else factor


def recurrent_node(
    module: Any, shape: Shape, dtype: torch.dtype, path: str, tensors: Tensors
) -> nir.NIRNode:
    """The NIR node of the weights from a population of `shape` to itself.

    `module` is what an RLeaky or RSynaptic at `path` has as `recurrent`, and `dtype` the type of
    what it delivers: a single V times float32 spikes is float32 even in a float64 model.  Its bias
    acts from the first step on, before any spike: snnTorch adds `recurrent(0)` there.
    """
    if type(module) in (rleaky.RecurrentOneToOne, rsynaptic.RecurrentOneToOne):
        return nir.Scale(neuron_array(module.V, "V", shape, dtype, path))
    inner = f"{path}.recurrent".lstrip(".")
    if type(module) is nn.Linear:  # of images: along the last axis, as torch's
        rule: Callable[[Call], Layer] = linear
    elif type(module) is nn.Conv2d and len(shape) == 3:
        rule = convolution
    else:
        raise ModelError(
            f"{type(module).__name__} from neurons of shape {shape} to themselves is not supported",
            node=inner,
            hint="Use linear_features after nn.Linear, conv2d_channels after nn.Conv2d, or "
            "all_to_all=False.",
        )
    name = type(module).__name__
    try:
        layer = rule(Call(name, inner, Source(shape), shape, module, names_of(tensors), {}))
    except ModelError as error:
        error.node = error.node or inner
        raise
    [(_, node)] = layer.op.nodes(layer, tensors)
    return node


def semantics(module: Any, model: Arithmetic, path: str) -> Semantics:
    """What the module computes, read from its bound update function.

    `reset_mechanism` and a loaded state_dict do not change the update of an existing module; with
    `reset_delay=False` they do change the reset after the spike, so the two must then agree.
    A delayed reset to zero takes effect before leak and input in Leaky, after them in the others.
    """
    reset = _reset(module, path)
    timing: ResetTiming = "immediate"
    lapicque = isinstance(module, snn.Lapicque)
    if not getattr(module, "reset_delay", True):
        stored = _STORED_RESETS[int(module.reset_mechanism_val)]
        if stored != reset:
            raise ModelError(
                f"it was built with reset_mechanism={reset!r} and later set to {stored!r}, of "
                "which snnTorch computes a mixture",
                node=path,
                hint=f"Build it with reset_mechanism={stored!r}.",
            )
        timing = "held" if reset == "subtract" else "immediate"
    elif reset == "zero" and not isinstance(module, snn.Leaky):
        timing = "after-input"
    elif reset != "none":
        timing = "delayed"
    return Semantics(
        dt=_time_step(module, model, path) if lapicque else model.dt,
        reset=reset,
        reset_timing=timing,
        rounding=model.name,
    )


def _reset(module: Any, path: str) -> Reset:
    reset = reset_of(module)
    if reset is None:
        raise ModelError("its state_function is not its own", node=path, hint="Build it anew.")
    return reset
