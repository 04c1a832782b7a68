"""The neuron models of py-spinnaker2 that a program may use, by the names of its applications.

Registers carry the names of py-spinnaker2's parameters.  Equations: `arithmetic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.errors import InputError
from neurodeploy.program import POTENTIAL, Neurons
from neurodeploy.semantics import Semantics

SEMANTICS = Semantics(
    reset="zero",
    reset_timing="immediate",
    comparison=">=",
    edge_delay=1,
    rounding="float32",
    overflow="none",
)
"""One of the two step rules of all models; the other has reset `subtract`."""

SUBTRACT, TO_V_RESET = range(2)
"""Values of the register `reset`: py-spinnaker2's `reset_by_subtraction`, `reset_to_v_reset`."""

LONGEST_DELAY = 7
"""Greatest delay field: a spike arrives field + 1 ticks after it was sent."""


@dataclass(frozen=True)
class Model:
    """What a neuron model consists of.

    Attributes
    ----------
    registers: names of the float32 registers.
    weights: least and greatest weight of its synapses, signs included.
    delays: greatest delay field of its synapses.
    ports: names of the inputs.  `current` takes weights of either sign; `excitatory` and
        `inhibitory` take what their names say, as magnitudes.
    states: names of the states after each tick; `potential` is v as it was compared with the
        threshold.
    """

    registers: tuple[str, ...]
    weights: tuple[int, int]
    delays: int
    ports: tuple[str, ...]
    states: tuple[str, ...]

    @property
    def filtered(self) -> bool:
        """Whether it has synaptic currents that decay."""
        return "exc_decay" in self.registers


_LIF = ("alpha_decay", "i_offset", "threshold", "v_reset", "v_init")
_EXP = (*_LIF, "exc_decay", "inh_decay")
_DELAYED, _AT_ONCE = (-15, 15), (-127, 127)
_PORTS = ("excitatory", "inhibitory")
_STATES = ("v", POTENTIAL)
_CURRENTS = ("v", "exc", "inh", POTENTIAL)

MODELS: Mapping[str, Model] = {
    "lif": Model(_LIF, _DELAYED, LONGEST_DELAY, ("current",), _STATES),
    "lif_no_delay": Model(_LIF, _AT_ONCE, 0, ("current",), _STATES),
    "lif_conv2d": Model(_LIF, (-128, 127), 0, ("current",), _STATES),
    "lif_curr_exp": Model(_EXP, _DELAYED, LONGEST_DELAY, _PORTS, _CURRENTS),
    "lif_curr_exp_no_delay": Model(_EXP, _AT_ONCE, 0, _PORTS, _CURRENTS),
}


def model_of(population: Neurons) -> Model:
    """The model of a population; raises `InputError` where py-spinnaker2 has none of that name."""
    if population.model not in MODELS:
        raise InputError(
            f"SpiNNaker2 has no neuron model {population.model!r}",
            node=population.name,
            hint=f"There are: {', '.join(MODELS)}.",
        )
    return MODELS[population.model]
