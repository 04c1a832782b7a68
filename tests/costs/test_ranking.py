"""Two programs on one chip: what they share must cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.chip import Chip
from neurodeploy.costs import count
from neurodeploy.costs.draws import Drawn, draw
from neurodeploy.costs.models import CORE
from neurodeploy.costs.ranking import rank
from neurodeploy.trace import Trace
from tests.costs.provenance import unproven


def drawn(case: Any, chip: Chip) -> Drawn:
    return draw(count(case.program, case.trace, case.placement), chip, case.placement)


def test_a_program_against_itself_is_a_tie(case: Callable, chip: Chip) -> None:
    one = drawn(case(1), chip)
    ranking = rank(one, one, chip.title)
    assert set(ranking.by_name) == {*one.plain, "total", "latency"}
    for item in ranking.by_name.values():
        assert item.probability.typical == 0.5
        assert item.ratio.low == item.ratio.high == 1


def test_shared_errors_cancel(case: Callable, chip: Chip) -> None:
    """A tenth fewer synaptic events: intervals overlap widely, yet the order is certain."""
    more = case(3, 0.4)
    counts = count(more.program, more.trace, more.placement)
    fewer = replace(counts, synaptic_events={"all": (0.9 * _events(counts)).astype(int)})
    first, second = (draw(c, chip, more.placement) for c in (fewer, counts))
    low, high = np.percentile(second.sum(CORE), [5, 95])
    assert low < np.median(first.sum(CORE)) < high
    item = rank(first, second, chip.title).by_name[CORE]
    assert item.probability.typical == 1
    assert item.ratio.high < 1
    assert item.ratio.high / item.ratio.low < 1.1
    reverse = rank(second, first, chip.title).by_name[CORE]
    assert reverse.probability.typical == 0


def test_the_probability_is_a_share_of_draws(chip: Chip, case: Callable) -> None:
    """More events against more updates: the order depends on constants that are uncertain."""
    one = case(3, 0.4)
    counts = count(one.program, one.trace, one.placement)
    total = _events(counts)
    busy = replace(counts, synaptic_events={"all": 2 * total})
    slow = replace(counts, updates={"all": counts.total(counts.updates) + total // 2})
    first, second = (draw(c, chip, one.placement) for c in (busy, slow))
    item = rank(first, second, chip.title).by_name[CORE]
    wins = np.mean(first.sum(CORE) < second.sum(CORE))
    assert item.probability.typical == pytest.approx(wins)
    assert not list(unproven(rank(first, second, chip.title).to_dict()))


def test_a_line_that_costs_nothing_has_no_ratio(case: Callable, chip: Chip) -> None:
    silent = case(5, 0.0)
    quiet = Trace({name: 0 * spikes for name, spikes in silent.trace.spikes.items()})
    one = drawn(silent._replace(trace=quiet), chip)
    assert "host and I/O" not in rank(one, one, chip.title).by_name


def _events(counts: Any) -> np.ndarray:
    return counts.total(counts.synaptic_events)
