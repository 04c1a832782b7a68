"""Numbers as markup: with unit, interval and kind."""

from __future__ import annotations

from neurodeploy.pages.markup import Html, element, join
from neurodeploy.quantity import Kind, Quantity, engineering

KINDS: dict[Kind, str] = {
    "counted": "an exact integer from the bit-accurate run",
    "simulated": "came out of a simulation",
    "derived": "computed from other numbers",
    "literature": "read in the source given",
    "measured": "measured on hardware by us",
}


def kind(name: Kind) -> Html:
    """The kind of the number before it, as a tag."""
    return element("span", name, cls="kind", title=KINDS[name])


def magnitude(value: float, unit: str) -> str:
    """A value with its unit and an SI prefix; a count (unit `1`) with separators."""
    if unit != "1":
        return engineering(value, unit)
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:,.4g}"


def interval(value: Quantity) -> str:
    """`low … high`."""
    return f"{magnitude(value.low, value.unit)} … {magnitude(value.high, value.unit)}"


def quantity(value: Quantity) -> Html:
    """Typical value, interval and kind."""
    return join(
        (
            element("b", magnitude(value.typical, value.unit)),
            element("span", interval(value), cls="interval"),
            kind(value.kind),
        ),
        " ",
    )


def percent(value: float) -> str:
    """An accuracy, two decimals."""
    return f"{100 * value:.2f} %"


def rate(part: int, whole: int) -> str:
    """A share that may be tiny, three significant digits."""
    share = f"{100 * part / whole:#.3g}".rstrip(".") if part else "0"
    return f"{share} %"
