"""What can be chosen when a network is put on a chip, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WEIGHT_BITS = "weight_bits"
PERCENTILE = "percentile"
PERCENTILES = (100.0, 99.9, 99.5, 99.0, 98.0, 95.0, 90.0)
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


def percentiles() -> Choice:
    """The percentile of the weights' magnitudes that becomes the largest weight of the chip.

    Those beyond it are clipped; the threshold is scaled along, so all others are finer.
    """
    text = "percentile of the weights' magnitudes that is the largest weight of the chip"
    return Choice(PERCENTILE, PERCENTILES, text)


def widths_of(settings: Settings) -> dict[str, int]:
    """Population -> bits of its weights, where they were chosen."""
    return {
        name: int(chosen[WEIGHT_BITS]) for name, chosen in settings.items() if WEIGHT_BITS in chosen
    }


def percentiles_of(settings: Settings) -> dict[str, float]:
    """Population -> percentile, where it was chosen."""
    return {name: own[PERCENTILE] for name, own in settings.items() if PERCENTILE in own}
