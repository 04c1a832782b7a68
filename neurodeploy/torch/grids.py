"""Which grid the weights of a program lie on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neurodeploy.program import Synapses
from neurodeploy.torch.cells import Levels


def common_power(together: Iterable[Synapses], least: int) -> int:
    """The largest power of two that divides all weights; `least` where all are 0."""
    bits = 0
    for synapses in together:
        bits |= int(np.bitwise_or.reduce(synapses.weight.reshape(-1)))
    return bits & -bits if bits else least


def multiples(
    synapses: Synapses, together: Iterable[Synapses], low: int, high: int, least: int
) -> Levels:
    """Multiples of the common power of two that lie symmetrically within the chip's low..high.

    What the weights reach beyond that already, as -256 of Loihi's does, stays.
    """
    step = common_power(together, least)
    most = min(high, -low) // step * step if low < 0 < high else max(-low, high) // step * step
    weight = synapses.weight
    return Levels(
        step,
        float(min(-most if low < 0 else 0, weight.min(initial=0))),
        float(max(most if high > 0 else 0, weight.max(initial=0))),
    )
