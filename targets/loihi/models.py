"""The neuron models of Lava's fixed-point library that a program may use: registers and states.

Names of registers are Lava's constructor arguments where those are integers.  Where Lava takes
fractions (RF, ATRLIF), a register is the integer that Lava makes of them.  Equations: `arithmetic`
and `arithmetic_neurons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from neurodeploy.errors import InputError
from neurodeploy.program import POTENTIAL, Neurons

INT32_MAX = (1 << 31) - 1
STATE = (1 - (1 << 23), (1 << 23) - 1)
"""What v can hold: 24 bits, without the least number."""

Limits = tuple[int, int]

_LIF: dict[str, Limits] = {
    "du": (-1, 4095),
    "dv": (0, 4096),
    "bias_mant": (-4096, 4095),
    "bias_exp": (0, 7),
    "u0": (STATE[0], 1 << 23),
    "v0": STATE,
}
_VTH: Limits = (0, (1 << 17) - 1)
_DELTA: dict[str, Limits] = {
    "vth": (0, INT32_MAX),
    "spike_exp": (0, 7),
    "state_exp": (0, 7),
    "cum_error": (0, 1),
}
_RF: dict[str, Limits] = {
    "sin_decay": (-(1 << 16), 1 << 16),
    "cos_decay": (-(1 << 16), 1 << 16),
    "decay_bits": (0, 16),
    "state_exp": (0, 7),
    "vth": (-INT32_MAX, INT32_MAX),
}


@dataclass(frozen=True)
class Model:
    """What a neuron model consists of.

    Attributes
    ----------
    registers: inclusive limits by name: the widths that Lava documents, which it does not check.
        du takes -1 (no decay) and dv 4096 (no memory) besides their 12 bits.
    single: registers that hold one value for the whole population.
    optional: registers that a population may lack.
    states: names of the states after each step, as Lava's models call them; besides, of CUBA LIF,
        v as it was compared with the threshold.
    ports: names of the inputs.
    graded: whether it sends integers of 32 bits, not 0 and 1.
    """

    registers: Mapping[str, Limits]
    single: frozenset[str] = frozenset()
    optional: Mapping[str, Limits] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    ports: tuple[str, ...] = ("current",)
    graded: bool = True


MODELS: Mapping[str, Model] = {
    # lava/proc/lif/models.py: PyLifModelBitAcc; with reset_interval, PyLifResetModelBitAcc.
    "lif": Model(
        {**_LIF, "vth": _VTH},
        optional={"reset_interval": (1, INT32_MAX), "reset_offset": (0, INT32_MAX)},
        single=frozenset({"reset_interval", "reset_offset"}),
        states=("u", "v", POTENTIAL),
        ports=("current", "bias"),
        graded=False,
    ),
    # lava/proc/lif/models.py: PyTernLifModelFixed; sends -1, 0 and 1.
    "ternary-lif": Model(
        {**_LIF, "vth_hi": (-_VTH[1], _VTH[1]), "vth_lo": (-_VTH[1], _VTH[1])},
        single=frozenset({"vth_hi", "vth_lo"}),
        states=("u", "v"),
    ),
    # lava/proc/sdn/models.py: PySigmaModelFixed, PyDeltaModelFixed, PySigmaDeltaModelFixed.
    "sigma": Model({}, states=("sigma",)),
    "delta": Model(_DELTA, single=frozenset(_DELTA), states=("act", "residue", "error")),
    "sigma-delta": Model(
        {**_DELTA, "bias": (-INT32_MAX, INT32_MAX), "relu": (0, 1)},
        single=frozenset({*_DELTA, "relu"}),
        states=("sigma", "act", "residue", "error"),
    ),
    # lava/proc/rf/models.py: PyRFModelFixed; lava/proc/rf_iz/models.py: PyRF_IZModelFixed.
    "rf": Model(
        _RF,
        single=frozenset({"decay_bits", "state_exp", "vth"}),
        states=("real", "imag"),
        ports=("real", "imag"),
        graded=False,
    ),
    "rf-iz": Model(
        _RF,
        single=frozenset({"decay_bits", "state_exp", "vth"}),
        states=("real", "imag"),
        ports=("real", "imag"),
        graded=False,
    ),
    # lava/proc/atrlif/models.py: PyATRLIFModelFixed; deltas in 1/4096, theta_0, theta_step in 1/64.
    "atrlif": Model(
        {
            "delta_i": (-1, 4095),
            "delta_v": (0, 4096),
            "delta_theta": (0, 4096),
            "delta_r": (0, 4096),
            "theta_0": STATE,
            "theta_step": STATE,
            "bias_mant": _LIF["bias_mant"],
            "bias_exp": _LIF["bias_exp"],
            "i0": _LIF["u0"],
            "v0": STATE,
            "r0": STATE,
        },
        single=frozenset({"theta_step"}),
        states=("i", "v", "theta", "r"),
        graded=False,
    ),
    # lava/proc/prodneuron/models.py, lava/proc/graded/models.py: no state from step to step.
    "prod": Model(
        {"vth": (-INT32_MAX, INT32_MAX), "exp": (0, 31)},
        single=frozenset({"vth", "exp"}),
        ports=("first", "second"),
    ),
    "graded": Model({"vth": (-INT32_MAX, INT32_MAX)}, single=frozenset({"vth"})),
    "graded-relu": Model({"vth": (-INT32_MAX, INT32_MAX)}, single=frozenset({"vth"})),
}


def model_of(population: Neurons) -> Model:
    """The model of a population; raises `InputError` where Loihi has none of that name."""
    if population.model not in MODELS:
        raise InputError(
            f"Loihi has no neuron model {population.model!r}",
            node=population.name,
            hint=f"There are: {', '.join(MODELS)}.",
        )
    return MODELS[population.model]
