"""JUnit XML as an independent parser reads it, with names that nobody chose well."""

from __future__ import annotations

import numpy as np
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase

from neurodeploy.equivalence.gates import Gate
from neurodeploy.equivalence.junit import to_junit
from neurodeploy.equivalence.stage import Stage
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.trace import Trace

TRACE = Trace({"p": np.zeros((1, 2, 3), np.uint8)})
STAGES = (
    Stage("import", "source against reference", "not run", "not given"),
    Stage("lowering", "a < b & \x00 \"c\"", "failed", "too \ud800 many", gates=(
        Gate("equal decisions", 0.9, 0.95, False), Gate("mismatch rate", 0.1, 0.1, True),
    )),
    Stage("mapping", "core by core", "not applicable", "no cores"),
    Stage("golden", "golden", "passed", "equal"),
    Stage("vendor", "vendor", "not run", "is away"),
)  # fmt: skip


def cases(allowed: frozenset[str] = frozenset()) -> tuple[JUnitXml, list[TestCase]]:
    agreed = Proportion(9, 10)
    verdict = Verdict("0" * 64, "loihi2", STAGES, agreed, None, None, TRACE, TRACE)
    parsed = JUnitXml.fromstring(to_junit(verdict, "x<y>.ndp", allowed).encode())
    (suite,) = parsed
    assert suite.name == "x<y>.ndp"
    assert {p.name: p.value for p in suite.properties()}["status"] == "failed"
    return parsed, list(suite)


def test_each_stage_and_gate_is_a_test() -> None:
    parsed, found = cases()
    assert (parsed.tests, parsed.failures, parsed.errors, parsed.skipped) == (7, 2, 2, 1)
    kinds = [[type(result) for result in case.result] for case in found]
    assert kinds == [[Error], [Failure], [Failure], [], [Skipped], [], [Error]]
    assert found[1].name == 'lowering: a < b & \N{REPLACEMENT CHARACTER} "c"'
    assert found[2].result[0].message == "equal decisions 90.000% (gate: at least 0.95)"
    assert found[4].result[0].message == "no cores"


def test_what_may_be_left_out_is_skipped_but_no_success() -> None:
    parsed, found = cases(frozenset({"import"}))
    assert (parsed.errors, parsed.skipped) == (1, 2)
    assert [type(result) for result in found[0].result] == [Skipped]
