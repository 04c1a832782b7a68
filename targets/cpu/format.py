"""`FixedPoint`: the widths and rules that make a fixed-point machine."""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from neurodeploy.chip import Chip, Limit
from neurodeploy.errors import FileError
from neurodeploy.linear import FloatArray
from neurodeploy.program import IntArray
from neurodeploy.semantics import Semantics

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Decay = Literal["multiply", "shift"]
StateRounding = Literal["floor", "nearest"]
StateOverflow = Literal["saturate", "wrap"]

ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class FixedPoint:
    """A number format; see the head of `cpu.toml` for what each field means.

    Raises
    ------
    FileError
        A width outside 2..16 (weights), 8..32 (states), 1..31 and below the states' (thresholds),
        1..15 (fractions of decays; 0 with shifts), or an unknown rule.
    """

    name: str
    title: str
    weight_bits: int
    state_bits: int
    threshold_bits: int
    decay: Decay
    decay_bits: int
    rounding: StateRounding
    overflow: StateOverflow

    def __post_init__(self) -> None:
        widest = min(31, self.state_bits - 1) if isinstance(self.state_bits, int) else 31
        fraction = (0, 0) if self.decay == "shift" else (1, 15)
        for name, (least, most) in {
            "weight_bits": (2, 16),
            "state_bits": (8, 32),
            "threshold_bits": (1, widest),
            "decay_bits": fraction,
        }.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise FileError(
                    f"{name} is {value!r}, expected a whole number in {least}..{most}",
                    node=self.name,
                )
        for name, words in {
            "decay": get_args(Decay),
            "rounding": get_args(StateRounding),
            "overflow": get_args(StateOverflow),
        }.items():
            if getattr(self, name) not in words:
                raise FileError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(words)}",
                    node=self.name,
                )

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of a weight."""
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def state_limit(self) -> int:
        """Largest state; the least is one beyond its negative."""
        return (1 << (self.state_bits - 1)) - 1

    @property
    def threshold_limit(self) -> int:
        """Largest threshold."""
        return (1 << self.threshold_bits) - 1

    @property
    def registers(self) -> dict[str, int]:
        """What every population of a program says about its format."""
        return {
            "state_bits": self.state_bits,
            "decay_bits": self.decay_bits,
            "nearest": int(self.rounding == "nearest"),
            "saturate": int(self.overflow == "saturate"),
        }

    def nearest_decay(self, decay: FloatArray) -> IntArray:
        """The nearest that the machine has: keep of `arithmetic.multiply`, or k of `shift`."""
        if self.decay == "multiply":
            return np.rint(decay * 2.0**self.decay_bits).astype(np.int64)
        known = self.kept(np.arange(self.state_bits + 1))
        return np.asarray(np.abs(decay[..., None] - known).argmin(axis=-1))

    def kept(self, register: IntArray) -> FloatArray:
        """What a state is multiplied by, but for rounding: the inverse of `nearest_decay`."""
        if self.decay == "multiply":
            return np.asarray(register / 2.0**self.decay_bits)
        return np.where(register < self.state_bits, 1.0 - 0.5**register, 1.0)

    @property
    def semantics(self) -> Semantics:
        """One of the step rules that it runs; see `lowering.RESETS` for the others."""
        return Semantics(reset="zero", rounding=self.rounding, overflow=self.overflow)

    @property
    def chip(self) -> Chip:
        """Its widths as limits.  A format has no neurocores and no energies."""
        limits = {
            "weight_bits": self.weight_bits,
            "state_bits": self.state_bits,
            "threshold_bits": self.threshold_bits,
            "decay_bits": self.decay_bits,
            "accumulator_bits": ACCUMULATOR_BITS,
        }
        return Chip(
            name=self.name,
            title=f"Fixed point ({self.name})",
            group_registers=(),
            notes=(self.title,),
            limits={
                name: Limit(value, "bits", "literature", f"format {self.name}")
                for name, value in limits.items()
            },
            constants={},
            anchors={},
        )


def read_formats(text: str) -> tuple[FixedPoint, ...]:
    """The formats of a TOML text like `cpu.toml`.

    Raises
    ------
    FileError
        Not TOML, a field that is missing or unknown, or a width that is not possible.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"not TOML ({error})", node="formats") from error
    return tuple(_format(name, item) for name, item in tree.items())


def _format(name: str, item: Any) -> FixedPoint:
    known = {field.name for field in fields(FixedPoint)} - {"name"}
    if not isinstance(item, Mapping) or set(item) != known:
        raise FileError(f"expected a table with {', '.join(sorted(known))}", node=name)
    return FixedPoint(name=name, **item)


def installed_formats() -> tuple[FixedPoint, ...]:
    """The formats of `cpu.toml`."""
    return read_formats(
        importlib.resources.files(__package__).joinpath("cpu.toml").read_text("utf-8")
    )
