"""What there is to choose when a network is put on SpiNNaker2."""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.errors import InputError

MOST_BITS = 8
"""Of a weight with its sign, as synapses without delays have it."""


@dataclass(frozen=True)
class Options:
    """How a network is put on the chip, where there is a choice.

    Attributes
    ----------
    percentile: which percentile of a population's weight magnitudes becomes the largest weight of
        the chip; larger ones are clipped.
    nearest_reset: where what a spike subtracts is not what the chip subtracts, let the synapse that
        makes up for it be the nearest one, or none, instead of choosing a scale that makes it
        exact.
    relays: let all that has to wait do so in relay populations; synapses without delays have
        weights up to 127, with delays up to 15.
    upstream: py-spinnaker2's own conversion of NIR graphs (`spinnaker2.s2_nir`), see `upstream`.
    """

    percentile: float = 100.0
    weight_bits: int = MOST_BITS
    nearest_reset: bool = False
    relays: bool = False
    upstream: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile is {self.percentile}, expected one in 0..100, not 0")
        if self.weight_bits not in range(2, MOST_BITS + 1):
            raise InputError(f"weight_bits is {self.weight_bits}, expected 2 to {MOST_BITS}")
        if self.upstream and self.weight_bits != MOST_BITS:
            raise InputError("py-spinnaker2's own conversion has weights of 8 bits only")
