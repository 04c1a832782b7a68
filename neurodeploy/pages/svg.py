"""matplotlib figures as inline SVG: one unit is one CSS pixel, equal input gives equal bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from neurodeploy.pages.markup import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 72
WIDTH = 1040.0
INK, MUTED, GRID = "#1b1f24", "#5a6470", "#dfe3e8"
THEMED = {INK: "ink", MUTED: "muted", GRID: "line", "#0072b2": "blue"}
"""Colours that the page's style sheet chooses, for a light page and a dark one."""
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "neurodeploy",  # ids do not change from run to run
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.left": False,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 12.0,
    "axes.labelsize": 11.0,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
}


@contextmanager
def style() -> Iterator[None]:
    """Our settings for figures made inside, whatever the caller's matplotlib is set to."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def canvas(height: float) -> Figure:
    """An empty figure, `WIDTH` x `height` pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / PIXELS_PER_INCH, height / PIXELS_PER_INCH), dpi=PIXELS_PER_INCH)


def axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the top left corner."""
    full = figure.get_figheight() * PIXELS_PER_INCH
    return figure.add_axes((left / WIDTH, 1 - (top + height) / full, width / WIDTH, height / full))


def inline(figure: Figure, name: str, description: str) -> Html:
    """The figure as an `<svg>` element.

    Parameters
    ----------
    name: prefix of its ids, unique on the page.
    description: what it shows, for those who do not see it.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names in any script: the reader's browser has the glyphs, not the font used for layout.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    _clean(root, name)
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib.clear()
    root.attrib.update(
        {"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "role": "img"}
    )
    title = ElementTree.Element("title")
    title.text = description
    root.insert(0, title)
    text = ElementTree.tostring(root, encoding="unicode")
    for colour, variable in THEMED.items():
        text = text.replace(f": {colour}", f": var(--{variable})")
    return Html(text)


def _clean(root: ElementTree.Element, name: str) -> None:
    """Drop namespaces, metadata and the style sheet (it would reach the whole page); prefix ids."""
    for parent in root.iter():
        parent.tag = _local(parent.tag)
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
        for key in list(parent.attrib):
            value = parent.attrib.pop(key)
            parent.attrib[_local(key)] = _renamed(_local(key), value, name)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _renamed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")
