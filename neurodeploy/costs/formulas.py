"""The energy and latency formulas, on arrays: one function each.

Sources: the event model of Davies et al. (IEEE Micro 38(1), 2018, Table 2) with the packet and
spike terms of SANA-FE (doi 10.1109/TCAD.2025.3537971), and SANA-FE's latency of the busiest core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurodeploy.linear import FloatArray
from neurodeploy.program import IntArray
from neurodeploy.quantity import Quantity

CORE_TERMS = {
    "synaptic events": "e_syn",
    "neuron updates": "e_upd",
    "spikes": "e_spk",
    "packets": "e_pkt",
    "hops": "e_hop",
    "core steps": "e_core_step",
}
"""Terms of the core line: what is counted, and the constant that it is multiplied with."""

ACCUMULATE_45NM = Quantity(
    0.9e-12,
    0.9e-12,
    0.9e-12,
    "J",
    "literature",
    "32-bit floating-point addition at 45 nm, 0.9 V (Horowitz, ISSCC 2014)",
)


def core_terms(counts: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, Any]:
    """Terms of E_core = e_syn S + e_upd U + e_spk K + e_pkt A + e_hop H + e_core_step cores steps.

    `counts` and `constants` are named as in `CORE_TERMS`; numbers or arrays of draws.
    """
    return {name: constants[constant] * counts[name] for name, constant in CORE_TERMS.items()}


def busiest_core(
    events: IntArray,
    updates: IntArray,
    spikes: IntArray,
    t_syn: float,
    t_upd: float,
    t_spk: float,
) -> FloatArray:
    """max over cores of t_syn S + t_upd U + t_spk K, seconds: (samples, cores) -> (samples,).

    For counts of a whole inference, the time of the core that is busiest over all its steps: a
    lower bound, since another core may be busier in single steps.
    """
    return np.asarray((t_syn * events + t_upd * updates + t_spk * spikes).max(axis=-1))


def latency(busy: Any, steps: Any, sync: Any, management: Any) -> Any:
    """T = busiest core + steps (t_sync + t_mgmt), seconds; packets and hops are not counted."""
    return busy + steps * (sync + management)
