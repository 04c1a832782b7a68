"""`estimate`: counts times constants, as three lines that are never merged silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.costs.counts import Counts
from neurodeploy.costs.formulas import (
    ACCUMULATE_45NM,
    CORE_TERMS,
    busiest_core,
    core_terms,
    latency,
)
from neurodeploy.costs.notes import notes
from neurodeploy.costs.sampling import (
    between,
    bootstrap,
    bounds,
    constant,
    interval,
    model_error,
    spread,
)
from neurodeploy.linear import FloatArray
from neurodeploy.mapping.placement import Placement
from neurodeploy.quantity import Quantity


@dataclass(frozen=True)
class Line:
    """One line of the report with its parts, in J per inference."""

    name: str
    total: Quantity
    parts: Mapping[str, Quantity]


@dataclass(frozen=True)
class EnergyReport:
    """Energy and latency of one inference.

    Quantities are the median with 5 and 95 % as low and high; medians of parts do not add up to the
    median of their sum exactly.

    Attributes
    ----------
    core: dynamic energy of neurocores and routers, term by term.
    static: static power and management processors over the latency, as two parts.
    host: messages between host and chip.
    total: the three lines together.
    latency: time per inference, one inference at a time, in s.
    arithmetic: 0.9 pJ per synaptic event, the usual 45 nm figure.  Not an estimate for hardware.
    counted: what was counted per inference; low, typical, high are minimum, mean, maximum.
    notes: assumptions and warnings.
    """

    chip: str
    samples: int
    core: Line
    static: Line
    host: Line
    total: Quantity
    latency: Quantity
    arithmetic: Quantity
    counted: Mapping[str, Quantity]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def estimate(counts: Counts, chip: Chip, placement: Placement) -> EnergyReport:
    """Energy and latency per inference from counts, with what is uncertain drawn jointly.

    core    = (e_syn S + e_upd U + e_spk K + e_pkt A + e_hop H + e_core_step cores steps) x error
    static  = p_static chips T,  management = (p_system - p_static) chips T
    host    = e_host (messages in + messages out)
    total   = (core without its error + static + management + host) x error of totals
    T       between the lower bound, T_typical and latency_slack T_typical; see `latency`

    Constants are log-triangular between their low, typical and high (triangular from 0), errors
    log-normal, counts resampled over the samples (bootstrap); see `sampling`.  The error of
    totals was found with core lines that had no error of their own, so both are not multiplied.

    Raises
    ------
    FileError
        The chip file lacks a constant.
    """
    means = _bootstrapped(counts, chip, placement)
    constants = {name: constant(chip, name, "J") for name in CORE_TERMS.values()}
    terms = core_terms(means, constants)
    static, system = (constant(chip, name, "W") for name in ("p_static", "p_system"))
    e_host = constant(chip, "e_host", "J")
    time = _latency(means, chip)
    power = {"static": static, "management": system - static}
    standing = {name: p * placement.chips * time for name, p in power.items()}
    host = {name: e_host * means[name] for name in ("input messages", "output messages")}
    error = model_error(chip, "model_gsd_core")
    everything = sum(sum(part.values()) for part in (terms, standing, host))
    return EnergyReport(
        chip=chip.title,
        samples=counts.samples,
        core=_line(
            "core dynamic",
            {name: energy * error for name, energy in terms.items()},
            {name: _times(chip, f"counted {name}", CORE_TERMS[name]) for name in terms},
            "; model error: " + chip.constant("model_gsd_core").source,
        ),
        static=_line(
            "static and management",
            standing,
            {
                "static": _times(chip, "chips x latency", "p_static"),
                "management": _times(chip, "chips x latency", "p_system") + "; less p_static",
            },
        ),
        host=_line(
            "host and I/O", host, {name: _times(chip, f"counted {name}", "e_host") for name in host}
        ),
        total=interval(
            everything * model_error(chip, "model_gsd_total"),
            "J",
            "sum of core dynamic, static and management, host and I/O; model error: "
            + chip.constant("model_gsd_total").source,
        ),
        latency=interval(time, "s", "; ".join(_sources(chip, _LATENCY))),
        arithmetic=interval(
            ACCUMULATE_45NM.typical * means["synaptic events"],
            "J",
            f"45 nm arithmetic only, not an estimate for hardware: {ACCUMULATE_45NM.source}, per "
            "synaptic event",
        ),
        counted=_counted(counts, placement),
        notes=notes(counts, chip, placement),
    )


_LATENCY = ("t_syn", "t_upd", "t_spk", "t_sync", "t_mgmt", "latency_slack")


def _bootstrapped(counts: Counts, chip: Chip, placement: Placement) -> dict[str, FloatArray]:
    """Means per inference: what is multiplied with a constant, and the busiest core's time."""
    features = {**_per_sample(counts, placement), "busiest core": _busy(counts, chip)}
    means = bootstrap(chip, np.stack(list(features.values()), axis=1)).T
    return dict(zip(features, means, strict=True))


def _busy(counts: Counts, chip: Chip) -> FloatArray:
    t_syn, t_upd, t_spk = (bounds(chip, name, "s")[1] for name in ("t_syn", "t_upd", "t_spk"))
    return busiest_core(
        counts.core_events, counts.core_updates, counts.core_spikes, t_syn, t_upd, t_spk
    )


def _latency(means: Mapping[str, FloatArray], chip: Chip) -> FloatArray:
    """Draws between the lower bound, the typical latency and `latency_slack` times that."""
    busy, steps = means["busiest core"], means["chip steps"]
    sync, management = bounds(chip, "t_sync", "s"), bounds(chip, "t_mgmt", "s")
    low, typical = (latency(busy, steps, sync[i], management[i]) for i in (0, 1))
    return between(chip, "latency", low, typical, bounds(chip, "latency_slack", "1")[2] * typical)


def _per_sample(counts: Counts, placement: Placement) -> dict[str, Any]:
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


def _counted(counts: Counts, placement: Placement) -> dict[str, Quantity]:
    source = f"bit-accurate run of {counts.samples} samples; minimum, mean, maximum"
    counted = {
        **_per_sample(counts, placement),
        "steps": counts.steps,
        "host bytes": counts.host_bytes,
        "synaptic events, busiest core": counts.core_events.max(axis=1),
    }
    return {name: spread(values, "1", source) for name, values in counted.items()}


def _line(
    name: str, parts: Mapping[str, FloatArray], sources: Mapping[str, str], error: str = ""
) -> Line:
    total = interval(np.asarray(sum(parts.values())), "J", "sum of " + ", ".join(parts) + error)
    return Line(
        name, total, {part: interval(draws, "J", sources[part]) for part, draws in parts.items()}
    )


def _times(chip: Chip, what: str, name: str) -> str:
    return f"{what} x {name}: {chip.constant(name).source}"


def _sources(chip: Chip, names: tuple[str, ...]) -> list[str]:
    return [f"{name}: {chip.constant(name).source}" for name in names]
