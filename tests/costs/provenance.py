"""Walks a report as plain data: every number must stand in a record with its kind and source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from neurodeploy.quantity import Kind

RECORD = {"low", "typical", "high", "unit", "kind", "source"}
PLAIN = {"samples"}
"""Keys of integers that are no physical quantity."""


def unproven(data: Any, path: str = "") -> Iterator[str]:
    """Paths of all numbers without a unit, a kind and a source."""
    if isinstance(data, bool) or data is None or isinstance(data, str):
        return
    if isinstance(data, dict):
        if "unit" in data or "kind" in data:
            complete = set(data) == RECORD and data["kind"] in get_args(Kind)
            if not (complete and data["source"].strip() and data["unit"]):
                yield path
            return
        for key, value in data.items():
            if key not in PLAIN:
                yield from unproven(value, f"{path}/{key}")
    elif isinstance(data, (list, tuple)):
        for index, value in enumerate(data):
            yield from unproven(value, f"{path}/{index}")
    else:
        yield path
