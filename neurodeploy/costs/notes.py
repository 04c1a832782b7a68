"""What a reader of an energy estimate must know: assumptions, and where it leaves known ground."""

from __future__ import annotations

from neurodeploy.chip import Chip
from neurodeploy.costs.counts import MESSAGE_BYTES, Counts
from neurodeploy.costs.models import HOST, model_of
from neurodeploy.mapping.placement import Placement


def notes(counts: Counts, chip: Chip, placement: Placement) -> tuple[str, ...]:
    """Notes of the estimate, then of the chip, then one for each quantity outside its anchors."""
    return (
        *_assumptions(counts, chip, placement),
        *chip.notes,
        *extrapolated(counts, chip, placement),
    )


def _assumptions(counts: Counts, chip: Chip, placement: Placement) -> list[str]:
    model = model_of(chip)
    result = [
        f"One inference at a time, not pipelined: {int(counts.chip_steps[0])} chip steps for "
        f"{int(counts.steps[0])} steps of the model.",
        "Synapses of weight zero are taken as pruned.",
    ]
    if HOST in model.lines:
        result.append(
            f"Host traffic: one message of {MESSAGE_BYTES} bytes per input spike and per output "
            "spike."
        )
    if not model.total_error:
        result.append(
            "Intervals hold the uncertainty of constants only: no network with known counts has "
            "been measured, so the error of the model itself is unknown."
        )
    if placement.chips > 1:
        result.append(
            f"{placement.chips} chips: links between chips are counted as hops of the mesh, and "
            "their energy and time are not published."
        )
    return result


def extrapolated(counts: Counts, chip: Chip, placement: Placement) -> list[str]:
    """One warning per quantity outside the networks with which the model was compared.

    firing rate = spikes generated / (neurons x steps); fan-out = synaptic events / (spikes of
    populations and inputs); both over all samples.
    """
    spikes = int(counts.total(counts.spikes).sum())
    sent = spikes + int(counts.total(counts.inputs).sum())
    neurons = sum(len(core) for core in placement.core.values())
    found = {
        "firing_rate": spikes / (neurons * int(counts.steps.sum())),
        "cores": float(placement.cores),
        "fan_out": int(counts.total(counts.synaptic_events).sum()) / max(sent, 1),
    }
    return [
        f"Extrapolated: {name.replace('_', ' ')} is {value:.3g} {anchor.unit}, compared with "
        f"measurements only from {anchor.low:g} to {anchor.high:g}."
        for name, value in found.items()
        if (anchor := chip.anchors.get(name)) and not anchor.low <= value <= anchor.high
    ]
