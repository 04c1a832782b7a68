"""Where a model's execution semantics and Loihi 2's part, and how each difference is lowered."""

from __future__ import annotations

from typing import Literal

from neurodeploy.errors import SemanticsError
from neurodeploy.network import Population
from neurodeploy.program import Lowering, Range
from neurodeploy.semantics import Difference, Semantics, diff

SEMANTICS = Semantics(
    reset="zero",
    reset_timing="immediate",
    comparison=">",
    edge_delay=1,
    rounding="toward-zero",
    overflow="wrap-current-saturate-voltage",
)


def resolve(population: Population) -> list[Lowering]:
    """How each difference in semantics is lowered; raises for those that are not."""
    semantics = population.semantics
    notes, refused = [], []
    for difference in diff(semantics, SEMANTICS, node=population.name):
        note = _resolution(difference, semantics)
        if note is None:
            refused.append(difference)
        elif note:
            notes.append(Lowering(population.name, difference.field, note[0], note[1]))
    if refused:
        fields = {difference.field for difference in refused}
        if semantics.reset_timing == "after-input" and "reset_timing" in fields:
            hint = "Train or export with reset_delay=False."
        elif fields & {"reset_timing", "reset_amount", "reset"}:
            hint = (
                "Train or export with reset_delay=True (snnTorch's default), or with "
                'reset_mechanism="zero".'
            )
        else:
            hint = "Change the model; Loihi 2 has no equivalent."
        raise SemanticsError(
            "cannot run on Loihi 2: "
            + ", ".join(f"{d.field} is {d.model} (chip: {d.target})" for d in refused),
            node=population.name,
            hint=hint,
        )
    return notes


def _resolution(
    difference: Difference, semantics: Semantics
) -> tuple[Literal["exact", "approximate"], str] | tuple[()] | None:
    """(how, text), nothing to say, or None if it cannot be lowered."""
    match difference.field:
        case "reset" if semantics.reset == "none":
            return "exact", "no reset: the current register is the membrane, v has no memory"
        case "reset" if semantics.reset_timing == "delayed":
            return (
                "exact",
                "delayed subtraction: the current register is the membrane, a self-synapse of "
                "weight -threshold supplies the reset one step later",
            )
        case "reset_timing" if semantics.reset == "none":
            return ()
        case "reset_timing" if semantics.reset_timing == "delayed":
            if semantics.reset == "subtract":
                return ()
            return "exact", "resetting to zero now or at the next step gives the same spikes"
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


def overflow_note(node: str, ranges: list[Range]) -> Lowering:
    """Whether registers can leave their 24 bits."""
    if all(item.proven for item in ranges):
        return Lowering(node, "overflow", "exact", "no input can make a register leave its range")
    text = "no register leaves its range on the calibration data; not proven for every input"
    return Lowering(node, "overflow", "approximate", text)
