"""`Chip`: a chip's limits and constants, read from its TOML file.

A chip file holds `name`, `title`, `group_registers`, `notes` and tables of records, every record
with the source of its numbers:

- `limits`: what the hardware holds and how it stores it, {value, unit, kind, source};
- `constants`: energies, powers, times and model errors, {low, typical, high, unit, kind, source};
  `typical` is the most likely value and the others are never left; it is one of them where what is
  published can only be too low, or too high; where one rests on a measurement that predictions are
  judged on (an anchor of `costs.validation`), its `without.ANCHOR` gives {low, typical, high,
  source} that do not;
- `anchors`: where the energy model was compared with measurements, {low, high, unit, source};
- `levels` (optional): constants that differ between performance levels, by level.

`energy_model` (optional) names the chip's model in `costs.models`; without it nothing is known
about its energies.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
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
    energy_model: a name in `costs.models`, or empty.
    levels: performance level -> constants; the first is the default.
    without: anchor -> constants that do not rest on it, in the place of those that do.
    """

    name: str
    title: str
    group_registers: tuple[str, ...]
    notes: tuple[str, ...]
    limits: Mapping[str, Limit]
    constants: Mapping[str, Quantity]
    anchors: Mapping[str, Anchor]
    energy_model: str = ""
    levels: Mapping[str, Mapping[str, Quantity]] = field(default_factory=dict)
    without: Mapping[str, Mapping[str, Quantity]] = field(default_factory=dict)

    def limit(self, name: str) -> int:
        """Value of a limit; raises `FileError` where the chip file has none of that name."""
        return self._find(self.limits, name, "limit").value

    def constant(self, name: str) -> Quantity:
        """A constant; raises `FileError` where the chip file has none of that name."""
        return self._find(self.constants, name, "constant")

    def anchor(self, name: str) -> Anchor:
        """An anchor; raises `FileError` where the chip file has none of that name."""
        return self._find(self.anchors, name, "anchor")

    def at_level(self, level: str | None = None) -> Chip:
        """The chip with the constants of one performance level, or of its default.

        Raises `FileError` where the chip file has no such level.
        """
        if level is None:
            if not self.levels:
                return self
            level = next(iter(self.levels))
        if level not in self.levels:
            raise FileError(
                f"its chip file has no performance level {level!r}",
                node=self.name,
                hint=f"It has: {', '.join(self.levels) or 'none'}.",
            )
        return replace(
            self,
            title=f"{self.title}, {level}",
            constants={**self.constants, **self.levels[level]},
            levels={},
        )

    def judged_on(self, anchor: str) -> Chip:
        """The chip with no constant that rests on the measurement called `anchor`."""
        return replace(self, constants={**self.constants, **self.without.get(anchor, {})})

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
    _check_keys(tree, _TOP, label, optional=("energy_model", "levels"))
    return Chip(
        name=_text(tree["name"], f"{label}: name"),
        title=_text(tree["title"], f"{label}: title"),
        group_registers=_texts(tree["group_registers"], f"{label}: group_registers"),
        notes=_texts(tree["notes"], f"{label}: notes"),
        limits=_records(tree["limits"], f"{label}: limits", _limit),
        constants=_records(tree["constants"], f"{label}: constants", _constant),
        anchors=_records(tree["anchors"], f"{label}: anchors", _anchor),
        energy_model=_text(tree["energy_model"], label) if "energy_model" in tree else "",
        levels=_records(
            tree.get("levels", {}),
            f"{label}: levels",
            lambda table, where: _records(table, where, _constant),
        ),
        without=_without(tree["constants"], f"{label}: constants"),
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
    keys = ("low", "typical", "high", "unit", "kind", "source")
    _check_keys(item, keys, label, optional=("without",))
    low, typical, high = _ascending([item[key] for key in ("low", "typical", "high")], label)
    unit, source = _text(item["unit"], label), _text(item["source"], label)
    return Quantity(low, typical, high, unit, _kind(item["kind"], label), source)


def _without(constants: dict[str, Any], label: str) -> dict[str, dict[str, Quantity]]:
    """anchor -> constant -> the record in its place."""
    result: dict[str, dict[str, Quantity]] = {}
    for name, item in constants.items():
        others = item.get("without", {})
        _check_keys(others, tuple(others) if isinstance(others, dict) else (), label)
        for anchor, other in others.items():
            where = f"{label}.{name}.without.{anchor}"
            _check_keys(other, ("low", "typical", "high", "source"), where)
            same = {"unit": item["unit"], "kind": item["kind"]}
            result.setdefault(anchor, {})[name] = _constant({**same, **other}, where)
    return result


def _anchor(item: Any, label: str) -> Anchor:
    _check_keys(item, ("low", "high", "unit", "source"), label)
    low, high = _ascending([item["low"], item["high"]], label)
    return Anchor(low, high, _text(item["unit"], label), _text(item["source"], label))


def _check_keys(
    item: Any, keys: tuple[str, ...], label: str, optional: tuple[str, ...] = ()
) -> None:
    if not isinstance(item, dict):
        raise FileError(f"expected a record with {', '.join(keys)}, got {item!r}", node=label)
    missing = [key for key in keys if key not in item]
    unknown = [key for key in item if key not in (*keys, *optional)]
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
