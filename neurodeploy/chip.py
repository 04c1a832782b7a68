"""`Chip`: a chip's limits and constants, read from its TOML file.

A chip file holds `name`, `title`, `group_registers`, `notes` and three tables of records, every
record with the source of its numbers:

- `limits`: what the hardware holds and how it stores it, {value, unit, kind, source};
- `constants`: energies, powers, times and model errors, {low, typical, high, unit, kind, source};
- `anchors`: where the energy model was compared with measurements, {low, high, unit, source}.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from neurodeploy.errors import FileError
from neurodeploy.quantity import Kind, Quantity

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 20
Record = TypeVar("Record")


@dataclass(frozen=True)
class Limit:
    """An integer property of the hardware."""

    value: int
    unit: str
    kind: Kind
    source: str


@dataclass(frozen=True)
class Anchor:
    """Range of a quantity within which predictions were compared with measurements."""

    low: float
    high: float
    unit: str
    source: str


@dataclass(frozen=True)
class Chip:
    """See the module's docstring.

    Attributes
    ----------
    group_registers: registers whose values all neurons of a neuron group share.
    notes: caveats that belong to every energy estimate for this chip.
    """

    name: str
    title: str
    group_registers: tuple[str, ...]
    notes: tuple[str, ...]
    limits: Mapping[str, Limit]
    constants: Mapping[str, Quantity]
    anchors: Mapping[str, Anchor]

    def limit(self, name: str) -> int:
        """Value of a limit; raises `FileError` where the chip file has none of that name."""
        return self._find(self.limits, name, "limit").value

    def constant(self, name: str) -> Quantity:
        """A constant; raises `FileError` where the chip file has none of that name."""
        return self._find(self.constants, name, "constant")

    def anchor(self, name: str) -> Anchor:
        """An anchor; raises `FileError` where the chip file has none of that name."""
        return self._find(self.anchors, name, "anchor")

    def _find(self, records: Mapping[str, Record], name: str, what: str) -> Record:
        if name not in records:
            raise FileError(f"its chip file has no {what} {name!r}", node=self.name)
        return records[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def load_chip(source: str | Path) -> Chip:
    """Read a chip file.

    Parameters
    ----------
    source: a `Path` to read, or the text of the file.

    Raises
    ------
    FileError
        No such file, not TOML, or a key that is missing, unknown or of a wrong type or order.
    """
    label = str(source) if isinstance(source, Path) else "chip file"
    text = _read(source) if isinstance(source, Path) else source
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileError(f"not TOML ({error})", node=label) from error
    _check_keys(tree, _TOP, label)
    return Chip(
        name=_text(tree["name"], f"{label}: name"),
        title=_text(tree["title"], f"{label}: title"),
        group_registers=_texts(tree["group_registers"], f"{label}: group_registers"),
        notes=_texts(tree["notes"], f"{label}: notes"),
        limits=_records(tree["limits"], f"{label}: limits", _limit),
        constants=_records(tree["constants"], f"{label}: constants", _constant),
        anchors=_records(tree["anchors"], f"{label}: anchors", _anchor),
    )


_TOP = ("name", "title", "group_registers", "notes", "limits", "constants", "anchors")


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileError("no such file", node=str(path))
    if path.stat().st_size > MAX_BYTES:
        raise FileError(f"larger than {MAX_BYTES} bytes", node=str(path))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot be read ({error})", node=str(path)) from error


def _records(
    table: Any, label: str, build: Callable[[dict[str, Any], str], Record]
) -> dict[str, Record]:
    if not isinstance(table, dict):
        raise FileError(f"expected a table of records, got {table!r}", node=label)
    return {name: build(item, f"{label}.{name}") for name, item in table.items()}


def _limit(item: Any, label: str) -> Limit:
    _check_keys(item, ("value", "unit", "kind", "source"), label)
    value = item["value"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise FileError(f"value is {value!r}, expected an integer", node=label)
    return Limit(
        value, _text(item["unit"], label), _kind(item["kind"], label), _text(item["source"], label)
    )


def _constant(item: Any, label: str) -> Quantity:
    _check_keys(item, ("low", "typical", "high", "unit", "kind", "source"), label)
    low, typical, high = _ascending([item[key] for key in ("low", "typical", "high")], label)
    unit, source = _text(item["unit"], label), _text(item["source"], label)
    return Quantity(low, typical, high, unit, _kind(item["kind"], label), source)


def _anchor(item: Any, label: str) -> Anchor:
    _check_keys(item, ("low", "high", "unit", "source"), label)
    low, high = _ascending([item["low"], item["high"]], label)
    return Anchor(low, high, _text(item["unit"], label), _text(item["source"], label))


def _check_keys(item: Any, keys: tuple[str, ...], label: str) -> None:
    if not isinstance(item, dict):
        raise FileError(f"expected a record with {', '.join(keys)}, got {item!r}", node=label)
    missing = [key for key in keys if key not in item]
    unknown = [key for key in item if key not in keys]
    if missing or unknown:
        parts = [("missing: ", missing), ("unknown: ", unknown)]
        raise FileError("; ".join(p + ", ".join(names) for p, names in parts if names), node=label)


def _ascending(values: list[Any], label: str) -> list[float]:
    for value in values:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise FileError(f"{value!r} is not a number", node=label)
    numbers = [float(value) for value in values]
    if not all(map(math.isfinite, numbers)) or numbers[0] < 0 or numbers != sorted(numbers):
        raise FileError(
            f"{', '.join(map(str, values))}: expected finite numbers, none negative, in ascending "
            "order",
            node=label,
        )
    return numbers


def _text(value: Any, label: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FileError(f"{value!r} is not a text", node=label)
    return value


def _texts(value: Any, label: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FileError(f"{value!r} is not a list of texts", node=label)
    return tuple(_text(item, label) for item in value)


def _kind(value: Any, label: str) -> Kind:
    if value not in get_args(Kind):
        raise FileError(
            f"kind is {value!r}, expected one of {', '.join(get_args(Kind))}", node=label
        )
    return cast(Kind, value)
