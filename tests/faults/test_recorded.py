"""What docs/scaling.md shows, and small shares of the scripts that recorded it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import scaling
from tests.faults import kill, together
from tests.pages_of_docs import FOLDER, check


def recorded(name: str) -> Any:
    return json.loads((FOLDER / "measured" / f"{name}.json").read_text("utf-8"))


def test_the_kills_that_were_recorded() -> None:
    rows = recorded("kills")["rows"]
    assert all(row["equal"] == row["runs"] > 0 for row in rows)
    assert sum(row["kills"] for row in rows) >= 30
    check("scaling.md", "kills", kill.table(rows))


def test_the_processes_side_by_side_that_were_recorded() -> None:
    found = recorded("together")
    assert (found["wrong"], found["left behind"]) == ([], [])
    assert found["processes"] >= 8
    assert found["seconds"] >= 120
    check("scaling.md", "together", together.sentence(found))


def test_a_million_samples_on_paper() -> None:
    check("scaling.md", "paper", scaling.table(recorded("scaling")["rows"]))


def test_kills(tmp_path: Path) -> None:
    rows = list(kill.run({"verify": 2, "explore": 1}, tmp_path, seed=3))
    assert [row.kills for row in rows] == [2, 1]
    assert all(row.equal == row.runs for row in rows)


def test_side_by_side(tmp_path: Path) -> None:
    found = together.run(3, 5.0, tmp_path, seed=2, cache=None)
    assert (found["wrong"], found["left behind"]) == ([], [])
    assert sum(found["done"].values()) > 0
