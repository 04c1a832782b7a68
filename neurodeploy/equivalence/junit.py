"""A verdict as JUnit XML, which continuous integration shows test by test."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from neurodeploy.equivalence.stage import Stage
from neurodeploy.equivalence.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(verdict: Verdict, name: str, allowed: frozenset[str] = frozenset()) -> str:
    """One test suite: a test for each stage and for each of its gates.

    A stage that failed is a `failure`, one that did not run an `error`; one that is not applicable,
    or that may be left out, is `skipped`, which is no success either.

    Parameters
    ----------
    name: of the suite, such as the program's file.
    allowed: names of stages that may be left out.
    """
    cases = [case for stage in verdict.stages for case in _cases(stage, allowed)]
    kinds = [child.tag for case in cases for child in case]
    counts = {
        "tests": len(cases),
        "failures": kinds.count("failure"),
        "errors": kinds.count("error"),
        "skipped": kinds.count("skipped"),
    }
    attributes = {key: str(count) for key, count in counts.items()}
    root = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **attributes})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (
        ("program", verdict.program_hash),
        ("target", verdict.target),
        ("status", verdict.status),
    ):
        ElementTree.SubElement(properties, "property", name=key, value=_clean(value))
    suite.extend(cases)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _cases(stage: Stage, allowed: frozenset[str]) -> list[ElementTree.Element]:
    if stage.status == "passed":
        result = None
    elif stage.status == "failed":
        result = "failure"
    elif stage.status == "not run" and stage.name not in allowed:
        result = "error"
    else:
        result = "skipped"
    text = stage.text if stage.first is None else f"{stage.text}; first: {stage.first}"
    cases = [_case("stage", f"{stage.name}: {stage.title}", result, text)]
    for gate in stage.gates:
        outcome = None if gate.passed else "failure"
        cases.append(_case("gate", f"{stage.name}: {gate.name}", outcome, str(gate)))
    return cases


def _case(kind: str, name: str, result: str | None, text: str) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=f"neurodeploy.{kind}", name=_clean(name))
    if result is None:
        ElementTree.SubElement(case, "system-out").text = _clean(text)
    else:
        ElementTree.SubElement(case, result, message=_clean(text))
    return case


def _clean(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold: names may have any."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
