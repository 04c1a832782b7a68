"""The tables of the documentation's section on resources, from the data that they show."""

from __future__ import annotations

import re

import numpy as np

from neurodeploy import api
from neurodeploy.target import get_target
from neurodeploy.targets.spinnaker2.budget import budget
from neurodeploy.targets.spinnaker2.pes import BOUNDS
from neurodeploy.targets.spinnaker2.rules import RULES
from tests import pages_of_docs
from tests.dvs_gesture import dvs_gesture, gestures
from tests.pages_of_docs import row

TARGET = get_target("spinnaker2")
PAGE = "spinnaker2.md"


def test_the_table_of_limits() -> None:
    lines = [
        row("limit", "value", "unit", "kind", "source"),
        row("---", "--:", "---", "---", "---"),
    ]
    for name, limit in TARGET.chip.limits.items():
        lines.append(row(f"`{name}`", f"{limit.value:,}", limit.unit, limit.kind, limit.source))
    pages_of_docs.check(PAGE, "limits", "\n".join(lines))


def _named(fix: str) -> str:
    """What to do, with the names of what is filled in."""
    return re.sub(r"{(\w+)[^}]*}", r"‹\1›", fix)


def test_the_table_of_rules() -> None:
    lines = [row("rule", "measured", "limit", "what to do"), row("---", "---", "---", "---")]
    limits = TARGET.chip.limits
    for bound in BOUNDS:
        limit = limits[bound.limit]
        name = f"`spinnaker2.{bound.limit.replace('_', '-')}`"
        fix = _named(bound.fix)
        lines.append(row(name, bound.title, f"{limit.value:,} {limit.unit}", fix))
    pes = limits["cores_per_chip"].value * limits["chips_per_system"].value
    too_many = "Use fewer neurons or a smaller fan-in: so many fewer PEs are said."
    lines.append(row("`spinnaker2.cores-per-system`", "PEs in all", f"{pes:,} PEs", too_many))
    for name, rule in RULES.items():
        limit_name = name.replace("-", "_")
        limit = f"{limits[limit_name].value:,}" if limit_name in limits else "by neuron model"
        entry = (f"`spinnaker2.{name}`", rule.what, f"{limit} {rule.unit}", _named(rule.fix))
        lines.append(row(*entry))
    pages_of_docs.check(PAGE, "rules", "\n".join(lines))


def test_the_table_of_the_gesture_network() -> None:
    program = api.compile(dvs_gesture(), target="spinnaker2", calibration=gestures(1, 1, 600))
    placement = api.place(program)
    asked = budget(program, placement, TARGET.chip)
    lines = [
        row("", "neurons", "PEs", "neurons on one", "fullest PE, B", "packets in a tick",
            "busy in a tick, ms"),
        row("---", *["--:"] * 6),
    ]  # fmt: skip
    for name, resources in placement.resources.items():
        used = {item.name: item.used for item in resources}
        packets = int(asked.packets[np.unique(placement.core[name])].max())
        busy = asked.busy.get(name)
        span = f"{busy.low * 1e3:.2f} … {busy.high * 1e3:.2f}" if busy else ""
        fullest = f"{used['data memory, busiest core']:,}"
        cells = (f"{used['neurons']:,}", used["cores"], asked.atoms[name], fullest, packets, span)
        lines.append(row(name, *cells))
    total = {item.name: item.used for item in placement.total}
    lines.append(row("together", f"{total['neurons']:,}", f"{total['cores']} of 148", *[""] * 4))
    assert total["cores"] <= 148
    pages_of_docs.check(PAGE, "gesture", "\n".join(lines))
