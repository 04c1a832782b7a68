"""`.net` files against lava-dl and Lava: what was read is what they execute.

The folder lava_dl beside this file holds files that lava-dl wrote, and what its blocks did (make.py
there).  Lava runs networks that are built from a file's fields without our reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy import reference
from neurodeploy.network import Network, Population
from neurodeploy.targets.loihi import arithmetic

FILES = Path(__file__).parent / "lava_dl"
SHAPES = {"conv": (2, 11, 9), "pool": (2, 10, 8)}
NAMES = sorted(path.stem for path in FILES.glob("*.net"))
UNIT = 64
"""State units per unit of the weights (6 bits)."""


@dataclass(frozen=True, eq=False)
class Executed:
    """Integer neurons: spikes and v as it was compared, (samples, steps, *shape)."""

    spikes: np.ndarray
    potential: np.ndarray


def integers(values: np.ndarray) -> np.ndarray:
    """The same numbers as int64; they must be whole."""
    assert np.array_equal(values, np.rint(values))
    return values.astype(np.int64)


def execute(net: Network, population: Population, signals: Mapping[str, np.ndarray]) -> Executed:
    """Lava's fixed-point neurons with the integers of the loaded population.

    `signals` are the spikes that reach it, in the time in which they do.
    """
    name = population.name
    bias = np.zeros(population.shape) if population.leak is None else population.leak
    if population.leak is None:
        assert not np.any(population.bias) or not np.any(population.current_decay)
        bias = population.bias
    du = integers(4096 * (1 - population.current_decay)) - 1
    dv = integers(4096 * (1 - population.decay))
    theta = np.where(population.threshold < np.inf, population.threshold, 2**24)
    outside = {key: value for key, value in signals.items() if key != name}
    current = integers(reference.currents(net, population, outside) - population.bias)
    loops = [c for c in net.incoming(name) if c.source == name]
    u = v = fired = np.zeros((len(current), *population.shape), np.int64)
    spikes, potential = np.zeros(current.shape, np.uint8), np.zeros(current.shape, np.int64)
    for t in range(current.shape[1]):
        a = current[:, t] + sum(integers(c.apply(fired.astype(float))) for c in loops)
        u, v = arithmetic.integrate(u, v, a, du, dv, integers(bias * UNIT))
        fired = (v > theta * UNIT).astype(np.int64)
        spikes[:, t], potential[:, t] = fired, v
        v = arithmetic.reset(v, fired)
    return Executed(spikes, potential)
