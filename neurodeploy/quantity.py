"""A number with its kind, its interval and where it comes from."""

from __future__ import annotations

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
