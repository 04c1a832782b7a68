"""Runs networks of the stand-in tick by tick, with neurodeploy's arithmetic.

Everything is in time of the chip, unlike neurodeploy's simulator, which takes layer after layer:
what a population sends in tick t arrives in tick t + 1 + delay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurodeploy.linear import Conv2d
from neurodeploy.targets.spinnaker2 import arithmetic
from spinnaker2.calls import FAULT
from spinnaker2.snn import Conv2DProjection, Network, Population, Projection

RING = 8
Deliver = Callable[[Any], tuple[Any, Any]]


def run(network: Network, ticks: int, fires: Callable[[Any, Any], Any] = arithmetic.fires) -> None:
    """Fill in what the populations of `network` record in `ticks` ticks."""
    cells = {p.name: _Neurons(p, fires) for p in network.populations if p.params is not None}
    links = [
        (p.pre.name, p.post.name, delay, go)
        for p in network.projections
        for delay, go in _deliveries(p)
    ]
    rings = {
        name: np.zeros((RING, 2, cell.population.size), np.int64) for name, cell in cells.items()
    }
    spikes = {name: np.zeros((ticks, c.population.size), bool) for name, c in cells.items()}
    potentials = {
        name: np.zeros((ticks, c.population.size), np.float32) for name, c in cells.items()
    }
    for tick in range(ticks):
        for name, cell in cells.items():
            exc, inh = rings[name][tick % RING]
            spikes[name][tick] = cell.step(tick, exc, inh)
            potentials[name][tick] = cell.v
            rings[name][tick % RING] = 0
        for source, target, delay, deliver in links:
            rings[target][(tick + 1 + delay) % RING] += deliver(spikes[source][tick])
    for name, cell in cells.items():
        _keep(cell.population, spikes[name], potentials[name])


class _Neurons:
    """State of one population; a `spike_list` has none."""

    def __init__(self, population: Population, fires: Callable[[Any, Any], Any]) -> None:
        self.population, self.fires = population, fires
        self.source = population.neuron_model == "spike_list"
        zero = np.zeros(population.size, np.float32)
        self.exc, self.inh, self.v = zero, zero, zero
        if not self.source:
            self.v = zero + self._of("v_init")
            self.filtered = "exc_decay" in population.params
            self.to = population.params["reset"] == "reset_to_v_reset"

    def _of(self, name: str) -> Any:
        return np.asarray(self.population.params[name], np.float32)

    def step(self, tick: int, exc: Any, inh: Any) -> Any:
        """One tick: what spikes, bool (neurons,)."""
        if self.source:
            sent = self.population.params
            return np.array([tick in sent.get(n, ()) for n in range(self.population.size)])
        if self.filtered:
            self.exc = arithmetic.decay_current(
                self.exc, self._of("exc_decay"), exc.astype(np.float32)
            )
            self.inh = arithmetic.decay_current(
                self.inh, self._of("inh_decay"), inh.astype(np.float32)
            )
            x = self.exc - self.inh
        else:
            x = exc.astype(np.float32) - inh.astype(np.float32)
        potential = arithmetic.integrate(self.v, x, self._of("alpha_decay"), self._of("i_offset"))
        threshold = self._of("threshold")
        fired = self.fires(potential, threshold)
        v = arithmetic.reset(potential, fired, threshold, self._of("v_reset"), self.to)
        self.v = np.asarray(v, np.float32)
        return fired


def _deliveries(projection: Projection | Conv2DProjection) -> list[tuple[int, Deliver]]:
    """For each delay what turns spikes into sums of excitatory and inhibitory magnitudes."""
    if isinstance(projection, Conv2DProjection):
        return [(0, _convolution(projection))]
    found = []
    for delay in np.unique(projection.table[:, 3]):
        pre, post, weight, _ = projection.table[projection.table[:, 3] == delay].T
        matrix = np.zeros((2, projection.pre.size, projection.post.size), np.int64)
        np.add.at(matrix, (np.where(weight > 0, 0, 1), pre, post), np.abs(weight))
        found.append((int(delay), lambda spikes, m=matrix: m[:, spikes].sum(axis=1)))
    return found


def _convolution(projection: Conv2DProjection) -> Deliver:
    p, k = projection.params, projection.params["pool_x"]
    shape = (len(projection.weights), p["in_height"] // k, p["in_width"] // k)
    weights = projection.weights.swapaxes(0, 1).astype(np.float64)
    stride, padding = (p["stride_x"],) * 2, (p["pad_top"], p["pad_left"])
    parts = [Conv2d(np.maximum(sign * weights, 0), shape, stride, padding) for sign in (1, -1)]

    def deliver(spikes: Any) -> Any:
        pooled = spikes.reshape(shape[0], shape[1], k, shape[2], k).sum(axis=(2, 4))
        sums = [part.apply(pooled[None].astype(np.float64)).reshape(-1) for part in parts]
        return np.rint(sums).astype(np.int64)

    return deliver


def _keep(population: Population, spikes: Any, potentials: Any) -> None:
    """Hand over what is recorded, with the faults asked for."""
    ticks, size = spikes.shape
    times = {n: np.flatnonzero(spikes[:, n]).tolist() for n in range(size)}
    neurons = population.neuron_model != "spike_list"
    places = np.argwhere(spikes.T if FAULT == "lost" else ~spikes.T)
    if FAULT in ("lost", "extra", "impossible") and neurons and len(places):
        neuron, tick = places[0].tolist()
        if FAULT == "lost":
            times[neuron].remove(tick)
        else:
            times[neuron].append(tick if FAULT == "extra" else ticks + 5)
    population.spikes = times
    population.voltages = {n: potentials[:, n] for n in range(size)}
    cores = -(-size // population.atoms)
    population.times = {f"PE {core}": np.full(ticks, 0.25) for core in range(cores)}
    if FAULT == "late" and neurons:
        population.times["PE 0"][2] = 1.5
    if FAULT == "untimed":
        population.times = {}
