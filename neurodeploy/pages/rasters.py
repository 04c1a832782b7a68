"""Spike rasters: reference and chip in one picture per population, differing cells in colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.pages import svg
from neurodeploy.pages.figures import BLUE, VERMILLION
from neurodeploy.pages.markup import Html, element, shortened
from neurodeploy.pages.values import kind
from neurodeploy.trace import Spikes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
MOST_PANELS = 12
MOST_ROWS = 120
MOST_STEPS = 240
HEIGHT, MARGIN = 168.0, 34.0
BOTH, MISSING, EXTRA = svg.INK, VERMILLION, BLUE
"""A spike in both, one that the chip lacks, one that only the chip has."""


def panels(names: list[str]) -> list[str]:
    """The populations drawn: all, or the first ones and the last."""
    if len(names) <= MOST_PANELS:
        return names
    return [*names[: MOST_PANELS - 1], names[-1]]


def key(actual: str) -> Html:
    """What the colours mean."""
    swatches = (
        element("span", element("i", cls="swatch", style=f"background:{colour}"), text)
        for colour, text in (
            (BOTH, f"spike in reference and {actual}"),
            (MISSING, "reference only"),
            (EXTRA, f"{actual} only"),
        )
    )
    return element("p", *swatches, kind("simulated"), cls="key")


def raster(verdict: Verdict, sample: int, names: list[str], anchor: str = "raster") -> Html:
    """One sample: a panel for each of `names`, inputs and populations; ids begin with `anchor`."""
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    width = svg.WIDTH / columns
    line = HEIGHT + 48
    with svg.style():
        figure = svg.canvas(lines * line)
        for index, name in enumerate(names):
            row, column = divmod(index, columns)
            ax = svg.axes(
                figure, MARGIN + column * width, row * line + 24, width - MARGIN - 6, HEIGHT
            )
            _panel(ax, verdict.reference.spikes[name][sample], verdict.trace.spikes[name][sample])
            ax.set_title(shortened(name, 24), loc="left", size=12, weight="bold", pad=6)
        return svg.inline(figure, f"{anchor}-{sample}", f"Spikes of sample {sample}")


def _panel(ax: Axes, expected: Spikes, actual: Spikes) -> None:
    """Neurons upward, steps to the right."""
    steps, neurons = len(expected), expected[0].size
    image = picture(expected.reshape(steps, -1), actual.reshape(steps, -1))
    ax.imshow(
        image,
        aspect="auto",
        interpolation="none",
        origin="lower",
        extent=(-0.5, steps - 0.5, -0.5, neurons - 0.5),
    )
    ax.set_yticks([0, neurons - 1] if neurons > 1 else [0])
    ax.set_xticks([0, steps - 1] if steps > 1 else [0])
    ax.tick_params(length=0)
    ax.set_xlabel("step", labelpad=-9)
    for spine in ax.spines.values():
        spine.set(visible=True, color=svg.GRID)


def picture(expected: Spikes, actual: Spikes) -> NDArray[np.uint8]:
    """Pixels uint8 (rows, columns, 3) of spikes (steps, neurons), neurons first.

    Where there are more neurons or steps than pixels, a pixel stands for several cells: as dark as
    the share of them that spike, coloured if any of them differs, so that no difference is lost.
    """
    both, missing, extra = (
        _blocks(cells.T.astype(np.float64))
        for cells in (expected & actual, expected > actual, actual > expected)
    )
    white = np.ones((*both.shape, 3))
    share = np.clip(both, 0, 1)[..., None]
    result = white + np.where(share > 0, 0.15 + 0.85 * share, 0.0) * (_rgb(BOTH) - white)
    result[missing > 0] = _rgb(MISSING)
    result[extra > missing] = _rgb(EXTRA)
    return np.asarray((255 * result).round(), np.uint8)


def _blocks(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over blocks of cells, so that no side has more than `MOST_...` blocks."""
    for axis, most in enumerate((MOST_ROWS, MOST_STEPS)):
        size = cells.shape[axis]
        block = -(-size // most)
        starts = np.arange(0, size, block)
        lengths = np.diff([*starts, size])
        sums = np.add.reduceat(cells, starts, axis=axis)
        cells = sums / np.expand_dims(lengths, 1 - axis)
    return cells


def _rgb(colour: str) -> NDArray[Any]:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
