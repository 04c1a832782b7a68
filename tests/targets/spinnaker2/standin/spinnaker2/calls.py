"""What was called, on record, and which fault is asked for.  Part of the stand-in."""

from __future__ import annotations

import json
import os
from typing import Any

FAULT = os.environ.get("STANDIN_FAULT", "")
SPELLING = os.environ.get("STANDIN_VARIANT", "") == "spelling"


def record(what: str, **values: Any) -> None:
    """One line in the record of calls."""
    path = os.environ.get("STANDIN_CALLS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"call": what, **values}) + "\n")


def require(condition: bool, problem: str) -> None:
    """Refuse a call that the real package or the chip could not take."""
    if not condition:
        raise AssertionError(f"stand-in: {problem}")
