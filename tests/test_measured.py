"""The tables of docs/simulator.md are those of the measurements kept in docs/measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import density, scale, simulator, start
from tests.pages_of_docs import FOLDER, check

TABLES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], str]]] = {
    "ratios": ("simulator", simulator.table),
    "roofline": ("simulator", simulator.roofline),
    "profile": ("simulator", simulator.profile),
    "density": ("density", density.table),
    "scale": ("scale", scale.table),
    "start": ("start", start.table),
}


def measured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "measured" / f"{name}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("part", TABLES)
def test_the_page_shows_what_was_measured(part: str) -> None:
    name, table = TABLES[part]
    check("simulator.md", part, table(measured(name)["rows"]))


def test_the_page_names_the_machine() -> None:
    found = measured("simulator")["machine"]
    line = (
        f"{found['processor']}, {found['cores']} cores; Python {found['python']}, numpy "
        f"{found['numpy']}, numba {found['numba']}, torch {found['torch']}."
    )
    check("simulator.md", "machine", line)


@pytest.mark.parametrize("name", ["steps", "batch", "density", "size"])
def test_the_figures_are_there(name: str) -> None:
    assert (FOLDER / "measured" / f"{name}.svg").is_file()
    assert f"measured/{name}.svg" in (FOLDER / "simulator.md").read_text("utf-8")
