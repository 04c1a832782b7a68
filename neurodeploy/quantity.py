"""A number with its kind, its interval and where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counted", "simulated", "derived", "literature", "measured"]


@dataclass(frozen=True)
class Quantity:
    """A value [low, typical, high] in `unit`, with its kind and source.

    `counted` is an exact integer from the bit-accurate run, `simulated` came out of a simulation,
    `derived` was computed from others, `literature` was read in the source, `measured` was measured
    by us.  Exact values have low = typical = high.
    """

    low: float
    typical: float
    high: float
    unit: str
    kind: Kind
    source: str

    def to_dict(self) -> dict[str, str | float]:
        """Plain data."""
        return {
            "low": self.low,
            "typical": self.typical,
            "high": self.high,
            "unit": self.unit,
            "kind": self.kind,
            "source": self.source,
        }


def engineering(value: float, unit: str) -> str:
    """A quantity with an SI prefix, e.g. 3.2e-6 J as `3.2 µJ`; three significant digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    exponent = min(max(math.floor(math.log10(abs(value)) / 3), -5), 4)
    prefix = {-5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}
    scaled = value / 1000.0**exponent
    digits = max(0, 2 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:.{digits}f} {prefix[exponent]}{unit}"
