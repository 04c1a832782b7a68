"""SpiNNaker2's neuron arithmetic in float32: the specification.

Pure functions; each is the formula for numpy arrays and, compiled, for the scalars of the kernel at
the end.  All operands are float32 and every operation rounds to float32, to nearest with ties to
even: no operation is fused with another or done in a wider type, and denormal numbers are kept.

Order and equations are those of the chip code that py-spinnaker2 loads (read in nest/nestml,
pynestml/codegeneration/resources_spinnaker2 @4bde5dbec: main.c, synapses.c and the neuron model),
and reproduce spikes recorded on a chip (see `selftest`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.simulator.jit import kernel, load, nonzero, overloads, primitive
from neurodeploy.simulator.layout import TILE, WORD

EXACT = 1 << 24
"""float32 holds every integer up to this one, so that sums of weights become float32 exactly."""

Floats = Any  # float32: scalar or array


def choose(condition: Any, yes: Floats, no: Floats) -> Floats:
    """`yes` where the condition holds, else `no`."""
    return np.where(condition, yes, no)


@overloads(choose)
def _choose(condition: Any, yes: Any, no: Any) -> Any:
    def one(condition: Any, yes: Any, no: Any) -> Any:
        return yes if condition else no

    return one


@primitive
def decay_current(current: Floats, decay: Floats, arriving: Floats) -> Floats:
    """current decay + arriving: a synaptic current decays first, then takes what arrives."""
    return current * decay + arriving


@primitive
def integrate(v: Floats, x: Floats, alpha: Floats, i_offset: Floats) -> Floats:
    """v alpha + (x + i_offset): the potential that is compared with the threshold."""
    return v * alpha + (x + i_offset)


@primitive
def fires(potential: Floats, threshold: Floats) -> Any:
    """potential >= threshold."""
    return potential >= threshold


@primitive
def reset(potential: Floats, fired: Any, threshold: Floats, v_reset: Floats, to: Any) -> Floats:
    """v after the tick: where it fired, v_reset if `to`, else potential - threshold."""
    if to:
        return choose(fired, v_reset, potential)
    return choose(fired, potential - threshold, potential)


@kernel
def run(
    exc: Any,
    inh: Any,
    registers: Any,
    own: Any,
    filtered: Any,
    to: Any,
    state: Any,
    words: Any,
    start: Any,
    first: Any,
    record: Any,
    v_out: Any,
    exc_out: Any,
    inh_out: Any,
    potential_out: Any,
) -> None:
    """Neurons over time; a neuron's own spike arrives one tick later.

    Parameters
    ----------
    exc, inh: int32 (tiles, samples, steps, 128), sums of weights below 2^24; inh may be None, and
        then exc holds the difference.
    registers: float32 (tiles, 6, 128): alpha_decay, i_offset, threshold, v_reset, exc_decay,
        inh_decay.
    own: int32 (tiles, 128), what a neuron's own spike adds to exc.
    filtered: whether exc and inh pass through synaptic currents.
    to: whether a reset is one to v_reset.
    state: float32 (tiles, samples, 4, 128), changed: v, both synaptic currents, whether it fired.
    words, start, first: see `target.Cells.advance`.
    record: whether to fill the last four.
    v_out, exc_out, inh_out, potential_out: float32, like `exc`: the states after each tick, and the
        potential that was compared.
    """
    tiles, samples, steps, _ = exc.shape
    fired = np.empty(TILE, np.int8)
    for tile in range(tiles):
        alpha, i_offset, threshold = registers[tile, 0], registers[tile, 1], registers[tile, 2]
        v_reset, exc_decay, inh_decay = registers[tile, 3], registers[tile, 4], registers[tile, 5]
        for b in range(samples):
            v, spiked = state[tile, b, 0], state[tile, b, 3]
            e, i = state[tile, b, 1], state[tile, b, 2]
            for t in range(steps):
                for k in range(TILE):
                    arriving = exc[tile, b, t, k] + own[tile, k] * np.int32(spiked[k])
                    x = np.float32(arriving)
                    y = np.float32(0)
                    if inh is not None:
                        y = np.float32(inh[tile, b, t, k])
                    if filtered:
                        x = decay_current(e[k], exc_decay[k], x)
                        y = decay_current(i[k], inh_decay[k], y)
                        e[k], i[k] = x, y
                    potential = integrate(v[k], x - y, alpha[k], i_offset[k])
                    spike = fires(potential, threshold[k])
                    v[k] = reset(potential, spike, threshold[k], v_reset[k], to)
                    spiked[k] = np.float32(spike)
                    fired[k] = spike
                    if record:
                        potential_out[tile, b, t, k] = potential
                for half in range(TILE // WORD):
                    word = nonzero(load(fired, half * WORD, WORD))
                    words[b, start + t, (first + tile) * TILE // WORD + half] = word
                if record:
                    v_out[tile, b, t] = v
                    if filtered:
                        exc_out[tile, b, t] = e
                        inh_out[tile, b, t] = i
