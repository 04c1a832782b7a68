"""The first things a reader wants: does it work, how equal is it, what does one inference cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from neurodeploy.costs.estimate import EnergyReport
from neurodeploy.equivalence.compare import Cell
from neurodeploy.equivalence.stage import Stage
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.pages import figures, why
from neurodeploy.pages.markup import NONE, Html, element, join, section, table
from neurodeploy.pages.page import Page
from neurodeploy.pages.values import interval, kind, magnitude, percent, quantity, rate

WORKS, EQUAL, COST = (
    "Does it work on the chip?",
    "How equal is it?",
    "What does one inference cost?",
)
STAGES = {
    "passed": "PASSED",
    "failed": "FAILED",
    "not run": "NOT RUN",
    "not applicable": "NOT APPLICABLE",
    "incomplete": "INCOMPLETE",
}
Fact = tuple[str, object, object]
"""Name, value and kind."""


def badge(status: str) -> Html:
    """A status, loud unless it is a pass."""
    return element("span", STAGES[status], cls=f"badge {status.replace(' ', '-')}")


def alarms(verdict: Verdict) -> Html:
    """One banner for each stage that failed or did not run."""
    return join(
        element(
            "p",
            badge(stage.status),
            " ",
            element("b", stage.title),
            f": {stage.text}",
            cls=f"alarm {stage.status.replace(' ', '-')}",
        )
        for stage in verdict.stages
        if stage.status in ("failed", "not run")
    )


def cards(page: Page) -> Html:
    """The three answers at a glance."""
    return element(
        "div",
        _card("works", WORKS, badge(page.verdict.status), _works_facts(page.verdict)),
        _card("equal", EQUAL, _equal_headline(page.verdict), _equal_facts(page.verdict)),
        _card("cost", COST, _cost_headline(page.energy), _cost_facts(page.energy)),
        cls="cards",
    )


def _card(anchor: str, question: str, headline: Html, facts: Iterable[Fact]) -> Html:
    rows = (
        element("tr", element("th", name), element("td", value), element("td", tag))
        for name, value, tag in facts
    )
    return element(
        "div",
        element("h2", element("a", question, href=f"#{anchor}")),
        element("p", headline, cls="headline"),
        element("table", *rows),
        cls="card",
    )


def _works_facts(verdict: Verdict) -> Iterator[Fact]:
    for name, value in _proportions(verdict):
        yield name, percent(value.value), kind("simulated")
    if verdict.accuracy is None:
        yield "accuracy", "unknown: no labels", ""


def _proportions(verdict: Verdict) -> list[tuple[str, Proportion]]:
    every = (
        ("accuracy, reference", verdict.reference_accuracy),
        ("accuracy, chip", verdict.accuracy),
        ("equal decisions", verdict.agreement),
    )
    return [(name, value) for name, value in every if value is not None]


def _equal_headline(verdict: Verdict) -> Html:
    stage = verdict.stage("lowering")
    share = element("b", rate(stage.mismatches, stage.cells))
    return join((share, "of cells differ", kind("counted")), " ")


def _equal_facts(verdict: Verdict) -> Iterator[Fact]:
    for stage in verdict.stages:
        if not stage.layers:
            yield stage.name, badge(stage.status), ""
        else:
            yield stage.name, f"{stage.mismatches:,} of {stage.cells:,}", kind("counted")


def _cost_headline(report: EnergyReport) -> Html:
    typical = element("b", magnitude(report.total.typical, report.total.unit))
    return join((typical, "energy", kind(report.total.kind)), " ")


def _cost_facts(report: EnergyReport) -> Iterator[Fact]:
    yield "5 to 95 %", interval(report.total), kind(report.total.kind)
    dynamic = report.lines[0]
    for name, value in ((dynamic.name, dynamic.total), ("latency", report.latency)):
        yield name, magnitude(value.typical, value.unit), kind(value.kind)


def works(page: Page) -> Html:
    """Accuracy and agreement with intervals."""
    verdict = page.verdict
    unlabelled = (
        "No labels were given, so accuracy is unknown. " if verdict.accuracy is None else ""
    )
    return section(
        "works",
        f"1  {WORKS}",
        element("p", badge(verdict.status), " ", _status_text(verdict)),
        element(
            "figure",
            figures.accuracy(_proportions(verdict)),
            element(
                "figcaption",
                f"{unlabelled}Points ",
                kind("simulated"),
                ": reference in float64, chip in its own arithmetic, bit by bit. Lines ",
                kind("derived"),
                ": 95 % Wilson score intervals.",
            ),
        ),
    )


def _status_text(verdict: Verdict) -> str:
    names = {
        status: ", ".join(stage.name for stage in verdict.stages if stage.status == status)
        for status in ("failed", "not run")
    }
    if verdict.status == "failed":
        return f"Failed: {names['failed']}." + (
            f" Not run: {names['not run']}." if names["not run"] else ""
        )
    if verdict.status == "incomplete":
        return f"Nothing failed, but this is not a pass: {names['not run']} did not run."
    return "Every stage that applies ran and passed."


def equal(page: Page) -> Html:
    """Stages, mismatch per layer and the first divergence."""
    verdict = page.verdict
    lowering = verdict.stage("lowering")
    chart = (
        element(
            "figure",
            figures.mismatches(lowering.layers),
            element(
                "figcaption",
                f"Mismatch per layer, {lowering.title}, {lowering.samples:,} samples ",
                kind("counted"),
                ". A cell is one neuron in one step of one sample.",
            ),
        )
        if lowering.mismatches
        else element("p", "Reference and program are equal in every cell of every layer.")
    )
    firsts = list(_firsts(verdict))
    return section(
        "equal",
        f"2  {EQUAL}",
        _stages(verdict),
        element("h3", "Where reference and program differ"),
        chart,
        *why.histogram(verdict),
        element("h3", "Where they first part") if firsts else "",
        *firsts,
        element("h3", "Differing cells per layer in every stage"),
        _layers(page),
    )


def _stages(verdict: Verdict) -> Html:
    rows: list[tuple[object, ...]] = [_stage_row(stage) for stage in verdict.stages]
    result = join(("result", kind("simulated")), " ")
    heads = ("stage", "status", "compared", "samples", _counted("differing cells"), result)
    return table(heads, rows, numeric=(3, 4), cls="stages")


def _stage_row(stage: Stage) -> tuple[object, ...]:
    ran = bool(stage.layers)
    return (
        stage.name,
        badge(stage.status),
        stage.title,
        f"{stage.samples:,}" if ran else NONE,
        f"{stage.mismatches:,} of {stage.cells:,}" if ran else NONE,
        stage.text,
    )


def _counted(head: str) -> Html:
    return join((head, kind("counted")), " ")


def _firsts(verdict: Verdict) -> Iterator[Html]:
    """The first difference of each stage that has one, in words."""
    for stage in verdict.stages:
        cells = [layer.first for layer in stage.layers if layer.first is not None]
        if stage.name == "lowering" and stage.first is not None:
            yield element("p", element("b", f"{stage.title}:"))
            yield why.first(verdict, "membrane")
            continue
        if stage.first is not None:
            words = (str(stage.first), ". ", kind("simulated"))
        elif cells:
            words = (_cell_words(min(cells, key=lambda cell: cell.step)), ". ", kind("counted"))
        else:
            continue
        yield element("p", element("b", f"{stage.title}: "), *words, cls="first")


def _cell_words(cell: Cell) -> str:
    neuron = ",".join(map(str, cell.neuron))
    return f"{cell.population}[{neuron}], sample {cell.sample}, step {cell.step}"


def _layers(page: Page) -> Html:
    stages = [stage for stage in page.verdict.stages if stage.layers]
    names = [population.name for population in page.program.populations]
    found = [{layer.population: layer for layer in stage.layers} for stage in stages]
    rows = [
        (
            name,
            *(
                f"{layer.mismatches:,} of {layer.cells:,}" if layer else NONE
                for layer in (layers.get(name) for layers in found)
            ),
        )
        for name in names
    ]
    heads = ("layer", *(_counted(stage.name) for stage in stages))
    return table(heads, rows, numeric=range(1, len(heads)))


def cost(page: Page) -> Html:
    """Energy in lines with intervals, and latency."""
    report = page.energy
    return section(
        "cost",
        f"3  {COST}",
        element(
            "dl",
            element("dt", "energy per inference"),
            element("dd", quantity(report.total)),
            element("dt", "latency, one inference at a time"),
            element("dd", quantity(report.latency)),
        ),
        element(
            "figure",
            figures.energy(report),
            element(
                "figcaption",
                "Energy per inference on a logarithmic axis: dot, median; bar, 5 to 95 %. Exact "
                "counts times constants of the chip, with their uncertainty. Medians of parts do "
                "not add up exactly to the median of their sum. The grey bar is the usual 45 nm "
                "figure per synaptic event, not an estimate for hardware.",
            ),
        ),
        element("ul", *(element("li", note) for note in report.notes), cls="notes"),
    )
