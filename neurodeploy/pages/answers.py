"""The first things a reader wants: does it work, how equal is it, what does one inference cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neurodeploy.equivalence.compare import Cell
from neurodeploy.equivalence.verdict import Stage, Verdict
from neurodeploy.pages import figures
from neurodeploy.pages.markup import Html, element, join, section, table
from neurodeploy.pages.page import Page
from neurodeploy.pages.values import kind, percent, quantity, rate

WORKS, EQUAL, COST = (
    "Does it work on the chip?",
    "How equal is it?",
    "What does one inference cost?",
)
STAGES = {"passed": "PASSED", "failed": "FAILED", "not run": "NOT RUN", "incomplete": "INCOMPLETE"}
NOT_ASKED = "the spikes of the source framework were not given, so the import was not checked"


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
        if stage.status != "passed"
    )


def cards(page: Page) -> Html:
    """The three answers at a glance."""
    return element(
        "div",
        _card("works", WORKS, badge(page.verdict.status), _works_facts(page.verdict)),
        _card("equal", EQUAL, _equal_headline(page.verdict), _equal_facts(page.verdict)),
        _card(
            "cost",
            COST,
            quantity(page.energy.total),
            (
                join(("core dynamic: ", quantity(page.energy.core.total))),
                join(("latency: ", quantity(page.energy.latency))),
            ),
        ),
        cls="cards",
    )


def _card(anchor: str, question: str, headline: Html, facts: Sequence[Html]) -> Html:
    return element(
        "div",
        element("h2", element("a", question, href=f"#{anchor}")),
        element("p", headline, cls="headline"),
        *(element("p", fact) for fact in facts),
        cls="card",
    )


def _works_facts(verdict: Verdict) -> tuple[Html, ...]:
    agreed = join(
        ("decisions agree: ", element("b", percent(verdict.agreement.value)), kind("simulated")),
        " ",
    )
    if verdict.accuracy is None or verdict.reference_accuracy is None:
        return join(("accuracy: unknown, no labels were given",)), agreed
    chip = join(
        (
            "accuracy on the chip: ",
            element("b", percent(verdict.accuracy.value)),
            f"(reference {percent(verdict.reference_accuracy.value)})",
            kind("simulated"),
        ),
        " ",
    )
    return chip, agreed


def _equal_headline(verdict: Verdict) -> Html:
    stage = verdict.stage("lowering")
    text = f"{rate(stage.mismatches, stage.cells)} of cells differ"
    return join((element("b", text), kind("counted")), " ")


def _equal_facts(verdict: Verdict) -> tuple[Html, ...]:
    lowering, vendor = verdict.stage("lowering"), verdict.stage("vendor")
    ours = (
        f"{lowering.title}: {lowering.mismatches:,} of {lowering.cells:,} cells, "
        f"{lowering.samples:,} samples"
    )
    if vendor.status == "not run":
        return join((ours,)), join((vendor.title, ": ", badge(vendor.status)))
    theirs = f"{vendor.title}: {vendor.mismatches:,} of {vendor.cells:,} cells"
    return join((ours,)), join((theirs, kind("counted")), " ")


def works(page: Page) -> Html:
    """Accuracy and agreement with intervals."""
    verdict = page.verdict
    rows = [
        (name, value)
        for name, value in (
            ("accuracy, reference", verdict.reference_accuracy),
            ("accuracy, chip", verdict.accuracy),
            ("equal decisions", verdict.agreement),
        )
        if value is not None
    ]
    unlabelled = (
        "No labels were given, so accuracy is unknown. " if verdict.accuracy is None else ""
    )
    return section(
        "works",
        f"1  {WORKS}",
        element("p", badge(verdict.status), " ", _status_text(verdict)),
        element(
            "figure",
            figures.accuracy(rows),
            element(
                "figcaption",
                f"{unlabelled}Points ",
                kind("simulated"),
                ": reference in float64, chip in its bit-accurate integer arithmetic. Lines ",
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
    return "Every stage ran and passed."


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
        element("h3", "Where they first part") if firsts else "",
        *firsts,
        element("h3", "Differing cells per layer in every stage"),
        _layers(page),
    )


def _stages(verdict: Verdict) -> Html:
    rows: list[tuple[object, ...]] = [_stage_row(stage) for stage in verdict.stages]
    if all(stage.name != "import" for stage in verdict.stages):
        absent = element("span", "not asked", cls="badge muted")
        rows.insert(0, ("import", absent, "source model against reference", "–", "–", NOT_ASKED))
    heads = ("stage", "status", "compared", "samples", _counted("differing cells"), "result")
    return table(heads, rows, numeric=(3, 4), cls="stages")


def _stage_row(stage: Stage) -> tuple[object, ...]:
    ran = stage.status != "not run"
    return (
        stage.name,
        badge(stage.status),
        stage.title,
        f"{stage.samples:,}" if ran else "–",
        f"{stage.mismatches:,} of {stage.cells:,}" if ran else "–",
        stage.text,
    )


def _counted(head: str) -> Html:
    return join((head, kind("counted")), " ")


def _firsts(verdict: Verdict) -> Iterator[Html]:
    """The first difference of each stage that has one, in words."""
    for stage in verdict.stages:
        cells = [layer.first for layer in stage.layers if layer.first is not None]
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
                f"{layer.mismatches:,} of {layer.cells:,}" if layer else "–"
                for layer in (layers.get(name) for layers in found)
            ),
        )
        for name in names
    ]
    heads = ("layer", *(_counted(stage.name) for stage in stages))
    return table(heads, rows, numeric=range(1, len(heads)))


def cost(page: Page) -> Html:
    """Energy in three lines with intervals, and latency."""
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
