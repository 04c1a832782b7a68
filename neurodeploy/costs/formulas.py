"""Formulas of latency, and the figure that other tools print: on arrays, one function each.

Source: SANA-FE's latency of the busiest core (doi 10.1109/TCAD.2025.3537971).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.linear import FloatArray
from neurodeploy.program import IntArray
from neurodeploy.quantity import Quantity

ACCUMULATE_45NM = Quantity(
    0.9e-12,
    0.9e-12,
    0.9e-12,
    "J",
    "literature",
    "32-bit floating-point addition at 45 nm, 0.9 V (Horowitz, ISSCC 2014)",
)


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
