"""The charts: accuracy, mismatch per layer, energy.  Colours are those of Okabe and Ito."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodeploy.costs.estimate import ARITHMETIC, EnergyReport, Line
from neurodeploy.equivalence.causes import LayerCauses, names
from neurodeploy.equivalence.compare import Layer
from neurodeploy.equivalence.stage import Divergence
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.errors import InputError
from neurodeploy.pages import svg
from neurodeploy.pages.markup import Html, shortened
from neurodeploy.pages.values import interval, magnitude, percent, rate
from neurodeploy.quantity import Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY = "#8a939c"
AROUND = 12
"""Steps drawn before and after the first difference."""
LABELS = 230.0
"""Pixels left of the axes, for labels."""
VALUES = 330.0
"""Pixels right of the axes, for numbers."""
CAUSES = 8
"""Sets of causes that a layer has bars for."""


def accuracy(rows: Sequence[tuple[str, Proportion]]) -> Html:
    """Proportions with their Wilson intervals, one row each."""
    height = 34.0 * len(rows) + 30
    with svg.style():
        figure = svg.canvas(height)
        ax = _rows(_columns(figure, height, bottom=26), len(rows))
        lowest = min(proportion.interval[0] for _, proportion in rows)
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (1 - lowest) / s <= 6 or s == 0.2)
        left = max(0.0, math.floor(lowest / step) * step)
        ax.set_xlim(left, 1.0)
        ax.set_xticks(_steps(left, step), [f"{100 * x:.0f} %" for x in _steps(left, step)])
        for index, (name, proportion) in enumerate(rows):
            low, high = proportion.interval
            colour = GREY if index == 0 and len(rows) > 1 else BLUE
            ax.plot((low, high), (index, index), color=colour, linewidth=2, clip_on=False)
            for end in (low, high):
                ax.plot(
                    (end, end),
                    (index - 0.16, index + 0.16),
                    color=colour,
                    linewidth=2,
                    clip_on=False,
                )
            ax.plot(proportion.value, index, "o", color=colour, markersize=9, clip_on=False)
            _beside(ax, index, name)
            _after(ax, index, 14, percent(proportion.value), weight="bold")
            _after(ax, index, 98, f"{percent(low)} … {percent(high)}", color=svg.MUTED)
            _after(
                ax,
                index,
                232,
                f"{proportion.successes:,} of {proportion.trials:,}",
                color=svg.MUTED,
            )
        return svg.inline(figure, "accuracy", "Accuracy and agreement with 95 % intervals")


def mismatches(layers: Sequence[Layer]) -> Html:
    """Share of differing cells per layer, from zero."""
    from matplotlib.ticker import MaxNLocator

    height = 28.0 * len(layers) + 30
    with svg.style():
        figure = svg.canvas(height)
        ax = _rows(_columns(figure, height, bottom=26), len(layers))
        top = max(layer.rate for layer in layers)
        ax.set_xlim(0, 1.02 * top if top else 1e-4)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
        for index, layer in enumerate(layers):
            ax.barh(index, layer.rate, height=0.62, color=VERMILLION)
            _beside(ax, index, shortened(layer.population))
            _after(ax, index, 14, rate(layer.mismatches, layer.cells), weight="bold")
            _after(ax, index, 98, f"{layer.mismatches:,} of {layer.cells:,} cells", color=svg.MUTED)
        return svg.inline(figure, "mismatches", "Share of differing cells per layer")


def by_cause(layer: LayerCauses) -> list[tuple[str, int]]:
    """Local differences of a layer by what caused them, most frequent first."""
    found = [(" + ".join(names(causes)), count) for causes, count in layer.histogram.items()]
    rest = [("within the rounding of float64", layer.unexplained)] if layer.unexplained else []
    return found + rest


def causes(layers: Sequence[LayerCauses]) -> Html:
    """Local differences of each layer by their causes; the rarest beyond `CAUSES` in one bar."""
    rows: list[tuple[str, int, int]] = []
    for layer in layers:
        found = by_cause(layer)
        few, rest = found[:CAUSES], sum(count for _, count in found[CAUSES:])
        rows.append((layer.population, layer.local, 0))
        rows += [(name, count, layer.local) for name, count in few]
        rows += [(f"{len(found) - CAUSES} more sets", rest, layer.local)] * bool(rest)
    height = 24.0 * len(rows) + 30
    with svg.style():
        figure = svg.canvas(height)
        ax = _rows(_columns(figure, height, bottom=26, left=LABELS + 180, right=170), len(rows))
        ax.set_xlim(0, 1.0)
        ax.set_xticks(_steps(0.0, 0.25), [f"{100 * x:.0f} %" for x in _steps(0.0, 0.25)])
        for index, (name, count, of) in enumerate(rows):
            if of:
                ax.barh(index, count / of, height=0.62, color=VERMILLION)
                _after(ax, index, 98, percent(count / of), color=svg.MUTED)
            weight, indent = ("normal", 18) if of else ("bold", 0)
            label = shortened(name, 60)
            _beside(ax, index, label, indent=indent, weight=weight, left=LABELS + 180)
            _after(ax, index, 14, f"{count:,}", weight=weight)
        return svg.inline(figure, "causes", "Local differences of each layer by their causes")


def membrane(first: Divergence, anchor: str) -> Html:
    """Both potentials of the neuron that differs first, some steps before and after."""
    from matplotlib.ticker import MaxNLocator

    if first.expected_trace is None or first.trace is None:
        raise InputError("the divergence has no potentials to draw")
    start = max(0, first.cell.step - AROUND)
    stop = min(len(first.trace), first.cell.step + AROUND + 1)
    steps = range(start, stop)
    with svg.style():
        figure = svg.canvas(240.0)
        ax = svg.axes(figure, 60, 10, svg.WIDTH - 330, 190)
        ax.grid(axis="y")
        ax.axhline(first.threshold, color=svg.MUTED, linewidth=1.5, linestyle="--")
        ax.axvline(first.cell.step, color=svg.GRID, linewidth=8, zorder=0)
        ax.plot(steps, first.expected_trace[start:stop], "o-", color=BLUE, linewidth=2)
        ax.plot(steps, first.trace[start:stop], "s--", color=VERMILLION, linewidth=2)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("step")
        ax.set_ylabel("potential")
        names = (("reference", BLUE), ("chip", VERMILLION), ("threshold", svg.MUTED))
        for row, (name, colour) in enumerate(names):
            y = 0.9 - 0.13 * row
            ax.plot((1.04, 1.08), (y, y), color=colour, linewidth=3, clip_on=False,
                    transform=ax.transAxes)  # fmt: skip
            ax.text(1.1, y, name, va="center", transform=ax.transAxes)
        what = (
            f"Membrane potential of {shortened(first.cell.population)} around its first difference"
        )
        return svg.inline(figure, anchor, what)


@dataclass(frozen=True)
class _Bar:
    """A row of the energy chart."""

    name: str
    value: Quantity
    colour: str
    main: bool


def energy(report: EnergyReport) -> Html:
    """The lines with their parts, the total, and the 45 nm figure, on a logarithmic axis."""
    from matplotlib.ticker import NullLocator

    bars = _bars(report)
    positions = _positions(bars)
    height = 21.0 * positions[-1] + 92
    with svg.style():
        figure = svg.canvas(height)
        ax = _rows(_columns(figure, height, top=30, bottom=26), len(bars))
        ax.set_ylim(positions[-1] + 0.8, -0.8)
        ax.set_xscale("log")
        low, high = _decades([bar.value for bar in bars])
        ax.set_xlim(low, high)
        ax.xaxis.set_major_formatter(lambda x, _: _decade(x))
        ax.xaxis.set_minor_locator(NullLocator())
        for bar, y in zip(bars, positions, strict=True):
            _energy_bar(ax, bar, y, low)
        for offset, text in ((14, "median"), (98, "5 to 95 %"), (250, "kind")):
            _after(ax, -1.2, offset, text, color=svg.MUTED, size=11)
        return svg.inline(figure, "energy", "Energy per inference, line by line, with intervals")


def _bars(report: EnergyReport) -> list[_Bar]:
    def group(line: Line, colour: str) -> Iterable[_Bar]:
        yield _Bar(line.name, line.total, colour, True)
        for name, part in line.parts.items():
            yield _Bar(name, part, colour, False)

    colours = zip(report.lines, (BLUE, ORANGE, GREEN), strict=False)
    return [
        *(bar for line, colour in colours for bar in group(line, colour)),
        _Bar("total", report.total, svg.INK, True),
        _Bar(ARITHMETIC, report.comparisons[ARITHMETIC], GREY, True),
    ]


def _positions(bars: Sequence[_Bar]) -> list[float]:
    """Rows with a gap before each group."""
    y, result = 0.0, []
    for index, bar in enumerate(bars):
        y += 1.5 if bar.main and index else float(index > 0)
        result.append(y)
    return result


def _energy_bar(ax: Axes, bar: _Bar, y: float, left: float) -> None:
    value, thick = bar.value, 0.36 if bar.main else 0.17
    if value.high > 0:
        low = max(value.low, left)
        ax.barh(
            y,
            value.high - low,
            left=low,
            height=2 * thick,
            color=bar.colour,
            alpha=0.45 if bar.main else 0.3,
            linewidth=0,
        )
        for end in (value.low, value.high):
            ax.plot((end, end), (y - thick, y + thick), color=bar.colour, linewidth=1.5)
        ax.plot(value.typical, y, "o", color=bar.colour, markersize=9 if bar.main else 6)
    weight, size = ("bold", 12.5) if bar.main else ("normal", 12)
    _beside(ax, y, bar.name, indent=0 if bar.main else 18, weight=weight)
    _after(ax, y, 14, magnitude(value.typical, value.unit), weight=weight, size=size)
    _after(ax, y, 98, interval(value), color=svg.MUTED)
    _after(ax, y, 250, value.kind, color=svg.MUTED)


def _decades(values: Sequence[Quantity]) -> tuple[float, float]:
    """Whole decades that hold all values above zero, at most nine."""
    ends = [end for value in values for end in (value.low, value.high) if end > 0]
    if not ends:
        return 1e-12, 1e-9
    high = math.ceil(math.log10(max(ends)))
    low = min(math.floor(math.log10(min(ends))), high - 1)
    return 10.0 ** max(low, high - 9), 10.0**high


def _decade(x: float) -> str:
    """`10 nJ` for 1e-8."""
    return magnitude(x, "J").replace(".00", "").replace(".0", "")


def _columns(
    figure: Figure,
    height: float,
    *,
    top: float = 4,
    bottom: float,
    left: float = LABELS,
    right: float = VALUES,
) -> Axes:
    """Axes between the column of labels and that of numbers."""
    return svg.axes(figure, left, top, svg.WIDTH - left - right, height - top - bottom)


def _rows(ax: Axes, count: int) -> Axes:
    """Axes for rows 0..count-1 from the top, with vertical grid lines only."""
    ax.set_ylim(count - 0.5, -0.5)
    ax.set_yticks([])
    ax.grid(axis="x")
    ax.tick_params(length=0)
    ax.spines["bottom"].set_visible(False)
    return ax


def _beside(
    ax: Axes, y: float, text: str, *, indent: float = 0, weight: str = "bold", left: float = LABELS
) -> None:
    """A label in the left column."""
    ax.annotate(
        text,
        (0, y),
        (indent - left + 2, 0),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        weight=weight,
        annotation_clip=False,
    )


def _after(
    ax: Axes,
    y: float,
    offset: float,
    text: str,
    *,
    color: str = svg.INK,
    weight: str = "normal",
    size: float = 12,
) -> None:
    """A number in the right column, `offset` pixels after the axes."""
    ax.annotate(
        text,
        (1, y),
        (offset, 0),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        color=color,
        weight=weight,
        size=size,
        annotation_clip=False,
    )


def _steps(left: float, step: float) -> list[float]:
    return [left + i * step for i in range(round((1 - left) / step) + 1)]
