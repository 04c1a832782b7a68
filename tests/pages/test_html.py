"""The HTML page: well-formed, self-contained, safe with any name, honest, always the same."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple, get_args

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.costs import EnergyReport, count, estimate
from neurodeploy.equivalence.compare import Cell, compare
from neurodeploy.equivalence.stage import Divergence, Stage, Status
from neurodeploy.equivalence.statistics import agreement
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.errors import FileError, InputError
from neurodeploy.mapping import place
from neurodeploy.network import InputPort
from neurodeploy.pages import rasters
from neurodeploy.pages.html import report
from neurodeploy.program import Lowering, Neurons, Program, Range, Synapses
from neurodeploy.quantity import Kind
from neurodeploy.target import get_target
from neurodeploy.targets.loihi.neurocores import Neurocores
from neurodeploy.trace import Trace
from tests.costs.provenance import unproven

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>"\' onload="$\\frac{'
SAMPLES, STEPS, NEURONS, CLASSES = 6, 9, 150, 4
DIFFERS = 4
"""The only sample in which reference and program differ."""


class Case(NamedTuple):
    """What a page is made of."""

    program: Program
    verdict: Verdict
    energy: EnergyReport


@functools.lru_cache
def case(name: str = "hidden", vendor: Status = "passed", different: bool = True) -> Case:
    """A program with one population called `name`, and runs that differ in one cell of it."""
    program = _program(name)
    expected, actual = _traces(program, different)
    chip = get_target("loihi2").chip
    placement = place(program, Neurocores(chip))
    energy = estimate(count(program, actual, placement), chip, placement)
    return Case(program, _verdict(program, expected, actual, vendor), energy)


def _program(name: str) -> Program:
    rng = np.random.default_rng(0)

    def neurons(label: str, size: int, depth: int) -> Neurons:
        registers = {key: np.array([100]) for key in ("du", "dv", "vth")}
        return Neurons(label, (size,), depth, registers, np.ones(1))

    def dense(source: str, target: str, inside: int, outside: int) -> Synapses:
        weight = rng.integers(-9, 9, (outside, inside))
        link = f"{source}->{target}"
        return Synapses(link, source, target, "dense", weight, 0, (inside,), (outside,))

    return Program(
        target="loihi2",
        inputs=(InputPort("in", (20,)),),
        populations=(neurons(name, NEURONS, 1), neurons("out", CLASSES, 2)),
        synapses=(dense("in", name, 20, NEURONS), dense(name, "out", NEURONS, CLASSES)),
        outputs=("out",),
        graph={},
        lowerings=(
            Lowering(name, "reset", "exact", "a self-synapse"),
            Lowering(name, "rounding", "approximate", "to integers"),
        ),
        ranges=(
            Range(name, "u", -5.0, 70.0, -100.0, 100.0, True),
            Range(name, "v", -5.0, 70.0, -100.0, 100.0, False),
        ),
        provenance={"calibration": "0123"},
    )


def _traces(program: Program, different: bool) -> tuple[Trace, Trace]:
    rng = np.random.default_rng(1)
    expected = {
        name: (rng.random((SAMPLES, STEPS, *shape)) < 0.3).astype(np.uint8)
        for name, shape in program.shapes.items()
    }
    actual = {name: spikes.copy() for name, spikes in expected.items()}
    if different:
        actual[program.populations[0].name][DIFFERS, 5, 149] ^= 1
    return Trace(expected), Trace(actual)


def _verdict(program: Program, expected: Trace, actual: Trace, vendor: Status) -> Verdict:
    names = [population.name for population in program.populations]
    lossy, equal = compare(expected, actual, names), compare(actual, actual, names)
    first = lossy[0].first
    divergence = None if first is None else Divergence(first, True, 1.0, 1.25, 0.75)
    title = "program in this simulator against a vendor"
    stages = (
        Stage("lowering", "reference against program", "passed", "ok", lossy, SAMPLES, divergence),
        Stage("golden", "golden traces against this simulator", "passed", "equal", equal, SAMPLES),
        Stage("vendor", title, vendor, "no <vendor> & no chip")
        if vendor == "not run"
        else Stage("vendor", title, vendor, "compared", equal, SAMPLES),
    )
    decided = actual.decisions("out")
    agreed = agreement(expected.decisions("out"), decided)
    truth = agreement(decided, np.arange(SAMPLES))
    return Verdict(program.hash, "loihi2", stages, agreed, truth, truth, expected, actual)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes the page of a case and returns it."""

    def write_page(parts: Case, title: str = "Test", **options: Any) -> str:
        path = tmp_path / "page.html"
        report(path, *parts, title=title, **options)
        return path.read_text("utf-8")

    return write_page


class Reader(HTMLParser):
    """Checks that elements nest; collects attributes, text and the JSON block."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.data = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data += data
        else:
            self.text.append(data)

    def values(self, key: str) -> list[str | None]:
        return [value for _, name, value in self.attributes if name == key]


def test_the_page_is_well_formed(write: Callable[..., str]) -> None:
    page = Reader(write(case()))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {"html", "head", "title", "main", "table", "svg"} <= set(page.names)
    # Everything within the page that is referred to is there.
    inside = [value for value in page.values("href") if value]
    assert {value[1:] for value in inside if value.startswith("#")} <= set(ids)


def test_the_page_needs_nothing_else(write: Callable[..., str]) -> None:
    text = write(case())
    page = Reader(text)
    assert "link" not in page.names
    assert page.names.count("script") == 1
    for key in ("src", "href", "xlink:href", "action", "data", "srcset"):
        for value in page.values(key):
            assert value is not None
            assert value.startswith(("#", "data:image/png;base64,"))
    assert "@import" not in text
    assert "url(" not in text.replace("url(#", "")
    assert len(text) < 1_500_000


def test_hostile_names_stay_text(write: Callable[..., str]) -> None:
    text = write(case(HOSTILE), title=HOSTILE)
    page = Reader(text)
    assert page.names.count("script") == 1
    assert "img" not in page.names
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert page.text.count(HOSTILE) >= 5  # title, heading and tables
    assert any(
        part.startswith("</script><script>alert") and part.endswith("…") for part in page.text
    )  # in figures, shortened
    assert json.loads(page.data)["verdict"]["stages"][0]["layers"][0]["population"] == HOSTILE


@pytest.mark.parametrize(
    "name", ["$x_{$", "層\N{SNOWMAN}", "a\nb\x00\x1b\N{RIGHT-TO-LEFT OVERRIDE}c"]
)
def test_names_in_figures(write: Callable[..., str], name: str) -> None:
    """No mathematics, no warning about glyphs, no control characters."""
    text = write(case(name))
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    assert Reader(text).text.count(shown) >= 5
    assert "\x00" not in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text


def test_a_stage_that_did_not_run_is_loud(write: Callable[..., str]) -> None:
    page = Reader(write(case(vendor="not run")))
    assert page.text.count("NOT RUN") == 3  # banner, card, table of stages
    assert "INCOMPLETE" in page.text
    assert sum("no <vendor> & no chip" in part for part in page.text) == 2
    passed = Reader(write(case())).text
    assert "PASSED" in passed
    assert not {"NOT RUN", "INCOMPLETE", "FAILED"} & set(passed)


def test_a_failed_stage_is_loud(write: Callable[..., str]) -> None:
    page = Reader(write(case(vendor="failed")))
    assert "alarm failed" in page.values("class")
    assert "FAILED" in page.text
    assert "INCOMPLETE" not in page.text


def test_what_a_target_does_not_have_is_said_quietly(write: Callable[..., str]) -> None:
    parts = case()
    stage = Stage("mapping", "core by core", "not applicable", "the target has no cores")
    verdict = replace(parts.verdict, stages=(*parts.verdict.stages, stage))
    page = Reader(write(parts._replace(verdict=verdict)))
    assert page.text.count("NOT APPLICABLE") == 2  # card, table of stages
    assert not any(value and "alarm" in value for value in page.values("class"))


def test_the_first_divergence_is_in_words(write: Callable[..., str]) -> None:
    text = " ".join(Reader(write(case())).text)
    assert f"hidden[149], sample {DIFFERS}, step 5: the reference spikes at 1.25" in text
    equal = " ".join(Reader(write(case(different=False))).text)
    assert "equal in every cell of every layer" in equal
    assert "first part" not in equal


def test_without_labels_accuracy_is_unknown(write: Callable[..., str]) -> None:
    parts = case()
    verdict = replace(parts.verdict, accuracy=None, reference_accuracy=None)
    text = " ".join(Reader(write(parts._replace(verdict=verdict))).text)
    assert "unknown: no labels" in text
    assert "accuracy, chip" not in text
    assert "label 3" not in text


def test_labels_stand_beside_decisions(write: Callable[..., str]) -> None:
    labels = np.full(SAMPLES, 3)
    assert "label 3, reference decides" in " ".join(Reader(write(case(), labels=labels)).text)


def test_the_same_input_gives_the_same_bytes(write: Callable[..., str]) -> None:
    first = write(case())
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"svg.hashsalt": "other", "xtick.major.pad": 30, "font.size": 30}):
        assert write(case()) == first
    assert dict(matplotlib.rcParams) == before


def test_every_kind_is_explained_and_used_as_given(write: Callable[..., str]) -> None:
    parts = case()
    page = Reader(write(parts))
    assert set(get_args(Kind)) <= set(page.text)
    measured = replace(parts.energy.total, kind="measured")
    altered = parts._replace(energy=replace(parts.energy, total=measured))
    more = Reader(write(altered)).text.count("measured") - page.text.count("measured")
    assert more == 4  # headline, interval, section, chart


def test_the_numbers_are_in_the_page_as_data(write: Callable[..., str]) -> None:
    program, verdict, energy = case()
    page = Reader(write(case()))
    data = json.loads(page.data)
    assert data["program"] == program.hash
    assert data["verdict"] == json.loads(json.dumps(verdict.to_dict()))
    assert data["energy"] == json.loads(json.dumps(energy.to_dict()))
    assert not list(unproven(data["energy"]))
    assert data["resources"]["cores"] == 2
    assert DIFFERS in data["samples"]
    assert ("script", "id", "data") in page.attributes


def test_numbers_that_json_lacks_become_text(write: Callable[..., str]) -> None:
    program, verdict, energy = case()
    cell = Cell("hidden", 0, 0, (0,))
    first = Divergence(cell, True, 1.0, float("nan"), float("inf"))
    stages = (replace(verdict.stages[0], first=first), *verdict.stages[1:])
    page = Reader(write(Case(program, replace(verdict, stages=stages), energy)))
    found = json.loads(page.data, parse_constant=pytest.fail)["verdict"]["stages"][0]["first"]
    assert (found["expected_potential"], found["potential"]) == ("nan", "inf")


def test_the_sample_that_differs_is_drawn(write: Callable[..., str]) -> None:
    page = Reader(write(case(), samples=1))
    assert json.loads(page.data)["samples"] == [DIFFERS]
    assert any("; 1 differing cell" in part for part in page.text)
    # Found also where the verdict does not name the first difference.
    parts = case()
    stages = (replace(parts.verdict.stages[0], first=None), *parts.verdict.stages[1:])
    anonymous = parts._replace(verdict=replace(parts.verdict, stages=stages))
    assert json.loads(Reader(write(anonymous, samples=1)).data)["samples"] == [DIFFERS]


def test_a_program_that_does_nothing_still_has_a_page(write: Callable[..., str]) -> None:
    """Energies of zero have no place on a logarithmic axis."""
    program, verdict, energy = case()
    nothing = replace(energy.total, low=0.0, typical=0.0, high=0.0)
    lines = tuple(
        replace(line, total=nothing, parts=dict.fromkeys(line.parts, nothing))
        for line in energy.lines
    )
    compared = dict.fromkeys(energy.comparisons, nothing)
    empty = replace(energy, lines=lines, total=nothing, comparisons=compared)
    assert "0 J" in Reader(write(Case(program, verdict, empty))).text


def test_bad_input_is_refused(tmp_path: Path) -> None:
    program, verdict, energy = case()
    path = tmp_path / "page.html"
    with pytest.raises(InputError, match="Verify this program"):
        report(path, replace(program, outputs=("hidden",)), verdict, energy, title="x")
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        report(path, program, verdict, energy, title="x", labels=np.zeros(2, np.int64))
    with pytest.raises(InputError, match="float64"):
        report(path, program, verdict, energy, title="x", labels=np.zeros(SAMPLES))
    with pytest.raises(FileError):
        report(tmp_path / "none" / "page.html", program, verdict, energy, title="x")
    assert list(tmp_path.iterdir()) == []


def test_a_cell_is_a_pixel_where_there_is_room() -> None:
    expected = np.array([[1, 0, 1], [0, 0, 1]], np.uint8)  # two steps, three neurons
    actual = np.array([[1, 1, 0], [0, 0, 1]], np.uint8)
    image = rasters.picture(expected, actual)
    white, both = (255, 255, 255), (27, 31, 36)
    missing, extra = (213, 94, 0), (0, 114, 178)
    rows = [[tuple(pixel) for pixel in row] for row in image.tolist()]
    assert rows == [[both, white], [extra, white], [missing, both]]


@given(st.integers(1, 400), st.integers(1, 600), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_no_difference_is_lost_in_a_raster(
    steps: int, neurons: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    expected = (rng.random((steps, neurons)) < density).astype(np.uint8)
    image = rasters.picture(expected, expected)
    assert image.shape[0] <= rasters.MOST_ROWS
    assert image.shape[1] <= rasters.MOST_STEPS
    assert not coloured(image).any()
    actual = expected.copy()
    step, neuron = int(rng.integers(steps)), int(rng.integers(neurons))
    actual[step, neuron] ^= 1
    assert coloured(rasters.picture(expected, actual)).sum() == 1


def coloured(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pixels that are not a shade between white and ink."""
    return np.asarray(np.ptp(image.astype(int), axis=2) > 12)


def test_matplotlib_is_imported_late() -> None:
    code = "import sys, neurodeploy.pages.html; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
