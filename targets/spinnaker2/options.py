"""What there is to choose when a network is put on SpiNNaker2."""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.errors import InputError


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
    nearest_reset: bool = False
    relays: bool = False
    upstream: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile is {self.percentile}, expected one in 0..100, not 0")
