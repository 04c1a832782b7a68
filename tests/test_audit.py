"""An audit that looked nothing up is not one that found nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.audit import KNOWN, NOT_RUN, judged

CLEAN = {"name": "six", "version": "1.17.0", "vulns": []}
SKIPPED = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited"}
BAD = {"name": "six", "version": "1.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([CLEAN, CLEAN], 0, "2 versions, no known vulnerability"),
        ([CLEAN, BAD], KNOWN, "VULNERABLE, six 1.0: PYSEC-1, PYSEC-2"),
        ([SKIPPED, BAD], KNOWN, "VULNERABLE"),
        ([CLEAN, SKIPPED], NOT_RUN, "NOT RUN, 1 of 2 versions are unknown"),
        ([], NOT_RUN, "NOT RUN, 0 of 0"),
    ],
)
def test_what_is_made_of_a_report(packages: list[dict[str, Any]], code: int, text: str) -> None:
    found, said = judged({"dependencies": packages}, "")
    assert found == code
    assert said.startswith(text)


def test_no_answer_is_not_run() -> None:
    assert judged(None, "Traceback\nConnectionError: no route") == (
        NOT_RUN,
        "NOT RUN, ConnectionError: no route",
    )
    assert judged(None, "")[0] == NOT_RUN
