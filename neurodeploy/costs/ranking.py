"""Which of two programs costs less on one chip: drawn jointly, so that what they share cancels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.costs.draws import Drawn
from neurodeploy.costs.sampling import interval
from neurodeploy.linear import FloatArray
from neurodeploy.quantity import Quantity


@dataclass(frozen=True)
class Comparison:
    """One quantity of both programs.

    Attributes
    ----------
    ratio: of the first program over the second.
    probability: that the first is the smaller one, P(A < B); equal draws count by half.
    """

    ratio: Quantity
    probability: Quantity


@dataclass(frozen=True)
class Ranking:
    """Energy, line by line and in total, and latency of two programs on one chip."""

    chip: str
    by_name: Mapping[str, Comparison]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def rank(first: Drawn, second: Drawn, chip: str) -> Ranking:
    """Compare two estimates that were drawn for the same chip.

    Constants and model errors are the same draw by draw, so an error that both share, however
    large, does not blur the order: the model error is taken to be that of the chip, not of the
    network.  Both must be of the same samples for the bootstrap to pair them.
    """
    pairs = {line: (first.sum(line), second.sum(line)) for line in first.plain}
    pairs["total"] = (first.total, second.total)
    pairs["latency"] = (first.seconds, second.seconds)
    return Ranking(chip, {name: _compare(*pair) for name, pair in pairs.items() if pair[1].all()})


def _compare(a: FloatArray, b: FloatArray) -> Comparison:
    chance = float(np.mean(a < b) + 0.5 * np.mean(a == b))
    source = f"share of {len(a):,} joint draws"
    return Comparison(
        interval(a / b, "1", "first over second, joint draws"),
        Quantity(chance, chance, chance, "1", "derived", source),
    )
