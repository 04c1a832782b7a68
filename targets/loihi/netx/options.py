"""What NetX is told besides the file."""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.errors import InputError
from neurodeploy.linear import Shape

MESSAGE_BITS = 16
"""What NetX takes for the messages of sigma-delta neurons."""


@dataclass(frozen=True)
class Options:
    """Arguments of `lava.lib.dl.netx.hdf5.Network`, with its defaults.

    Attributes
    ----------
    num_layers: how many groups of the file count, None for all.
    skip_layers: how many of these are left out at the start.
    input_shape: (channels, height, width) or (n,), for files whose layers do not tell.
    input_message_bits: 0 where each message of the input counts as one spike; else its value does.
    reset_interval: steps after which CUBA neurons start again from 0, None for never.  In Lava's
        steps 1, 2, ... block k = 0, 1, ... does so at those that leave the same remainder as
        reset_offset + 1 + k.
    reset_offset: see there.
    spike_exp: binary digits after the point in messages of sigma-delta neurons.
    """

    num_layers: int | None = None
    skip_layers: int = 0
    input_shape: Shape | None = None
    input_message_bits: int = 0
    reset_interval: int | None = None
    reset_offset: int = 0
    spike_exp: int = 6

    def __post_init__(self) -> None:
        limits = {
            "num_layers": (1, 1 << 20),
            "skip_layers": (0, 1 << 20),
            "input_message_bits": (0, 32),
            "reset_interval": (1, (1 << 31) - 1),
            "reset_offset": (0, (1 << 30)),
            "spike_exp": (0, 7),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and low <= value <= high):
                raise InputError(f"{name} is {value}, expected {low} to {high}")
