"""The rest of the page: spikes, resources, lowering, ranges, counts, constants, provenance."""

from __future__ import annotations

from neurodeploy.chip import Chip
from neurodeploy.costs.estimate import ARITHMETIC
from neurodeploy.mapping.placement import Placement
from neurodeploy.mapping.resources import Resource
from neurodeploy.pages import rasters
from neurodeploy.pages.core_map import core_map
from neurodeploy.pages.markup import NONE, Html, element, escape, join, section, table
from neurodeploy.pages.page import Page
from neurodeploy.pages.values import KINDS, kind, magnitude
from neurodeploy.program import How, Range
from neurodeploy.quantity import Quantity
from neurodeploy.target import evidence_of


def spikes(page: Page) -> Html:
    """Rasters of the samples shown."""
    names = [name for name in page.program.shapes if name in page.verdict.reference.spikes]
    drawn = rasters.panels(names)
    left_out = len(names) - len(drawn)
    return section(
        "spikes",
        "4  Spikes",
        rasters.key("chip"),
        *(
            element(
                "figure",
                element("h3", _sample_title(page, i)),
                _raster(page, i, drawn),
            )
            for i in page.shown
        ),
        element(
            "p",
            f"Neurons upward, steps to the right. Where a population has more than "
            f"{rasters.MOST_ROWS} neurons, a row stands for several: as dark as the share that "
            "spikes, coloured if any of them differs."
            + (f" {left_out} populations are not drawn." if left_out else ""),
            cls="caption",
        ),
    )


def _raster(page: Page, sample: int, names: list[str]) -> Html:
    return rasters.raster(page.verdict, sample, names)


def _sample_title(page: Page, sample: int) -> Html:
    verdict, output = page.verdict, page.program.output
    differing = sum(
        int((verdict.reference.spikes[name][sample] != verdict.trace.spikes[name][sample]).sum())
        for name in (layer.population for layer in verdict.stage("lowering").layers)
    )
    expected = int(verdict.reference.decisions(output)[sample])
    actual = int(verdict.trace.decisions(output)[sample])
    label = "" if page.labels is None else f"label {int(page.labels[sample])}, "
    text = f"{label}reference decides {expected}, chip {actual}; {differing:,} differing "
    text += "cell" if differing == 1 else "cells"
    return join((f"Sample {sample} ", element("small", text, " ", kind("counted"))))


def resources(page: Page) -> Html:
    """(used, available), in total and per population."""
    placement = page.placement
    return section(
        "resources",
        "5  Resources",
        element(
            "p",
            f"{placement.cores:,} neurocores on {placement.chips:,} {page.chip.title} "
            f"{'chip' if placement.chips == 1 else 'chips'}. Every neurocore holds neurons of one "
            "population. ",
            kind("derived"),
        ),
        table(
            ("whole program", "used", "available", "share", "unit", "kind", "source"),
            [_resource_row(item) for item in placement.total],
            numeric=(1, 2),
        ),
        _per_population(placement),
        core_map(placement),
    )


def _resource_row(item: Resource) -> tuple[object, ...]:
    return (
        item.name,
        f"{item.used:,}",
        NONE if item.available is None else f"{item.available:,}",
        _meter(item),
        item.unit,
        kind(item.kind),
        element("span", item.source, cls="source"),
    )


def _per_population(placement: Placement) -> Html:
    known = {item.name for item in placement.total}
    first: dict[str, Resource] = {}
    for items in placement.resources.values():
        for item in items:
            first.setdefault(item.name, item)
    rows = []
    for population, items in placement.resources.items():
        own = {item.name: item for item in items}
        rows.append((population, *(_used(own[name]) if name in own else NONE for name in first)))
    heads = [
        join((item.name, element("small", item.unit), kind(item.kind)), " ")
        for item in first.values()
    ]
    return join(
        (
            table(("population", *heads), rows, numeric=range(1, len(heads) + 1), cls="matrix"),
            element(
                "ul",
                *(
                    element("li", element("b", name), f": {item.source}")
                    for name, item in first.items()
                    if name not in known
                ),
                cls="notes source",
            ),
        )
    )


def _used(item: Resource) -> Html:
    """`used / available` and how full that is."""
    if item.available is None:
        return escape(f"{item.used:,}")
    return join((f"{item.used:,} / {item.available:,}", _meter(item)), " ")


def _meter(item: Resource) -> Html:
    """A bar for used over available."""
    if not item.available:
        return Html("")
    share = item.used / item.available
    bar = element("i", style=f"width:{100 * min(share, 1.0):.1f}%")
    return element("span", bar, cls="meter", title=f"{share:.1%}")


def lowering(page: Page) -> Html:
    """How each difference between model and chip was lowered; equal entries of nodes together."""
    nodes: dict[tuple[str, How, str], list[str]] = {}
    for item in page.program.lowerings:
        nodes.setdefault((item.subject, item.how, item.text), []).append(item.node)
    subjects = [subject for subject, _, _ in nodes]
    rows = [
        (subject, element("span", how, cls=f"how {how}"), ", ".join(names), text)
        for (subject, how, text), names in sorted(
            nodes.items(), key=lambda item: subjects.index(item[0][0])
        )
    ]
    if not rows:
        body = element("p", "Model and chip mean the same by a step: nothing had to be lowered.")
    else:
        how = join(("how it was lowered", kind("derived")), " ")
        body = table(("difference", "lowered", "populations", how), rows, cls="lowered")
    known = evidence_of(page.program)
    sure = [
        element("p", "How sure it is that the chip does what the simulator does:"),
        table(("subject", "basis", "what is known", "source"), [
            (item.subject, item.basis, item.text, item.source) for item in known
        ]),
    ]  # fmt: skip
    title = "6  How the model was lowered to the chip"
    return section("lowering", title, body, *(sure if known else ()))


def ranges(page: Page) -> Html:
    """Bounds of registers against their limits."""
    rows = [
        (
            item.node,
            item.register,
            _integer(item.low),
            _integer(item.high),
            f"{_integer(item.limit_low)} … {_integer(item.limit_high)}",
            _span(item),
            element("span", "proven", cls="how exact")
            if item.proven
            else element("span", "seen on calibration", cls="how approximate"),
            kind("derived" if item.proven else "simulated"),
        )
        for item in page.program.ranges
    ]
    heads = ("population", "register", "low", "high", "limits", "within them", "basis", "kind")
    return section(
        "ranges",
        "7  Register ranges",
        element(
            "p",
            element("b", "Proven"),
            ": no input can leave these bounds, by the integer weights. ",
            element("b", "Seen on calibration"),
            ": the extremes on the calibration data; another input may go further.",
        ),
        table(heads, rows, numeric=(2, 3, 4)),
    )


def _integer(value: float) -> str:
    return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")


def _span(item: Range) -> Html:
    """A bar for the range within the limits."""
    width = item.limit_high - item.limit_low
    if width <= 0:
        return Html("")
    left, right = (
        100 * min(max((end - item.limit_low) / width, 0.0), 1.0) for end in (item.low, item.high)
    )
    bar = element("i", style=f"margin-left:{left:.1f}%;width:{max(right - left, 0.8):.1f}%")
    return element("span", bar, cls="meter span")


def counts(page: Page) -> Html:
    """What was counted per inference."""
    counted = page.energy.counted
    rows = [
        (name, *map(_number, (q.low, q.typical, q.high)), kind(q.kind))
        for name, q in counted.items()
    ]
    return section(
        "counts",
        "8  Counts per inference",
        element("p", "; ".join(sorted({q.source for q in counted.values()})), cls="caption"),
        table(("event", "minimum", "mean", "maximum", "kind"), rows, numeric=(1, 2, 3)),
    )


def _number(value: float) -> str:
    return magnitude(value, "1")


def constants(page: Page) -> Html:
    """Constants of the chip with their sources."""
    rows = [
        (
            name,
            *(f"{v:g}" for v in (q.low, q.typical, q.high)),
            q.unit,
            kind(q.kind),
            element("span", q.source, cls="source"),
        )
        for name, q in _constants(page.chip).items()
    ]
    return section(
        "constants",
        "9  Constants and their sources",
        table(
            ("constant", "low", "typical", "high", "unit", "kind", "source"),
            rows,
            numeric=(1, 2, 3),
        ),
        element(
            "p",
            f"45 nm arithmetic only: {page.energy.comparisons[ARITHMETIC].source}.",
            cls="source",
        ),
    )


def _constants(chip: Chip) -> dict[str, Quantity]:
    """Those of all performance levels, with the level's name."""
    levels = {
        f"{name}, {level}": q for level, own in chip.levels.items() for name, q in own.items()
    }
    return {**chip.constants, **levels}


def provenance(page: Page) -> Html:
    """Where the program comes from."""
    program, verdict = page.program, page.verdict
    items = {
        "program, SHA-256": program.hash,
        "target": f"{program.target} ({page.chip.title})",
        "verified with": f"{verdict.agreement.trials:,} samples of {verdict.trace.steps:,} steps",
        **program.provenance,
    }
    pairs = [
        part
        for name, value in items.items()
        for part in (element("dt", name), element("dd", element("code", value)))
    ]
    return section("provenance", "10  Provenance", element("dl", *pairs))


def kinds() -> Html:
    """What the tags mean."""
    pairs = [join((kind(name), text), " ") for name, text in KINDS.items()]
    return element("p", "Every number carries its kind: ", join(pairs, "; "), ".", cls="caption")
