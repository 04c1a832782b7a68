"""Tables of the documentation that tests generate, and check against what the page says."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs"


def row(*entries: object) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(map(str, entries))} |"


def part_of(page: str, name: str) -> str:
    """What stands between the markers of a generated part."""
    return _split(page, name)[1]


def check(page: str, name: str, expected: str) -> None:
    """Compare a generated part of a page with what it should be.

    With NEURODEPLOY_WRITE_DOCS=1 in the environment the page is brought up to date first.
    """
    before, found, after = _split(page, name)
    expected = f"\n{expected}\n\n"
    if os.environ.get("NEURODEPLOY_WRITE_DOCS") and found != expected:
        (FOLDER / page).write_text(before + expected + after, "utf-8")
        found = expected
    assert found == expected, "run this test with NEURODEPLOY_WRITE_DOCS=1"


def _split(page: str, name: str) -> tuple[str, str, str]:
    text = (FOLDER / page).read_text("utf-8")
    start = text.index("-->\n", text.index(f"<!-- {name}: begin")) + len("-->\n")
    end = text.index(f"<!-- {name}: end -->", start)
    return text[:start], text[start:end], text[end:]
