"""The causes of differing spikes: those that were injected, at the events where they act."""

from __future__ import annotations

import pytest

from tests import pages_of_docs
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


def test_the_count_in_the_documentation(results: list[Result]) -> None:
    right = sum(result.right for result in results)
    blamed = sum(bool(result.layer.causes - result.case.injected) for result in results)
    kinds = len({cause for case in CASES for cause in case.injected})
    text = (
        f"{kinds} kinds of deviations in {len(results)} programs: of {right} exactly those that "
        f"were injected are named, and in {blamed} one that is not there."
    )
    pages_of_docs.check("causes.md", "suite", text)
