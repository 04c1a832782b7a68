"""`report`: verdict, energy and resources of a program as one self-contained HTML page."""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy._version import __version__
from neurodeploy.archive import write_atomically
from neurodeploy.costs.estimate import EnergyReport
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.errors import InputError
from neurodeploy.mapping.placement import place
from neurodeploy.pages import answers, evidence
from neurodeploy.pages.markup import escape
from neurodeploy.pages.page import Page, choose_samples
from neurodeploy.program import Program
from neurodeploy.target import cores_of, get_target
from neurodeploy.trace import check_labels


def report(
    path: str | Path,
    program: Program,
    verdict: Verdict,
    energy: EnergyReport,
    *,
    title: str,
    labels: NDArray[Any] | None = None,
    samples: int = 3,
) -> None:
    """Write one HTML page that needs no network, script or font.

    The same arguments give the same bytes.  Its numbers also stand in it as JSON, in the element
    with the id `data`.

    Parameters
    ----------
    verdict: of this program.
    energy: of this program.
    labels: integer class per sample of the verdict.
    samples: how many samples' spikes are drawn; one that differs is among them if there is any.

    Raises
    ------
    InputError
        The verdict is of another program, or the labels do not fit it.
    FileError
        The file cannot be written.
    """
    if verdict.program_hash != program.hash:
        raise InputError(
            f"the verdict is of program {verdict.program_hash[:16]}, this is {program.hash[:16]}",
            hint="Verify this program and give that verdict.",
        )
    chip = get_target(program.target).chip
    page = Page(
        title=title,
        program=program,
        verdict=verdict,
        energy=energy,
        placement=place(program, cores_of(program)),
        chip=chip,
        labels=check_labels(labels, verdict.agreement.trials),
        shown=choose_samples(verdict, program.output, samples),
    )
    write_atomically(Path(path), render(page).encode())


def render(page: Page) -> str:
    """The page as HTML."""
    files = importlib.resources.files(__package__)
    template = Template(files.joinpath("template.html").read_text("utf-8"))
    sections = (
        answers.works(page),
        answers.equal(page),
        answers.cost(page),
        evidence.spikes(page),
        evidence.resources(page),
        evidence.lowering(page),
        evidence.ranges(page),
        evidence.counts(page),
        evidence.constants(page),
        evidence.provenance(page),
    )
    return template.substitute(
        title=escape(page.title),
        style=files.joinpath("style.css").read_text("utf-8"),
        chip=escape(page.chip.title),
        hash=escape(page.program.hash[:16]),
        version=escape(__version__),
        alarms=answers.alarms(page.verdict),
        cards=answers.cards(page),
        kinds=evidence.kinds(),
        sections="\n".join(sections),
        data=as_json(page.to_dict()),
    )


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: no `<`, which could end it or open a comment."""
    return json.dumps(_plain(data), allow_nan=False).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """Plain data; infinite and undefined numbers, which JSON does not have, as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
