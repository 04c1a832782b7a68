"""Bounds of ternary, adaptive-threshold and resonator neurons, from `arithmetic_neurons`.

Of sigma, delta and sigma-delta neurons nothing is known: a sigma adds up all that ever arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import INT32_MAX, Interval
from neurodeploy.bounds import UNBOUNDED, Register, before, climb, sink
from neurodeploy.program import IntArray, Neurons
from neurodeploy.targets.loihi.arithmetic import STATE_SHIFT, bias_current, decay, update_u
from neurodeploy.targets.loihi.arithmetic_neurons import toward_zero
from neurodeploy.targets.loihi.bounds import INT32, U_LIMITS, V_LIMITS, anything, bound_u
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.stepwise import lanes

CURRENT = {"ternary-lif": ("u", "du", "dv", "u0"), "atrlif": ("i", "delta_i", "delta_v", "i0")}
"""Models whose u and v are those of CUBA LIF: names of u, its decay, that of v, and its start."""
RESONATORS = ("rf", "rf-iz")
Values = Mapping[str, IntArray]


def registers(
    population: Neurons, arriving: Mapping[str, Interval], own: IntArray
) -> tuple[Register, ...]:
    """As `bounds.registers`."""
    if population.model in RESONATORS:
        return _resonator(population, arriving)
    if population.model not in CURRENT:
        return ()
    values = _values(population)
    name, *_ = CURRENT[population.model]
    bias = bias_current(values["bias_mant"], values["bias_exp"])
    u = bound_u(_as_lif(population.model, values), arriving["current"], own, Interval(bias, bias))
    found = Register(name, u.low, u.high, U_LIMITS, "wraps")
    u = u if found.fits else anything(u)
    v = _potential(population.model, values, Interval(u.low + bias, u.high + bias))
    both = (found, Register("v", v.low, v.high, V_LIMITS, "saturates"))
    return (*both, *(_adaptive(values) if population.model == "atrlif" else ()))


def _values(population: Neurons) -> dict[str, IntArray]:
    return {name: lanes(population, name) for name in MODELS[population.model].registers}


def _as_lif(model: str, values: Values) -> dict[str, IntArray]:
    """For `bound_u`: own spikes that may arrive in any step."""
    _, du, _, u0 = CURRENT[model]
    zero = np.zeros_like(values[du])
    return {"du": values[du], "u0": values[u0], "dv": zero, "vth": zero}


def _potential(model: str, values: Values, drive: Interval) -> Interval:
    """v before it saturates and is reset: v' = decay(v) + u + bias.

    Of a ternary neuron's potentials only those between its thresholds are kept; others become 0.
    """
    v0, dv = values["v0"], values[CURRENT[model][2]]
    least, most = np.full_like(v0, -UNBOUNDED), np.full_like(v0, UNBOUNDED)
    resets = model == "ternary-lif"
    if resets:
        levels = values["vth_lo"] << STATE_SHIFT, values["vth_hi"] << STATE_SHIFT
        least, most = np.minimum(*levels), np.maximum(*levels)

    def up(v: IntArray) -> IntArray:
        after = decay(np.minimum(v, most), dv) + drive.high
        return np.asarray(np.maximum(after, drive.high) if resets else after)

    def down(v: IntArray) -> IntArray:
        after = decay(np.maximum(v, least), dv) + drive.low
        return np.asarray(np.minimum(after, drive.low) if resets else after)

    low = sink(down, np.asarray(decay(v0, dv) + drive.low))
    high = climb(up, np.asarray(decay(v0, dv) + drive.high))
    zero = np.zeros_like(v0) if resets else v0
    return Interval(np.minimum(low, np.minimum(v0, zero)), np.maximum(high, np.maximum(v0, zero)))


def _adaptive(values: Values) -> tuple[Register, ...]:
    """theta and r if a spike may come in any step: theta - theta_0 = x with x' = decay(x) + step S,
    r' = decay(r) + 2 theta S, with the theta before the step."""
    zero, step = np.zeros_like(values["theta_0"]), values["theta_step"]
    low = sink(lambda x: decay(x, values["delta_theta"]) + np.minimum(step, 0), zero)
    high = climb(lambda x: decay(x, values["delta_theta"]) + np.maximum(step, 0), zero)
    theta = Register("theta", values["theta_0"] + low, values["theta_0"] + high, INT32, "wraps")
    held = Interval(theta.low, theta.high)
    held = held if theta.fits else anything(held)
    least, most = np.minimum(2 * held.low, 0), np.maximum(2 * held.high, 0)
    r = Register(
        "r",
        sink(lambda r: decay(r, values["delta_r"]) + least, values["r0"]),
        climb(lambda r: decay(r, values["delta_r"]) + most, values["r0"]),
        INT32,
        "wraps",
    )
    return (theta, r)


def _resonator(population: Neurons, arriving: Mapping[str, Interval]) -> tuple[Register, ...]:
    """real and imag before they saturate, by |(real, imag)| <= (A + 2 sqrt 2) / (1 - |d|).

    |d| = hypot(sin_decay, cos_decay) / 2^decay_bits, A the largest input in the states' unit, and
    each of the four terms is rounded by less than 1.  A spike of RF_IZ leaves (0, vth - 1).
    """
    values = _values(population)
    largest = [
        np.maximum(-arriving[port].low, arriving[port].high)
        if port in arriving
        else np.zeros(population.size, np.int64)
        for port in ("real", "imag")
    ]
    drives = (np.minimum(x << values["state_exp"], INT32_MAX) for x in largest)
    drive = np.hypot(*drives)
    factor = np.hypot(values["sin_decay"], values["cos_decay"]) / 2.0 ** values["decay_bits"]
    with np.errstate(divide="ignore"):
        settled = (drive + 2 * np.sqrt(2)) / np.maximum(1 - factor, 0) * (1 + 1e-9)
    bound = np.where(settled < UNBOUNDED, np.ceil(settled), UNBOUNDED).astype(np.int64)
    if population.model == "rf-iz":
        bound = np.maximum(bound, np.abs(values["vth"] - 1))
    return tuple(Register(name, -bound, bound, V_LIMITS, "saturates") for name in ("real", "imag"))


def written(
    population: Neurons,
    own: IntArray,
    currents: Mapping[str, IntArray],
    states: Mapping[str, NDArray[Any]],
    fired: IntArray,
) -> dict[str, IntArray]:
    """As `bounds.written`."""
    model = population.model
    if model not in (*CURRENT, *RESONATORS):
        return {}
    values, none = _values(population), np.zeros(1, np.int64)
    if model in RESONATORS:
        real, imag = before(states["real"], none), before(states["imag"], none)
        sin, cos, bits = (values[name] for name in ("sin_decay", "cos_decay", "decay_bits"))
        re, im = (currents.get(port, none) << values["state_exp"] for port in ("real", "imag"))
        return {
            "real": toward_zero(cos * real, bits) - toward_zero(sin * imag, bits) + re,
            "imag": toward_zero(sin * real, bits) + toward_zero(cos * imag, bits) + im,
        }
    name, du, dv, u0 = CURRENT[model]
    a = currents["current"] + own * before(fired, none)
    u_before, v_before = before(states[name], values[u0]), before(states["v"], values["v0"])
    bias = bias_current(values["bias_mant"], values["bias_exp"])
    u = decay(u_before, values[du] + 1) + (a << STATE_SHIFT)
    v = decay(v_before, values[dv]) + update_u(u_before, a, values[du]) + bias
    found = {name: np.asarray(u), "v": np.asarray(v)}
    if model == "atrlif":
        distance = before(states["theta"], values["theta_0"]) - values["theta_0"]
        theta = decay(distance, values["delta_theta"]) + values["theta_0"]
        r = decay(before(states["r"], values["r0"]), values["delta_r"])
        found |= {"theta": theta + values["theta_step"] * fired, "r": r + 2 * theta * fired}
    return found
