"""`diff`: any two runs of equally named populations, whatever they are runs of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.equivalence.compare import Cell, Layer, compare, earliest, totals
from neurodeploy.equivalence.distances import Distances, distances
from neurodeploy.errors import InputError
from neurodeploy.program import Program
from neurodeploy.trace import Trace


@dataclass(frozen=True)
class Difference:
    """How two programs, or what two runs sent, differ.

    Attributes
    ----------
    fields: parts in which two programs differ, such as `weight of fc->lif`; empty for traces.
    layers, distances: by population that both have, first against second.
    only_first, only_second: names in one of them; never equal.
    """

    fields: tuple[str, ...]
    layers: tuple[Layer, ...]
    distances: tuple[Distances, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every cell is equal, and neither has populations that the other lacks."""
        return not (totals(self.layers)[0] or self.only_first or self.only_second)

    @property
    def first(self) -> Cell | None:
        """The first differing cell."""
        return earliest(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "equal": self.equal,
            "fields": list(self.fields),
            "layers": [layer.to_dict() for layer in self.layers],
            "distances": [one.to_dict() for one in self.distances],
            "only_first": list(self.only_first),
            "only_second": list(self.only_second),
            "first": None if self.first is None else vars(self.first),
        }


def difference(first: Trace, second: Trace, fields: tuple[str, ...] = ()) -> Difference:
    """Compare two runs, every sample, step and neuron.

    Raises
    ------
    InputError
        No population is in both, or shapes differ.
    """
    common = [name for name in first.spikes if name in second.spikes]
    if not common:
        raise InputError("the two have no population in common")
    return Difference(
        fields=fields,
        layers=compare(first, second, common),
        distances=tuple(distances(first, second, name) for name in common),
        only_first=tuple(name for name in first.spikes if name not in second.spikes),
        only_second=tuple(name for name in second.spikes if name not in first.spikes),
    )


def differing_fields(first: Program, second: Program) -> tuple[str, ...]:
    """In what two programs differ: target, inputs, populations' registers, synapses."""
    found = [
        name for name in ("target", "outputs") if getattr(first, name) != getattr(second, name)
    ]
    for kind in ("inputs", "populations", "synapses"):
        ours, theirs = (
            {part.name: vars(part) for part in getattr(p, kind)} for p in (first, second)
        )
        found += [f"{kind}: {name}" for name in sorted(ours.keys() ^ theirs.keys())]
        for name in ours.keys() & theirs.keys():
            found += _keys(ours[name], theirs[name], name)
    return tuple(sorted(found))


def _keys(ours: Mapping[str, Any], theirs: Mapping[str, Any], name: str) -> list[str]:
    found = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _keys(a, b, name)
        elif not np.array_equal(np.asarray(a), np.asarray(b)):
            found.append(f"{key} of {name}")
    return found
