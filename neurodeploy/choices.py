"""What can be chosen when a network is put on a chip, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
