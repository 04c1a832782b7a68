"""Networks whose spikes were recorded on a SpiNNaker2 chip.

A field of 20 x 20 neurons with a kernel of local excitation and surround inhibition, 400 input
channels, and one neuron that inhibits all.  Their author recorded them with 30 neurons per core
(ngr-francesco/dynamic-neural-field-spinnaker2, Apache-2.0): `LIF_CURR_EXP` in
`data/indices_times` @a2a00ce, `LIF` in `indices_times` @8df0e08.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, SynapseKind, Synapses
from neurodeploy.targets.spinnaker2.models import MODELS, SUBTRACT, TO_V_RESET
from neurodeploy.trace import Spikes, Trace

SIDE, REACH = 20, 3
NEURONS = SIDE * SIDE
TICKS = 400
INPUT, FIELD, INHIBITOR = "input", "field", "inhibitor"
INPUT_WEIGHT, INHIBITION = 5, 4
NEURONS_PER_CORE = 30


@dataclass(frozen=True)
class Recorded:
    """One network and what a chip made of it.

    Attributes
    ----------
    model: of the field; the inhibitor is `lif`.
    sigma, gain: of the kernel; see `kernel`.
    threshold, inhibitor_threshold: of the field and of the inhibitor.
    alpha_decay, reset: registers of both.
    spikes: of the field, on the chip, in 400 ticks.
    """

    model: str
    sigma: float
    gain: float
    threshold: float
    inhibitor_threshold: float
    alpha_decay: float
    reset: int
    spikes: int


LIF_CURR_EXP = Recorded("lif_curr_exp", 1.0, 3.0, 10.0, 5.0, 0.8, SUBTRACT, 10_188)
SHA256 = "585a2483b91209b08026bc79dbc5907130269f621f010c5604cf52a41d500857"
"""Of the chip's spikes of `LIF_CURR_EXP`, as `digest` has it."""

LIF = Recorded("lif", 1.5, 6.0, 5.0, 2.0, 0.9, TO_V_RESET, 20_722)


def kernel(network: Recorded) -> IntArray:
    """Weights between the field's neurons, int64 (to, from).

    With k(y, x) = exp(-(x^2 + y^2) / (2 sigma^2)) - 0.4, neuron i reaches neuron
    (i + y + 20 x) mod 400 with round(k(y, x) / 0.5 gain), for y, x in -3..3.
    """
    offsets = np.arange(-REACH, REACH + 1)
    k = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * network.sigma**2)) - 0.4
    source = np.arange(NEURONS)
    weight = np.zeros((NEURONS, NEURONS), np.int64)
    for y, x in np.ndindex(k.shape):
        target = (source + offsets[y] + SIDE * offsets[x]) % NEURONS
        weight[target, source] = np.rint(k[y, x] / 0.5 * network.gain)
    return weight


def inputs() -> Spikes:
    """Spikes of the channels, uint8 (1, 400, 400): n < 399 sends in ticks n..min(2 n, 400) - 1."""
    spikes = np.zeros((1, TICKS, NEURONS), np.uint8)
    for n in range(NEURONS - 1):
        spikes[0, n : 2 * n, n] = 1
    return spikes


def program(network: Recorded = LIF_CURR_EXP) -> Program:
    """The network as a program.

    Everything takes one tick: the field is at depth 1, the inhibitor, which has no input, at 0.
    There is no reference model: `graph` is empty.
    """
    synapses = (
        _synapses(INPUT, "one-to-one", np.full(NEURONS, INPUT_WEIGHT), network),
        _synapses(FIELD, "dense", kernel(network), network),
        _synapses(INHIBITOR, "dense", np.full((NEURONS, 1), -INHIBITION), network),
    )
    return Program(
        target="spinnaker2",
        inputs=(InputPort(INPUT, (NEURONS,)),),
        populations=(
            _neurons(INHIBITOR, 1, 0, "lif", network.inhibitor_threshold, 3.0, network),
            _neurons(FIELD, NEURONS, 1, network.model, network.threshold, 0.0, network),
        ),
        synapses=tuple(each for group in synapses for each in group),
        outputs=(FIELD,),
        graph={},
    )


def raster(trace: Trace) -> NDArray[np.bool_]:
    """The field's spikes in ticks of the chip, bool (400, 400); no input reaches it in tick 0."""
    field = trace.spikes[FIELD][0].astype(bool)
    return np.concatenate([np.zeros((1, NEURONS), bool), field[:-1]])


def digest(spikes: NDArray[np.bool_]) -> str:
    """SHA-256 of `numpy.packbits` of spikes, bool (ticks, neurons)."""
    return hashlib.sha256(np.packbits(spikes).tobytes()).hexdigest()


def _neurons(
    name: str,
    size: int,
    depth: int,
    model: str,
    threshold: float,
    i_offset: float,
    network: Recorded,
) -> Neurons:
    values = {
        "alpha_decay": network.alpha_decay,
        "i_offset": i_offset,
        "threshold": threshold,
        "v_init": 0.0,
        "v_reset": 0.0,
        "exc_decay": 0.5,
        "inh_decay": 0.2,
    }
    registers: dict[str, NDArray[Any]] = {
        register: np.array([values[register]], np.float32) for register in MODELS[model].registers
    }
    registers["reset"] = np.array([network.reset])
    if MODELS[model].filtered:
        registers["t_refrac"] = np.array([0])
    return Neurons(name, (size,), depth, registers, np.ones(1), model)


def _synapses(
    source: str, kind: SynapseKind, weight: IntArray, network: Recorded
) -> tuple[Synapses, ...]:
    """To the field: at one port with signs, or magnitudes at one for each sign."""
    sizes = {INPUT: NEURONS, FIELD: NEURONS, INHIBITOR: 1}
    ports = MODELS[network.model].ports
    parts = (weight,) if len(ports) == 1 else (np.maximum(weight, 0), np.maximum(-weight, 0))
    return tuple(
        Synapses(
            f"{source}->{FIELD}, {port}",
            source,
            FIELD,
            kind,
            part,
            0,
            (sizes[source],),
            (NEURONS,),
            port=port,
        )
        for port, part in zip(ports, parts, strict=True)
        if part.any()
    )
