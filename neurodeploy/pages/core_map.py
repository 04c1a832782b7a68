"""The picture of the core map: what stands where, and the packets on every link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.mapping.placement import Placement
from neurodeploy.mapping.traffic import Links
from neurodeploy.pages import svg
from neurodeploy.pages.markup import Html, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Of populations, in their order and then again; from Okabe and Ito."""
LARGEST = 84.0
"""Pixels from router to router, at most."""
LEGEND = 22.0
"""Pixels of one line of the legend."""
NAMES = 4
"""Names in one line of the legend."""


def core_map(placement: Placement) -> Html:
    """Every router with its cores, one square each, coloured by population; links between routers.

    A link's width and darkness are its packets over those of the busiest; a pair of links in both
    directions is drawn once, with the sum.
    """
    columns, rows = (int(most) + 1 for most in placement.tiles.max(axis=0))
    step = min(LARGEST, svg.WIDTH / columns)
    lines = -(-len(placement.core) // NAMES)
    height = step * rows + LEGEND * (lines + 1)
    with svg.style():
        figure = svg.canvas(height)
        ax = svg.axes(figure, 0, 0, svg.WIDTH, height)
        ax.set_xlim(0, svg.WIDTH)
        ax.set_ylim(height, 0)
        ax.axis("off")
        busiest = _links(ax, placement.links, step)
        _cores(ax, placement, step)
        for index, name in enumerate(placement.core):
            line, place = divmod(index, NAMES)
            x, y = place * svg.WIDTH / NAMES, step * rows + LEGEND * (line + 0.5)
            _square(ax, x, y - 6, 12, _colour(index))
            ax.text(x + 18, y, shortened(name), va="center")
        text = f"darkest link: {busiest:,} packets" if busiest else "no packets between routers"
        ax.text(0, height - LEGEND / 2, text, va="center", color=svg.MUTED)
        return svg.inline(
            figure,
            "core-map",
            f"{placement.cores} cores on {placement.chips} chips, and the packets between them",
        )


def standalone(picture: Html) -> str:
    """The picture as an SVG file, in the colours of a light page."""
    text = str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"
    for colour, variable in svg.THEMED.items():
        text = text.replace(f"var(--{variable})", colour)
    return text


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _square(ax: Axes, x: float, y: float, size: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((x, y), size, size, facecolor=colour, edgecolor="white", linewidth=1))


def _cores(ax: Axes, placement: Placement, step: float) -> None:
    """Up to four squares at every router, two by two."""
    size = 0.24 * step
    own = np.zeros(placement.cores, np.int64)
    for index, core in enumerate(placement.core.values()):
        own[core] = index
    seen: dict[tuple[int, int], int] = {}
    for number, (x, y) in enumerate(placement.tiles.tolist()):
        down, right = divmod(seen.get((x, y), 0), 2)
        seen[x, y] = seen.get((x, y), 0) + 1
        left, top = (x + 0.5) * step - size, (y + 0.5) * step - size
        _square(ax, left + right * size, top + down * size, size, _colour(int(own[number])))


def _links(ax: Axes, links: Links, step: float) -> int:
    """Both directions of each link as one line; the most packets that one carries."""
    across = links.east[:, :-1] + links.west[:, 1:]
    down = links.south[:-1] + links.north[1:]
    busiest = max(int(across.max(initial=0)), int(down.max(initial=0)))
    for which, (dx, dy) in ((across, (1, 0)), (down, (0, 1))):
        for (y, x), packets in np.ndenumerate(which):
            share = int(packets) / busiest if packets else 0.0
            ax.plot(
                ((x + 0.5) * step, (x + dx + 0.5) * step),
                ((y + 0.5) * step, (y + dy + 0.5) * step),
                color=svg.INK if packets else svg.GRID,
                alpha=0.25 + 0.75 * share if packets else 1.0,
                linewidth=1 + 7 * share,
                zorder=0,
            )
    return busiest
