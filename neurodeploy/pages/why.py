"""Where reference and program first part, and why they differ: on the page of one and of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from neurodeploy.equivalence.causes import LayerCauses
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.pages import figures
from neurodeploy.pages.markup import NONE, Html, element, join, table
from neurodeploy.pages.values import kind


def first(verdict: Verdict, anchor: str) -> Html:
    """The first difference with its causes in words, and both potentials around it.

    `anchor`: the figure's id.
    """
    found = verdict.stage("lowering").first
    if found is None:
        return element("p", "Equal to the reference in every cell.")
    event = verdict.causes.first
    why = "" if event is None else f"; {event}"
    figure: object = ""
    if found.expected_trace is not None and found.trace is not None:
        figure = element("figure", figures.membrane(found, anchor))
    return join((element("p", f"{found}{why}. ", kind("simulated"), cls="first"), figure))


def meaning() -> Html:
    """What local and inherited differences are, and what a cause is."""
    return element(
        "p",
        "A difference is local where the chip decides otherwise on the reference's own spikes, "
        "else inherited. A cause is the smallest set of deviations that, undone, restores the "
        "reference's spike. ",
        kind("counted"),
    )


def layers(rows: Iterable[tuple[tuple[str, ...], LayerCauses]], heads: tuple[str, ...]) -> Html:
    """Differing cells of layers by their causes; `heads` are those of what stands before each."""
    found = [(*before, *_why(layer)) for before, layer in rows]
    every = (*heads, "local", "inherited", "causes of local differences")
    return table(every, found, numeric=(len(heads), len(heads) + 1))


def histogram(verdict: Verdict) -> Iterator[Html]:
    """Causes per layer as a chart, if any were found, and as a table."""
    shown = [layer for layer in verdict.causes.layers if layer.events]
    if not shown:
        return
    yield element("h3", "Why they differ")
    yield meaning()
    if any(layer.local and layer.reason is None for layer in shown):
        yield element("figure", figures.causes(shown))
    yield layers((((layer.population,), layer) for layer in shown), ("layer",))


def _why(layer: LayerCauses) -> tuple[str, str, str]:
    if layer.reason is not None:
        return NONE, NONE, layer.reason
    found = [f"{name}: {count:,}" for name, count in figures.by_cause(layer)]
    return f"{layer.local:,}", f"{layer.propagated:,}", "; ".join(found) or NONE
