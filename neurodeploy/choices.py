"""What can be chosen when a network is put on a chip, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WEIGHT_BITS = "weight_bits"
Settings = Mapping[str, Mapping[str, float]]
"""Population -> choice -> value; what is not named is as in `Target.lower`."""


@dataclass(frozen=True)
class Choice:
    """What can be chosen for each population when a network is put on a chip.

    Attributes
    ----------
    values: what there is to choose from; the first is what `Target.lower` takes, and each loses
        more than the one before it.
    text: what it is.
    """

    name: str
    values: tuple[float, ...]
    text: str


def weight_widths(most: int) -> Choice:
    """Bits of weights from `most` down to 2, a sign and a digit."""
    widths = tuple(float(bits) for bits in range(most, 1, -1))
    return Choice(WEIGHT_BITS, widths, "bits of a weight, with its sign")


def widths_of(settings: Settings) -> dict[str, int]:
    """Population -> bits of its weights."""
    return {name: int(chosen[WEIGHT_BITS]) for name, chosen in settings.items()}
