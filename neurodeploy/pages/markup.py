"""HTML that is safe by default: whatever is not already `Html` is escaped."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

NONE = "\N{EN DASH}"
"""Stands where there is no value."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Html(str):
    """Markup; only functions of this module and the figures make it from text."""

    __slots__ = ()


def printable(value: object) -> str:
    """Text of `value` on one line, with control and direction characters replaced.

    Names come from files that anyone may have written.
    """
    return "".join(c if c.isprintable() else REPLACEMENT for c in str(value))


def shortened(value: object, limit: int = 28) -> str:
    """`printable` text of at most `limit` characters, for figures."""
    text = printable(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escape(value: object) -> Html:
    """`value` as markup: `Html` as it is, everything else escaped."""
    return value if isinstance(value, Html) else Html(html.escape(printable(value)))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """All parts, escaped where needed, with an escaped separator between them."""
    return Html(escape(separator).join(escape(part) for part in parts))


def element(name: str, *children: object, cls: str = "", **attributes: object) -> Html:
    """`<name class="cls" key="value">children</name>`; an underscore in a key means a hyphen.

    A figure can be wider than its page and scrolls then, also with the keyboard.
    """
    if name == "figure":
        attributes["tabindex"] = 0
    pairs = {"class": cls, **attributes} if cls else attributes
    start = "".join(f' {key.replace("_", "-")}="{escape(value)}"' for key, value in pairs.items())
    return Html(f"<{name}{start}>{join(children)}</{name}>")


def section(anchor: str, title: str, *children: object) -> Html:
    """A section with its heading."""
    return element("section", element("h2", title), *children, id=anchor)


def table(
    heads: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Collection[int] = (),
    cls: str = "",
) -> Html:
    """A table; the columns `numeric` are right-aligned, the first cell of a row is its heading."""

    def cell(name: str, index: int, value: object) -> Html:
        return element(name, value, cls="number" if index in numeric else "")

    head = element("tr", *(cell("th", i, value) for i, value in enumerate(heads)))
    body = [
        element("tr", *(cell("td" if i else "th", i, value) for i, value in enumerate(row)))
        for row in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body), cls=cls)
    return element("div", inner, cls="wide", tabindex=0)
