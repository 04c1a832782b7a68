"""One estimate as draws: every line part by part, time and total, with what is uncertain together.

See `sampling` for how constants, model errors and counts are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.chip import Chip
from neurodeploy.costs.counts import Counts
from neurodeploy.costs.formulas import busiest_core, latency
from neurodeploy.costs.models import Model, Term, model_of, product
from neurodeploy.costs.sampling import DRAWS, between, bootstrap, bounds, constant, model_error
from neurodeploy.linear import FloatArray
from neurodeploy.mapping.placement import Placement
from neurodeploy.quantity import Quantity

SLACK = "latency_slack"
Lines = Mapping[str, Mapping[str, FloatArray]]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws, float64 (DRAWS,) each.

    Attributes
    ----------
    activity: counts per inference, with `chips`, `static chips` and `seconds`.
    plain: line -> part -> J per inference, without model errors.
    errors: line -> its model error.
    literature: as a line of `plain`, from constants in circulation.
    total_error: model error of sums of lines, found with lines that had none of their own.
    """

    activity: Mapping[str, FloatArray]
    plain: Lines
    errors: Mapping[str, FloatArray]
    literature: Mapping[str, FloatArray]
    total_error: FloatArray

    @property
    def lines(self) -> Lines:
        """line -> part -> J per inference, with the line's model error."""
        return {
            line: {part: energy * self.errors[line] for part, energy in parts.items()}
            for line, parts in self.plain.items()
        }

    def sum(self, *lines: str) -> FloatArray:
        """J per inference of one line, or of several with the model error of sums in its place."""
        error = self.errors[lines[0]] if len(lines) == 1 else self.total_error
        energies = [energy for line in lines for energy in self.plain[line].values()]
        return np.asarray(sum(energies, np.zeros(DRAWS)) * error)

    @property
    def total(self) -> FloatArray:
        """J per inference of all lines."""
        return self.sum(*self.plain)

    @property
    def seconds(self) -> FloatArray:
        """Latency of one inference."""
        return self.activity["seconds"]


def draw(counts: Counts, chip: Chip, placement: Placement) -> Drawn:
    """Draw an estimate for counts of a program on a chip, at one performance level.

    Raises
    ------
    TargetError
        Nothing is known about the chip's energies.
    FileError
        The chip file lacks a constant.
    """
    features = _features(counts, chip, placement)
    means = bootstrap(chip, np.stack(list(features.values()), axis=1)).T
    return _drawn(dict(zip(features, means, strict=True)), chip, placement)


def nominal(counts: Counts, chip: Chip, placement: Placement) -> Lines:
    """line -> part -> J per inference, (1,): mean counts times each constant at its typical value.

    part = product of its mean counts and typical constants; no model error.  Lines are the sums of
    their parts, so all of it can be checked by hand.  Raises as `draw`.
    """
    exact = at_typical(chip)
    features = _features(counts, exact, placement)
    means = {name: np.full(DRAWS, values.mean()) for name, values in features.items()}
    lines = _drawn(means, exact, placement).plain
    return {
        line: {part: energy[:1] for part, energy in parts.items()} for line, parts in lines.items()
    }


def at_typical(chip: Chip) -> Chip:
    """The chip with each constant at its typical value, and without model errors."""

    def exact(name: str, constant: Quantity) -> Quantity:
        value = 1.0 if name.startswith("model_gsd") or name == SLACK else constant.typical
        return replace(constant, low=value, typical=value, high=value)

    return replace(chip, constants={n: exact(n, c) for n, c in chip.constants.items()})


def _features(counts: Counts, chip: Chip, placement: Placement) -> dict[str, NDArray[Any]]:
    """What is multiplied with constants, by name, (samples,)."""
    features = {name: np.asarray(values) for name, values in per_sample(counts, placement).items()}
    if not model_of(chip).tick:
        features["busiest core"] = _busy(counts, chip)
    return features


def _drawn(means: Mapping[str, FloatArray], chip: Chip, placement: Placement) -> Drawn:
    model, activity = model_of(chip), dict(means)
    activity["seconds"] = _seconds(model, activity, chip)
    for name in ("chips", "static chips"):
        activity[name] = np.full_like(activity["seconds"], placement.chips)
    return evaluate(model, activity, chip)


def evaluate(model: Model, activity: Mapping[str, Any], chip: Chip) -> Drawn:
    """Draw the lines for counts in `activity`; terms whose counts are not in it are left out."""

    def energies(terms: tuple[Term, ...]) -> dict[str, FloatArray]:
        known = (term for term in terms if set(term.counts) <= set(activity))
        return {t.name: product(t, lambda name: constant(chip, name), activity) for t in known}

    plain = {
        line: energies(tuple(term for term in model.terms if term.line == line))
        for line in model.lines
    }

    def error(name: str) -> FloatArray:
        return model_error(chip, name) if name else np.ones(DRAWS)

    return Drawn(
        activity,
        plain,
        {line: error(model.errors.get(line, "")) for line in model.lines},
        energies(model.literature),
        error(model.total_error),
    )


def per_sample(counts: Counts, placement: Placement) -> dict[str, Any]:
    """What is multiplied with a constant, by name, int64 (samples,)."""
    return {
        "synaptic events": counts.total(counts.synaptic_events),
        "neuron updates": counts.total(counts.updates),
        "spikes": counts.total(counts.spikes),
        "packets": counts.total(counts.packets),
        "hops": counts.total(counts.hops),
        "core steps": placement.cores * counts.chip_steps,
        "chip steps": counts.chip_steps,
        "input messages": counts.total(counts.inputs),
        "output messages": counts.total(counts.outputs),
    }


def _busy(counts: Counts, chip: Chip) -> FloatArray:
    t_syn, t_upd, t_spk = (bounds(chip, name, "s")[1] for name in ("t_syn", "t_upd", "t_spk"))
    return busiest_core(
        counts.core_events, counts.core_updates, counts.core_spikes, t_syn, t_upd, t_spk
    )


def _seconds(model: Model, means: Mapping[str, FloatArray], chip: Chip) -> FloatArray:
    """Steps of a fixed length, or draws between a lower bound and `latency_slack` T_typical."""
    steps = means["chip steps"]
    if model.tick:
        return np.asarray(steps * constant(chip, model.tick))
    busy = means["busiest core"]
    sync, management = bounds(chip, "t_sync", "s"), bounds(chip, "t_mgmt", "s")
    low, typical = (latency(busy, steps, sync[i], management[i]) for i in (0, 1))
    return between(chip, "latency", low, typical, bounds(chip, SLACK, "1")[2] * typical)
