"""How a chip's step can differ from a model's, and what it is with some of that undone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations
from typing import Any

import numpy as np

from neurodeploy.equivalence.dynamics import Dynamics, Fit
from neurodeploy.linear import FloatArray
from neurodeploy.program import IntArray
from neurodeploy.semantics import ResetTiming


class Cause(Enum):
    """One way in which a chip's step differs from the model's."""

    WEIGHT_ROUNDING = "weight rounding"
    WEIGHT_CLIPPING = "weight clipping"
    DECAY_ROUNDING = "decay rounding"
    CURRENT_DECAY_ROUNDING = "current decay rounding"
    THRESHOLD_ROUNDING = "threshold rounding"
    BIAS_ROUNDING = "bias rounding"
    INITIAL_STATE = "initial state"
    STATE_TRUNCATION = "state truncation"
    SATURATION = "saturation"
    WRAP = "wrap"
    RESET_KIND = "reset kind"
    RESET_TIMING = "reset timing"
    RESET_AMOUNT = "reset amount"
    DELAY = "delay"
    COMPARISON = "comparison"
    SPIKE_CAP = "spike cap"
    INPUT_QUANTISATION = "input quantisation"

    @property
    def text(self) -> str:
        """What it is, in one line."""
        return _TEXTS[self]

    def __str__(self) -> str:
        return self.value


Causes = frozenset[Cause]

_TEXTS = {
    Cause.WEIGHT_ROUNDING: "a weight lies between two of the chip's",
    Cause.WEIGHT_CLIPPING: "a weight is larger than the chip's largest",
    Cause.DECAY_ROUNDING: "the membrane's decay lies between two of the chip's",
    Cause.CURRENT_DECAY_ROUNDING: "the synaptic current's decay lies between two of the chip's",
    Cause.THRESHOLD_ROUNDING: "the threshold lies between two of the chip's",
    Cause.BIAS_ROUNDING: "a constant input lies between two of the chip's",
    Cause.INITIAL_STATE: "the potential before the first step is another",
    Cause.STATE_TRUNCATION: "states and sums are rounded in every step",
    Cause.SATURATION: "a register stops at its largest or least number",
    Cause.WRAP: "a register starts again at the other end of its range",
    Cause.RESET_KIND: "a spike subtracts, sets to zero, or does nothing",
    Cause.RESET_TIMING: "a spike resets at once or one step later",
    Cause.RESET_AMOUNT: "a spike subtracts more or less",
    Cause.DELAY: "spikes arrive in another step",
    Cause.COMPARISON: "a potential that equals the threshold spikes or does not",
    Cause.SPIKE_CAP: "a step holds fewer spikes",
    Cause.INPUT_QUANTISATION: "an analog input lies between two values that can be sent",
}

IN_CURRENTS = frozenset(
    {Cause.WEIGHT_ROUNDING, Cause.WEIGHT_CLIPPING, Cause.DELAY, Cause.INPUT_QUANTISATION}
)
"""Causes that change what arrives at a neuron; all others change what it does with it."""
_RESETS = frozenset({Cause.RESET_KIND, Cause.RESET_TIMING, Cause.RESET_AMOUNT})
_PARAMETERS = {
    Cause.DECAY_ROUNDING: ("decay",),
    Cause.CURRENT_DECAY_ROUNDING: ("current_decay",),
    Cause.THRESHOLD_ROUNDING: ("threshold",),
    Cause.BIAS_ROUNDING: ("bias", "leak"),
    Cause.INITIAL_STATE: ("start",),
    Cause.COMPARISON: ("comparison",),
    Cause.SPIKE_CAP: ("spikes_per_step",),
}
_FITS = ("current_fit", "state_fit", "potential_fit")
_KINDS = {"saturate": Cause.SATURATION, "wrap": Cause.WRAP}


@dataclass(frozen=True, eq=False)
class Resets:
    """How the resets of a chip's neurons part from the model's, judged over a whole population.

    Attributes
    ----------
    found: the causes.
    timing, amount: of a chip that is `free`, what a spike takes more, one step later, with the
        other time, and with the other amount; float64 (neurons,), 0 elsewhere.
    """

    found: frozenset[Cause]
    timing: FloatArray
    amount: FloatArray

    def of(self, neurons: IntArray) -> Resets:
        """Of some neurons, by their places; repetitions are allowed."""
        return Resets(self.found, self.timing[neurons], self.amount[neurons])


def resets(chip: Dynamics, model: Dynamics) -> Resets:
    """How the resets of a population part."""
    found = frozenset(_reset_causes(chip, model))
    timing = amount = np.zeros(len(chip.threshold))
    if chip.free and found >= {Cause.RESET_TIMING, Cause.RESET_AMOUNT}:
        taken, meant, other = _taken(chip, model)
        timing, amount = meant - other, other - taken
    return Resets(found, timing, amount)


def present(chip: Dynamics, model: Dynamics) -> frozenset[Cause]:
    """In which ways two steps of the same neurons differ, as far as their values say."""
    found = {
        cause
        for cause, names in _PARAMETERS.items()
        if not all(_equal(getattr(chip, name), getattr(model, name)) for name in names)
    }
    if chip.rounded is not None or chip.summed is not None:
        found.add(Cause.STATE_TRUNCATION)
    found |= {_KINDS[fit.kind] for name in _FITS if (fit := getattr(chip, name)) is not None}
    return frozenset(found | set(_reset_causes(chip, model)))


def undone(chip: Dynamics, model: Dynamics, resets: Resets, causes: Collection[Cause]) -> Dynamics:
    """The chip's step with some causes taken back, so that the model's values stand there."""
    changes: dict[str, Any] = {
        name: getattr(model, name)
        for cause, names in _PARAMETERS.items()
        if cause in causes
        for name in names
    }
    if Cause.STATE_TRUNCATION in causes:
        changes |= {"rounded": None, "summed": None}
    for name in _FITS:
        fit: Fit | None = getattr(chip, name)
        if fit is not None and _KINDS[fit.kind] in causes:
            changes[name] = None
    return replace(chip, **changes, **_reset(chip, model, resets, causes))


def _equal(a: Any, b: Any) -> bool:
    """Equal, numbers but for the rounding of float64."""
    if isinstance(a, np.ndarray):
        return bool(np.all(np.abs(a - b) <= 2.0**-40 * np.abs(a)))
    return bool(a == b)


def _kind(dynamics: Dynamics) -> str:
    """The reset, by what it does: subtracting nothing is none."""
    if dynamics.reset == "subtract" and not np.any(dynamics.taken):
        return "none"
    return dynamics.reset


def _late(dynamics: Dynamics) -> bool:
    """Of resets to zero: whether the input of the next step is lost."""
    return dynamics.timing == "after-input"


def _reset_causes(chip: Dynamics, model: Dynamics) -> Iterator[Cause]:
    kind = _kind(chip)
    if kind != _kind(model):
        yield Cause.RESET_KIND
    elif kind == "zero":
        if _late(chip) != _late(model):
            yield Cause.RESET_TIMING
        if np.any(chip.owed):
            yield Cause.RESET_AMOUNT
    elif kind == "subtract" and chip.free:
        taken, meant, other = _taken(chip, model)
        if _apart(taken, other) < _apart(taken, meant):
            yield Cause.RESET_TIMING
            meant = other
        if not _equal(taken, meant):
            yield Cause.RESET_AMOUNT
    elif kind == "subtract":
        if chip.timing != model.timing:
            yield Cause.RESET_TIMING
        if not _equal(chip.amount, model.amount):
            yield Cause.RESET_AMOUNT


def _taken(chip: Dynamics, model: Dynamics) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What a spike takes by the next step: on the chip, in the model, and there at the other time.

    All with one decay, since that is a cause of its own: the chip's or the model's, whichever the
    chip's reset fits better.
    """
    other: ResetTiming = "delayed" if model.timing == "immediate" else "immediate"
    found = [
        (
            replace(chip, decay=decay).taken,
            replace(model, decay=decay).taken,
            replace(model, decay=decay, timing=other).taken,
        )
        for decay in (model.decay, chip.decay)
    ]
    return min(found, key=lambda each: min(_apart(each[0], value) for value in each[1:]))


def _apart(a: FloatArray, b: FloatArray) -> float:
    return float(np.abs(a - b).sum())


def _reset(
    chip: Dynamics, model: Dynamics, resets: Resets, causes: Collection[Cause]
) -> dict[str, Any]:
    """The fields of a reset with some causes undone; the chip's own where none is."""
    back = resets.found & set(causes)
    if not back:
        return {}
    whole = {name: getattr(model, name) for name in ("reset", "timing", "amount", "owed")}
    if back == resets.found:
        return whole
    if not chip.free:
        names = ("amount", "owed") if Cause.RESET_AMOUNT in back else ("timing",)
        return {name: getattr(model, name) for name in names}
    change = resets.timing if Cause.RESET_TIMING in back else resets.amount
    return {"owed": chip.owed + change}


def subsets_of(causes: Collection[Cause], size: int) -> Iterator[frozenset[Cause]]:
    """All sets of `size` causes, in the order in which causes are defined."""
    ordered = [cause for cause in Cause if cause in causes]
    yield from map(frozenset, combinations(ordered, size))


def margin(model: Dynamics, potential: FloatArray, expected: FloatArray) -> FloatArray:
    """How far potentials are inside the range that makes as many spikes as expected, in thresholds.

    Parameters
    ----------
    model: whose thresholds count, (pairs,).
    potential, expected: (events,) or (steps, pairs).
    """
    levels = potential / model.threshold
    most = model.spikes_per_step
    above = np.where(expected > 0, levels - expected, np.inf)
    below = np.where(expected < most, expected + 1 - levels, np.inf)
    return np.asarray(np.minimum(above, below))
