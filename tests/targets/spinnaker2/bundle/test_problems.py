"""The kinds of problems that `deploy.py` names, and that the documentation lists all of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests import pages_of_docs
from tests.targets.spinnaker2.bundle import test_deploy

MEANING = {
    "missing package": "py-spinnaker2, or a part of it, cannot be imported",
    "wrong version": "the installed one lacks what is called; everything it lacks",
    "corrupted file": "a file is missing, or has another SHA-256",
    "wrong hash": "`program.json` was altered",
    "failed start": "three attempts at one sample failed, with what each said",
    "late tick": "a core needed longer than a tick: which, in which tick, how long",
    "unknown deadlines": "there are no times of every tick",
    "lost spikes": "spikes are missing, and none is extra; where first",
    "different spikes": "spikes are extra, or elsewhere; where first",
    "impossible spikes": "a neuron or a tick that does not exist",
    "different potentials": "a potential is off by more than rounding",
    "lost potentials": "not every neuron in every tick was recorded",
    "selftest": "the spikes are not those that a chip sent",
    "interrupted": "somebody ended it",
    "error": "anything else, with a traceback",
}


def test_the_documentation_lists_every_kind(written: Path) -> None:
    source = (written / "deploy.py").read_text("utf-8")
    calls = re.findall(r'(?:DeployError|\.problem)\(\s*"([a-z ]+)"', source)
    computed = re.findall(r'"(different spikes|lost spikes)"', source)
    assert {*calls, *computed} == set(MEANING)
    rows = [pages_of_docs.row("problem", "what was wrong"), pages_of_docs.row("---", "---")]
    rows += [pages_of_docs.row(kind, text) for kind, text in MEANING.items()]
    pages_of_docs.check("spinnaker2.md", "problems", "\n".join(rows))


def test_every_kind_is_provoked() -> None:
    tests = Path(test_deploy.__file__).read_text("utf-8")
    missing = {kind for kind in MEANING if f'"{kind}"' not in tests}
    assert not missing
