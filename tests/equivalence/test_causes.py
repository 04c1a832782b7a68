"""The causes of differing spikes: those that were injected, at the events where they act."""

from __future__ import annotations

import pytest

from tests.equivalence.causes_suite import Case, Result, cases, run, table

CASES = tuple(cases())


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [run(case) for case in CASES]


def test_injected_causes_are_named_and_absent_ones_are_not(results: list[Result]) -> None:
    assert len(results) >= 40
    wrong = [result for result in results if not result.right]
    assert not wrong, table(wrong)
    assert not any(result.layer.causes - result.case.injected for result in results)


@pytest.mark.parametrize(
    "case", [c for c in CASES if len(c.injections) == 1][::4], ids=lambda case: case.name
)
def test_nothing_differs_before_an_injection(case: Case) -> None:
    (layer,) = case.attribution(injected=False).layers()
    assert layer.local == layer.propagated == 0
