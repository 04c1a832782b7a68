"""Spikes of a run as bits: an eighth of the memory of one byte each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.simulator.layout import Layout
from neurodeploy.trace import Spikes, count_spikes


@dataclass(frozen=True, eq=False)
class PackedSpikes(Mapping[str, Spikes]):
    """Spikes by name, uint8 (samples, steps, *shape); populations' are unpacked at each access.

    Attributes
    ----------
    inputs: spikes of the inputs, as they are.
    words: spikes of the populations, uint64 (samples, steps, words); see `simulator.kernels`.
    layouts: which bit is which neuron.
    """

    inputs: Mapping[str, Spikes]
    words: Mapping[str, NDArray[np.uint64]]
    layouts: Mapping[str, Layout]

    def __getitem__(self, name: str) -> Spikes:
        if name in self.inputs:
            return self.inputs[name]
        return self.layouts[name].unpack(self.words[name])

    def __contains__(self, name: object) -> bool:
        return name in self.inputs or name in self.words  # without unpacking

    def counts(self, name: str) -> NDArray[np.int64]:
        """Spikes per sample and neuron of a population or input, int64 (samples, *shape)."""
        if name in self.inputs:
            return count_spikes(self.inputs[name])
        from neurodeploy.simulator.kernels import count

        words, layout = self.words[name], self.layouts[name]
        totals = np.empty((len(words), layout.lanes), np.int64)
        count(words, totals)
        return layout.neurons(totals)

    def __iter__(self) -> Iterator[str]:
        yield from self.inputs
        yield from self.words

    def __len__(self) -> int:
        return len(self.inputs) + len(self.words)
