"""A population's step on Loihi as `Dynamics`, in state units; the arithmetic is `arithmetic`'s.

v is the membrane where it resets to zero; u is where v only passes it on (see `lowering`).
"""

from __future__ import annotations

import numpy as np

from neurodeploy.equivalence.dynamics import Dynamics, Fit
from neurodeploy.errors import TargetError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Population
from neurodeploy.program import IntArray, Program
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, STATE_LIMIT
from neurodeploy.targets.loihi.reach import STATE_UNIT
from neurodeploy.targets.loihi.scale import WEIGHT_LIMIT
from neurodeploy.targets.loihi.stepwise import lanes


def dynamics(program: Program, model: Population) -> Dynamics:
    """The step of CUBA LIF neurons.

    Raises
    ------
    TargetError
        Neurons of another model, or that are reset from time to time.
    """
    neurons = program.population(model.name)
    if neurons.model != "lif" or "reset_interval" in neurons.parameters:
        text = "its neurons are set to zero from time to time"
        if neurons.model != "lif":
            text = f"neurons {neurons.model!r} are none of the model's"
        raise TargetError(text, node=model.name)
    exponent = int(lanes(neurons, "bias_exp")[0])
    register = _floats(arithmetic.bias_current(lanes(neurons, "bias_mant"), exponent))
    du, dv = lanes(neurons, "du"), lanes(neurons, "dv")
    u0, v0 = _floats(lanes(neurons, "u0")), _floats(lanes(neurons, "v0"))
    in_u, in_v = 1.0 - (du + 1) / DECAY_ONE, 1.0 - dv / DECAY_ONE
    nothing = np.zeros(neurons.size)
    wrap, saturate = Fit("wrap", _wrapped), Fit("saturate", _saturated)
    passed_on = not in_v.any() and not model.current_decay.any()
    if passed_on and (in_u.any() or model.semantics.reset != "zero"):
        return Dynamics(
            current_decay=nothing,
            decay=in_u,
            threshold=_floats(lanes(neurons, "vth") << arithmetic.STATE_SHIFT),
            bias=register * (1.0 - in_u),
            leak=nothing,
            start=u0 + register,
            reset="subtract",
            timing="immediate",
            amount=nothing,
            owed=nothing,
            comparison=">",
            free=True,
            settled="membrane",
            rounded=np.trunc,
            state_fit=wrap,
            potential_fit=saturate,
            ports=_ports(exponent),
            weight_limit=WEIGHT_LIMIT,
        )
    filtered = bool(in_u.any())
    return Dynamics(
        current_decay=in_u,
        decay=in_v,
        threshold=_floats(lanes(neurons, "vth") << arithmetic.STATE_SHIFT),
        bias=-u0 * (1.0 - in_u) if filtered else register,
        leak=register + u0 if filtered else nothing,
        start=v0,
        reset="zero",
        timing="immediate",
        amount=nothing,
        owed=nothing,
        comparison=">",
        settled="current" if filtered else "nowhere",
        rounded=np.trunc,
        current_fit=wrap,
        state_fit=saturate,
        ports=_ports(exponent),
        weight_limit=WEIGHT_LIMIT,
    )


def _ports(exponent: int) -> tuple[tuple[str, float], ...]:
    return (("current", float(STATE_UNIT)), ("bias", 2.0**exponent))


def _floats(values: IntArray) -> FloatArray:
    return np.asarray(values, np.float64)


def _wrapped(x: FloatArray) -> FloatArray:
    """See `arithmetic.wrap_u`."""
    return _floats(arithmetic.wrap_u(arithmetic.wrap_int32(x.astype(np.int64))))


def _saturated(x: FloatArray) -> FloatArray:
    """See `arithmetic.update_v`."""
    return np.clip(x, 1 - STATE_LIMIT, STATE_LIMIT - 1)
