"""The neurons of a program as fields of a `.net` file, or every reason why they are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurodeploy.frontends.lava_dl_synapses import BIASES
from neurodeploy.program import IntArray, Neurons
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, bias_current
from neurodeploy.targets.loihi.netx.neurons import (
    BIAS_EXPONENT,
    DECAY_BITS,
    INTEGRATOR,
    STATE_EXPONENT,
    VTH_LIMIT,
)

Fields = Mapping[str, Any]
Refuse = Callable[[str], None]


def neuron_fields(population: Neurons, refuse: Refuse) -> Fields:
    """The fields `neuron` and `bias`; `refuse` gets what NetX cannot express."""
    writers: Mapping[str, Callable[[Neurons, Refuse], Fields]] = {
        "lif": _cuba,
        "delta": _delta,
        "sigma-delta": _sigma_delta,
        "sigma": _sigma,
        "rf": _resonator,
        "rf-iz": _resonator,
    }
    if population.model not in writers:
        refuse(f"NetX has no {population.model} neurons")
        return {}
    return writers[population.model](population, refuse)


def single(population: Neurons, name: str, low: int, high: int, refuse: Refuse, why: str) -> int:
    """The one value of a register, within limits."""
    values = population.register(name)
    if np.any(values != values.flat[0]):
        refuse(f"{name} differs between neurons, which share it on the chip")
    value = int(values.flat[0])
    if not low <= value <= high:
        refuse(f"{name} is {value}, expected {low} to {high}{why}")
    return value


def _cuba(population: Neurons, refuse: Refuse) -> Fields:
    for name in ("u0", "v0"):
        if np.any(population.register(name)):
            refuse(f"{name} is not 0, and in NetX all states start at 0")
    bias = _bias(_mantissa(population, refuse), population, refuse)
    if all(np.all(population.register(name) == value) for name, value in INTEGRATOR.items()):
        return bias
    why = " (a decay of 4096 (1 - alpha) - 1)"
    du = single(population, "du", 0, DECAY_ONE - 1, refuse, why)
    dv = single(population, "dv", 0, DECAY_ONE, refuse, "")
    vth = single(population, "vth", 0, VTH_LIMIT, refuse, "")
    neuron = {"type": "CUBA", "iDecay": du + 1, "vDecay": dv, "vThMant": vth}
    return {"neuron": neuron, **bias}


def _mantissa(population: Neurons, refuse: Refuse) -> IntArray:
    """The mantissa of the bias with NetX's exponent."""
    bias = bias_current(population.register("bias_mant"), population.register("bias_exp"))
    if np.any(bias % (1 << BIAS_EXPONENT)):
        refuse(f"its bias is no multiple of 2^{BIAS_EXPONENT} state units, NetX's step")
    return np.asarray(bias >> BIAS_EXPONENT, np.int64)


def _bias(bias: IntArray, population: Neurons, refuse: Refuse) -> Fields:
    """The field `bias`, if there is one: one per channel, or NetX's (width, height, channels)."""
    if not np.any(bias):
        return {}
    low, high = int(bias.min()), int(bias.max())
    if low < BIASES[0] or high > BIASES[1]:
        refuse(f"its bias is in {low}..{high}, beyond the mantissa's {BIASES[0]}..{BIASES[1]}")
    whole = np.broadcast_to(
        bias if bias.size == 1 else bias.reshape(population.shape), population.shape
    )
    channels = whole.reshape(population.shape[0], -1)
    if np.all(channels == channels[:, :1]):
        return {"bias": channels[:, 0].copy()}
    return {"bias": np.ascontiguousarray(whole.transpose(2, 1, 0))}


def _encoding(population: Neurons, refuse: Refuse) -> int:
    """The threshold of Delta and SigmaDelta neurons."""
    for name, value in (("state_exp", STATE_EXPONENT), ("cum_error", 0)):
        single(population, name, value, value, refuse, ", as in NetX")
    return single(population, "vth", 0, VTH_LIMIT, refuse, "")


def _delta(population: Neurons, refuse: Refuse) -> Fields:
    return {"neuron": _sdnn(_encoding(population, refuse))}


def _sigma_delta(population: Neurons, refuse: Refuse) -> Fields:
    single(population, "relu", 1, 1, refuse, ", as in NetX")
    fields = _bias(population.register("bias"), population, refuse)
    return {"neuron": _sdnn(_encoding(population, refuse)), **fields}


def _sigma(population: Neurons, refuse: Refuse) -> Fields:
    del population, refuse
    return {"neuron": {**_sdnn(0), "sigma_output": True}}


def _sdnn(threshold: int) -> dict[str, Any]:
    return {"type": "SDNN", "activation": "relu", "vThMant": threshold}


def _resonator(population: Neurons, refuse: Refuse) -> Fields:
    """Half a unit is added to the decays, which NetX cuts off whatever float64 rounds to."""
    one = 1 << DECAY_BITS
    for name, value in (("state_exp", STATE_EXPONENT), ("decay_bits", DECAY_BITS)):
        single(population, name, value, value, refuse, ", as in NetX")
    sine, cosine = (
        single(population, name, 1 - one, one - 1, refuse, "")
        for name in ("sin_decay", "cos_decay")
    )
    limit = VTH_LIMIT << STATE_EXPONENT
    threshold = single(population, "vth", 1 << STATE_EXPONENT, limit, refuse, "")
    if threshold % (1 << STATE_EXPONENT):
        refuse(f"vth is {threshold}, no multiple of 2^{STATE_EXPONENT}")
    neuron = {
        "type": "RF_PHASE" if population.model == "rf" else "RF_IZHIKEVICH",
        "sinDecay": sine + math.copysign(0.5, sine),
        "cosDecay": cosine + math.copysign(0.5, cosine),
        "vThMant": threshold >> STATE_EXPONENT,
    }
    return {"neuron": neuron}
