"""What a chip's energy consists of, family by family: tables of products of counts and constants.

Sources: Loihi, the event model of Davies et al. (IEEE Micro 38(1), 2018, Table 2) with the packet
and spike terms of SANA-FE (doi 10.1109/TCAD.2025.3537971).  SpiNNaker2, the sleeping chip plus busy
cycles of its processing elements (chip paper, arXiv 2607.24396).  SpiNNaker1, the regression of
Ostrau et al. (Front. Neurosci. 16:873935, 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from neurodeploy.chip import Chip
from neurodeploy.errors import TargetError

CORE = "core dynamic"
STATIC = "static and management"
HOST = "host and I/O"
DYNAMIC = "dynamic"
BASELINE = "baseline of the sleeping chip"
IDLE = "idle chips"


@dataclass(frozen=True)
class Term:
    """One part of a line: the product of all `constants` and all `counts`.

    Counts are named as in `draws.per_sample`, with `seconds`, `chips`, and `static chips`, those
    whose static power counts: all in use, but some probes give the share of the cores in use.
    """

    line: str
    name: str
    constants: tuple[str, ...]
    counts: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """The lines of a family of chips, which are never merged silently.

    Attributes
    ----------
    terms: their parts; the first line is what the program itself causes.  Those whose counts are
        not known are left out, such as cycles that were measured elsewhere.
    literature: parts of one line more, from constants in circulation; a comparison, in no total.
    errors: line -> constant with the geometric standard deviation of its model error.
    total_error: that of the total, found with lines that had no error of their own.
    tick: constant with the length of a step, where the chip keeps real time.
    """

    terms: tuple[Term, ...]
    literature: tuple[Term, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    total_error: str = ""
    tick: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Names of the lines."""
        return tuple(dict.fromkeys(term.line for term in self.terms))


LOIHI = Model(
    (
        Term(CORE, "synaptic events", ("e_syn",), ("synaptic events",)),
        Term(CORE, "neuron updates", ("e_upd",), ("neuron updates",)),
        Term(CORE, "spikes", ("e_spk",), ("spikes",)),
        Term(CORE, "packets", ("e_pkt",), ("packets",)),
        Term(CORE, "hops", ("e_hop",), ("hops",)),
        Term(CORE, "core steps", ("e_core_step",), ("core steps",)),
        Term(STATIC, "static", ("p_static",), ("static chips", "seconds")),
        Term(STATIC, "management", ("p_management",), ("chips", "seconds")),
        Term(HOST, "input messages", ("e_host",), ("input messages",)),
        Term(HOST, "output messages", ("e_host",), ("output messages",)),
    ),
    errors={CORE: "model_gsd_core"},
    total_error="model_gsd_total",
)

SPINNAKER2 = Model(
    (
        Term(DYNAMIC, "synaptic events", ("e_cycle", "c_syn"), ("synaptic events",)),
        Term(DYNAMIC, "neuron updates", ("e_cycle", "c_upd"), ("neuron updates",)),
        Term(DYNAMIC, "ticks of processing elements", ("e_cycle", "c_tick"), ("core steps",)),
        Term(DYNAMIC, "other cycles", ("e_cycle",), ("cycles",)),
        Term(BASELINE, "sleeping chip", ("p_sleep",), ("chips", "seconds")),
    ),
    literature=(
        Term("", "synaptic events", ("e_syn_prototype",), ("synaptic events",)),
        Term("", "neuron updates", ("e_upd_prototype",), ("neuron updates",)),
    ),
    tick="t_tick",
)

SPINNAKER1 = Model(
    (
        Term(DYNAMIC, "synaptic events", ("e_syn",), ("synaptic events",)),
        Term(DYNAMIC, "neuron updates", ("e_upd",), ("neuron updates",)),
        Term(DYNAMIC, "spikes", ("e_spk",), ("spikes",)),
        Term(IDLE, "idle chips", ("p_idle",), ("chips", "seconds")),
        Term(HOST, "input messages", ("e_in",), ("input messages",)),
    ),
    tick="t_tick",
)

MODELS: Mapping[str, Model] = {
    "loihi": LOIHI,
    "spinnaker2": SPINNAKER2,
    "spinnaker1": SPINNAKER1,
}
"""By the name that a chip file gives as `energy_model`."""


def model_of(chip: Chip) -> Model:
    """The chip's model.

    Raises
    ------
    TargetError
        Nothing is known about its energies, as for a number format.
    """
    if chip.energy_model not in MODELS:
        raise TargetError(
            "no energies or times are known for it, so none can be estimated",
            node=chip.title,
            hint="Measure them on your device.",
        )
    return MODELS[chip.energy_model]


def product(term: Term, value: Callable[[str], Any], counts: Mapping[str, Any]) -> Any:
    """Energy of a term in J: constants, by `value`, times counts; numbers or arrays of draws."""
    factors = [value(name) for name in term.constants] + [counts[name] for name in term.counts]
    return math.prod(factors[1:], start=factors[0])
