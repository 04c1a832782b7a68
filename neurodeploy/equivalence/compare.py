"""Compare two traces of the same network, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.trace import Trace


@dataclass(frozen=True)
class Cell:
    """One neuron of one population in one step of one sample."""

    population: str
    sample: int
    step: int
    neuron: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One population in two traces.  A cell is a neuron in a step of a sample.

    Attributes
    ----------
    cells, mismatches: how many cells there are, and in how many the spikes (messages) differ.
    expected_spikes, spikes: in the first trace and in the second.
    samples: samples in which any cell differs.
    first: the first differing cell: earliest step, then sample, then neuron.
    """

    population: str
    cells: int
    mismatches: int
    expected_spikes: int
    spikes: int
    samples: int
    first: Cell | None

    @property
    def rate(self) -> float:
        """Share of differing cells."""
        return self.mismatches / self.cells

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "rate": self.rate}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layer:
        """The inverse of `to_dict`, the rate aside."""
        cell = data["first"]
        first = None if cell is None else Cell(**{**cell, "neuron": tuple(cell["neuron"])})
        return cls(**{**{k: v for k, v in data.items() if k != "rate"}, "first": first})


def compare(expected: Trace, actual: Trace, populations: Iterable[str]) -> tuple[Layer, ...]:
    """Compare what `populations` send, every sample, step and neuron.

    That is their spikes, and their messages where both traces have graded ones.

    Raises
    ------
    InputError
        A population is missing in one of the traces, or its shapes differ: then nothing was
        compared.
    """
    return tuple(_layer(expected, actual, name) for name in populations)


def joined(parts: Sequence[tuple[int, tuple[Layer, ...]]]) -> tuple[Layer, ...]:
    """Layers over samples that follow each other, from those of parts of them.

    Parameters
    ----------
    parts: the first sample of each, and the same layers; cells are counted from that sample.
    """
    return tuple(
        _joined([(start, layer) for (start, _), layer in zip(parts, same, strict=True)])
        for same in zip(*(layers for _, layers in parts), strict=True)
    )


def _joined(parts: Sequence[tuple[int, Layer]]) -> Layer:
    cells = [
        replace(layer.first, sample=layer.first.sample + start)
        for start, layer in parts
        if layer.first is not None
    ]
    layers = [layer for _, layer in parts]
    return Layer(
        population=layers[0].population,
        cells=sum(layer.cells for layer in layers),
        mismatches=sum(layer.mismatches for layer in layers),
        expected_spikes=sum(layer.expected_spikes for layer in layers),
        spikes=sum(layer.spikes for layer in layers),
        samples=sum(layer.samples for layer in layers),
        first=min(cells, key=lambda c: (c.step, c.sample, c.neuron), default=None),
    )


def differing(expected: Trace, actual: Trace, populations: Iterable[str]) -> NDArray[np.int64]:
    """Samples in which the spikes of any population differ, ascending, int64."""
    found = np.zeros(expected.samples, np.bool_)
    for name in populations:
        cells = expected.spikes[name] != actual.spikes[name]
        found |= cells.reshape(len(cells), -1).any(axis=1)
    return np.flatnonzero(found)


def earliest(layers: Iterable[Layer]) -> Cell | None:
    """The first difference in time; of equals, that of the first layer, which causes the others."""
    cells = [layer.first for layer in layers if layer.first is not None]
    return min(cells, key=lambda cell: cell.step, default=None)


def totals(layers: Iterable[Layer]) -> tuple[int, int]:
    """(differing cells, cells) over all layers."""
    found = [(layer.mismatches, layer.cells) for layer in layers]
    return sum(m for m, _ in found), sum(c for _, c in found)


def _layer(expected: Trace, actual: Trace, name: str) -> Layer:
    for trace in (expected, actual):
        if name not in trace.spikes:
            raise InputError("one of the traces lacks this population", node=name)
    a, b = expected.spikes[name], actual.spikes[name]
    if a.shape != b.shape:
        raise InputError(f"traces of shape {a.shape} and {b.shape} cannot be compared", node=name)
    sent = expected.sent(name), actual.sent(name)
    differs = sent[0] != sent[1] if sent[0].dtype == sent[1].dtype else a != b
    return Layer(
        population=name,
        cells=a.size,
        mismatches=int(np.count_nonzero(differs)),
        expected_spikes=int(a.sum(dtype=np.int64)),
        spikes=int(b.sum(dtype=np.int64)),
        samples=int(np.count_nonzero(differs.reshape(len(a), -1).any(axis=1))),
        first=_first(name, differs),
    )


def _first(name: str, differs: np.ndarray[Any, np.dtype[np.bool_]]) -> Cell | None:
    steps = differs.any(axis=(0, *range(2, differs.ndim)))
    if not steps.any():
        return None
    step = int(steps.argmax())
    sample, *neuron = (int(i) for i in np.argwhere(differs[:, step])[0])
    return Cell(name, sample, step, tuple(neuron))
