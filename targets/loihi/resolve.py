"""Where a model's execution semantics and Loihi 2's part, and how each difference is lowered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from neurodeploy.errors import SemanticsError
from neurodeploy.network import Population
from neurodeploy.program import Lowering, Range
from neurodeploy.semantics import Difference, Semantics, diff
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE
from neurodeploy.targets.loihi.reach import Mode

SEMANTICS = Semantics(
    reset="zero",
    reset_timing="immediate",
    comparison=">",
    edge_delay=1,
    rounding="toward-zero",
    overflow="wrap-current-saturate-voltage",
)


def mode_of(population: Population) -> Mode:
    """Which register is the membrane (see `lowering`).

    Neurons without a threshold never reset v, so they may use either register; u, where it can hold
    them, because then not even an overflow of v would change what follows.
    """
    if population.semantics.reset == "zero":
        return "voltage"
    u_is_free = not np.any(population.current_decay)
    leaks = bool(np.all((1 - population.decay) * DECAY_ONE >= 0.5))
    return "current" if population.spiking or (u_is_free and leaks) else "integrator"


def refused(population: Population) -> Iterator[SemanticsError]:
    """What of a population's semantics cannot be lowered, if anything."""
    semantics = population.semantics
    differences = [
        difference
        for difference in diff(semantics, SEMANTICS, node=population.name)
        if _resolution(difference, population) is None
    ]
    if differences:
        fields = {difference.field for difference in differences}
        if semantics.reset_timing == "after-input" and "reset_timing" in fields:
            hint = "Train or export with reset_delay=False."
        elif fields & {"reset_timing", "reset_amount", "reset"}:
            hint = (
                "Train or export with reset_delay=True (snnTorch's default), or with "
                'reset_mechanism="zero".'
            )
        else:
            hint = "Change the model; Loihi has no equivalent."
        yield SemanticsError(
            "cannot run on Loihi: "
            + ", ".join(f"{d.field} is {d.model} (chip: {d.target})" for d in differences),
            node=population.name,
            hint=hint,
        )


def resolve(population: Population) -> list[Lowering]:
    """How each difference in semantics is lowered; none may be `refused`."""
    notes = []
    for difference in diff(population.semantics, SEMANTICS, node=population.name):
        note = _resolution(difference, population)
        if note:
            notes.append(Lowering(population.name, difference.field, note[0], note[1]))
    return notes


def _resolution(
    difference: Difference, population: Population
) -> tuple[Literal["exact", "approximate"], str] | tuple[()] | None:
    """(how, text), nothing to say, or None if it cannot be lowered."""
    semantics = population.semantics
    subtracts = semantics.reset == "subtract" and semantics.reset_timing in ("delayed", "immediate")
    match difference.field:
        case "reset" if semantics.reset == "none":
            if mode_of(population) == "integrator":
                return "exact", "no reset: v is the membrane and stays below the threshold register"
            return "exact", "no reset: the current register is the membrane, v has no memory"
        case "reset" if semantics.reset_timing == "delayed":
            return (
                "exact",
                "delayed subtraction: the current register is the membrane, a self-synapse of "
                "weight -threshold supplies the reset one step later",
            )
        case "reset" if subtracts:
            return (
                "exact",
                "what is subtracted at once has leaked one step later: the current register is the "
                "membrane, a self-synapse of weight -beta threshold supplies the reset",
            )
        case "reset_timing" if semantics.reset == "none":
            return ()
        case "reset_timing" if semantics.reset_timing == "delayed":
            if semantics.reset == "subtract":
                return ()
            return "exact", "resetting to zero now or at the next step gives the same spikes"
        case "reset_amount" if semantics.reset != "subtract":
            return ()
        case "reset_amount" if subtracts and semantics.reset_amount >= 0:
            return "exact", f"the self-synapse weighs {semantics.reset_amount:g} times as much"
        case "edge_delay" if semantics.edge_delay == 0:
            return (
                "exact",
                "a synapse takes one step: each population starts from its initial state one step "
                "after the one before it",
            )
        case "rounding":
            return (
                "approximate",
                "states are integers rounded toward zero, weights have 8 bits, decays 12",
            )
        case "overflow":
            return ()  # said once the ranges are known
        case _:
            return None


def overflow_note(node: str, ranges: tuple[Range, ...]) -> Lowering:
    """Whether registers can leave their 24 bits."""
    if all(item.proven for item in ranges):
        return Lowering(node, "overflow", "exact", "no input can make a register leave its range")
    text = "no register leaves its range on the calibration data; not proven for every input"
    return Lowering(node, "overflow", "approximate", text)
