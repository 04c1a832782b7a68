"""Every neuron model but CUBA LIF, from `arithmetic`'s functions: step by step, or compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.program import IntArray, Neurons
from neurodeploy.simulator.layout import tiled
from neurodeploy.simulator.stepwise import States, Stepwise, Update
from neurodeploy.targets.loihi import arithmetic, arithmetic_neurons
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.stepwise import lanes, received


def stepwise(population: Neurons, own: IntArray) -> Stepwise:
    """The cells of a population whose model is one of `UPDATES`.

    `own`: see `target.Machine.cells`.  Recorded are the model's states.
    """
    model = MODELS[population.model]
    registers = {name: lanes(population, name) for name in model.registers}
    rules = UPDATES[population.model]
    zero = np.zeros(population.size, np.int64)
    return Stepwise.of(
        states={name: registers.get(rules.initial.get(name, ""), zero) for name in model.states},
        recorded=model.states,
        ports=model.ports,
        registers=registers,
        own=own,
        update=received(rules.update),
    )


@dataclass(frozen=True, eq=False)
class SigmaDelta:
    """Sigma-delta neurons in `arithmetic_neurons.run_sigma_delta`, which see."""

    initial: NDArray[np.int64]
    registers: NDArray[np.int64]
    recorded = MODELS["sigma-delta"].states
    ports = MODELS["sigma-delta"].ports

    @classmethod
    def of(cls, population: Neurons, own: IntArray) -> SigmaDelta:
        """Arguments: see `stepwise`."""
        values = {name: lanes(population, name) for name in MODELS["sigma-delta"].registers}
        flags = (values[name] for name in ("relu", "cum_error", "state_exp"))
        return cls(
            tiled((np.zeros_like(own),) * 5, np.int64),
            tiled((*_scaled(values), *flags, own), np.int64),
        )

    def advance(
        self,
        currents: Mapping[str, NDArray[Any]],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
        messages: NDArray[np.int32] | None,
    ) -> None:
        current = currents["current"]
        registers = self.registers[first : first + len(current)]
        nothing = np.empty((0, 0, 0, 0), current.dtype)
        arithmetic_neurons.run_sigma_delta(
            current, registers, state, messages, bool(record), *(record or (nothing,) * 4)
        )


@dataclass(frozen=True)
class Rules:
    """How a model steps, and which registers hold the states that do not start at 0."""

    update: Update
    initial: Mapping[str, str]


def _flags(values: IntArray) -> IntArray:
    return np.asarray(values, np.int64)


def _update_ternary(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    bias = arithmetic.bias_current(registers["bias_mant"], registers["bias_exp"])
    u, v = arithmetic.integrate(
        states["u"], states["v"], currents["current"], registers["du"], registers["dv"], bias
    )
    sent = _flags(arithmetic.fires_ternary(v, registers["vth_hi"], registers["vth_lo"]))
    return {"u": u, "v": arithmetic.reset(v, _flags(sent != 0))}, sent


def _update_sigma(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    sigma = arithmetic_neurons.update_sigma(states["sigma"], currents["current"])
    return {"sigma": sigma}, sigma


def _update_delta(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    spike_exp, state_exp = registers["spike_exp"], registers["state_exp"]
    new = arithmetic_neurons.scaled(currents["current"], spike_exp, state_exp)
    vth = arithmetic_neurons.scaled(registers["vth"], spike_exp, state_exp)
    sent, residue, error = arithmetic_neurons.encode_delta(
        new, states["act"], states["residue"], states["error"], vth, registers["cum_error"]
    )
    message = arithmetic_neurons.delta_message(sent, state_exp)
    return {"act": new, "residue": residue, "error": error}, message


def _scaled(registers: States) -> tuple[IntArray, IntArray]:
    """(bias, vth) of SigmaDelta in state units."""
    exponents = registers["spike_exp"], registers["state_exp"]
    bias, vth = (
        np.asarray(arithmetic_neurons.scaled(registers[name], *exponents))
        for name in ("bias", "vth")
    )
    return bias, vth


def _update_sigma_delta(
    states: States, currents: States, registers: States
) -> tuple[States, IntArray]:
    bias, vth = _scaled(registers)
    sigma, act, sent, residue, error = arithmetic_neurons.step_sigma_delta(
        states["sigma"],
        states["act"],
        states["residue"],
        states["error"],
        currents["current"],
        bias,
        registers["relu"],
        vth,
        registers["cum_error"],
    )
    message = arithmetic_neurons.delta_message(sent, registers["state_exp"])
    return {"sigma": sigma, "act": act, "residue": residue, "error": error}, message


def _resonate(states: States, currents: States, registers: States) -> tuple[IntArray, IntArray]:
    decays = (registers[name] for name in ("sin_decay", "cos_decay", "decay_bits", "state_exp"))
    real, imag = arithmetic_neurons.resonate(
        states["real"], states["imag"], currents["real"], currents["imag"], *decays
    )
    return real, imag


def _update_rf(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    real, imag = _resonate(states, currents, registers)
    fired = arithmetic_neurons.rf_fires(real, imag, states["imag"], registers["vth"])
    return {"real": real, "imag": imag}, _flags(fired)


def _update_rf_iz(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    real, imag = _resonate(states, currents, registers)
    fired = _flags(arithmetic_neurons.rf_iz_fires(imag, registers["vth"]))
    real, imag = arithmetic_neurons.rf_iz_reset(real, imag, registers["vth"], fired)
    return {"real": real, "imag": imag}, fired


def _update_atrlif(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    bias = arithmetic.bias_current(registers["bias_mant"], registers["bias_exp"])
    deltas = registers["delta_i"], registers["delta_v"]
    i, v = arithmetic.integrate(states["i"], states["v"], currents["current"], *deltas, bias)
    theta = arithmetic_neurons.update_theta(
        states["theta"], registers["theta_0"], registers["delta_theta"]
    )
    r = arithmetic_neurons.update_r(states["r"], registers["delta_r"])
    fired = _flags(arithmetic_neurons.atrlif_fires(v, r, theta))
    r, theta = arithmetic_neurons.refract(r, theta, registers["theta_step"], fired)
    return {"i": i, "v": v, "theta": theta, "r": r}, fired


def _update_prod(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    v = arithmetic_neurons.product(currents["first"], currents["second"], registers["exp"])
    return {}, arithmetic_neurons.graded_message(v, registers["vth"])


def _update_graded(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
    return {}, arithmetic_neurons.graded_message(currents["current"], registers["vth"])


def _update_graded_relu(
    states: States, currents: States, registers: States
) -> tuple[States, IntArray]:
    return {}, arithmetic_neurons.graded_relu_message(currents["current"], registers["vth"])


UPDATES: Mapping[str, Rules] = {
    "ternary-lif": Rules(_update_ternary, {"u": "u0", "v": "v0"}),
    "sigma": Rules(_update_sigma, {}),
    "delta": Rules(_update_delta, {}),
    "sigma-delta": Rules(_update_sigma_delta, {}),
    "rf": Rules(_update_rf, {}),
    "rf-iz": Rules(_update_rf_iz, {}),
    "atrlif": Rules(_update_atrlif, {"i": "i0", "v": "v0", "theta": "theta_0", "r": "r0"}),
    "prod": Rules(_update_prod, {}),
    "graded": Rules(_update_graded, {}),
    "graded-relu": Rules(_update_graded_relu, {}),
}
