"""A population's step on SpiNNaker2 as `Dynamics`; the arithmetic is `arithmetic`'s.

The chip fires at v >= T, where v is float32.  Where the model fires above a threshold that lies
between T and the float32 before it, that says the same, and the model's way is taken.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.equivalence.dynamics import Dynamics, unit_of
from neurodeploy.linear import FloatArray
from neurodeploy.network import Population
from neurodeploy.program import Program
from neurodeploy.semantics import Comparison
from neurodeploy.targets.spinnaker2.machine import registers_of, resets_to, settled
from neurodeploy.targets.spinnaker2.models import model_of


def dynamics(program: Program, model: Population) -> Dynamics:
    """The step of a population; raises `InputError` for registers that no chip has."""
    neurons = program.population(model.name)
    kind = model_of(neurons)
    registers = {name: v.astype(np.float64) for name, v in registers_of(neurons).items()}
    nothing, offset = np.zeros(neurons.size), registers["i_offset"]
    threshold, start, comparison = _threshold(
        registers["threshold"],
        settled(neurons).astype(np.float64),
        model.threshold.reshape(-1) * unit_of(neurons),
        model,
    )
    to_zero = resets_to(neurons) and not registers["v_reset"].any()
    return Dynamics(
        current_decay=registers["exc_decay"] if kind.filtered else nothing,
        decay=registers["alpha_decay"],
        threshold=threshold,
        bias=nothing if kind.filtered else offset,
        leak=offset if kind.filtered else nothing,
        start=start,
        reset="zero" if to_zero else "subtract",
        timing="immediate",
        amount=nothing if to_zero else registers["threshold"],
        owed=nothing,
        comparison=comparison,
        free=not to_zero,
        signed=kind.filtered,
        rounded=_single,
        summed=_single,
        ports=(("current", 1.0), ("excitatory", 1.0), ("inhibitory", -1.0)),
        weight_limit=kind.weights[1],
    )


def _threshold(
    register: FloatArray, start: FloatArray, meant: FloatArray, model: Population
) -> tuple[FloatArray, FloatArray, Comparison]:
    """(threshold, start, comparison): the model's where no potential on the chip tells these apart.

    An integrator's whole potentials are kept half a unit lower; see `scale.choose`.
    """
    if model.semantics.comparison == ">=":
        return register, start, ">="
    halved = bool(np.all(start - np.floor(start) == 0.5) and np.all(model.decay == 1))
    if halved and np.all(register == np.rint(register)):
        return register, start + 0.5, ">"
    before = np.nextafter(register.astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    if np.all((before <= meant) & (meant < register)):
        return meant, start, ">"
    return register, start, ">="


def _single(x: FloatArray) -> FloatArray:
    """x as float32 holds it."""
    return x.astype(np.float32).astype(np.float64)
