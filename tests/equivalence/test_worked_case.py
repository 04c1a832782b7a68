"""The worked case of the documentation: two entangled causes, both named, and nothing else."""

from __future__ import annotations

from neurodeploy.equivalence.compare import compare, earliest
from neurodeploy.equivalence.deviations import Cause
from tests import pages_of_docs
from tests.builders import AT_ONCE, SUBTRACT
from tests.equivalence.worked_case import COARSE, FINE, converted, differing, figures
from tests.pages_of_docs import row

PRECISION = {Cause.WEIGHT_ROUNDING, Cause.DECAY_ROUNDING}


def test_it_is_attributed_to_reset_timing_and_precision() -> None:
    layers = converted(AT_ONCE, COARSE).layers()
    for layer in layers:
        assert layer.causes <= {Cause.RESET_TIMING, *PRECISION}
        assert {Cause.RESET_TIMING, Cause.WEIGHT_ROUNDING} <= layer.causes
        assert not layer.unexplained
        assert layer.local == sum(layer.histogram.values())
    assert layers[0].events == differing(converted(AT_ONCE, COARSE))
    assert frozenset({Cause.RESET_TIMING, Cause.WEIGHT_ROUNDING}) in layers[0].histogram


def test_each_cause_by_itself_is_named_alone() -> None:
    (hidden, _) = converted(AT_ONCE, FINE).layers()
    assert set(hidden.histogram) == {frozenset({Cause.RESET_TIMING})}
    (hidden, _) = converted(SUBTRACT, COARSE).layers()
    assert hidden.causes <= PRECISION
    assert differing(converted(SUBTRACT, FINE)) == 0


def test_the_first_difference_in_time_is_local() -> None:
    case = converted(AT_ONCE, COARSE)
    cell = earliest(compare(case.expected, case.actual, ["hidden", "decision"]))
    assert cell is not None
    event = case.event(cell)
    assert event is not None
    assert event.local
    assert event.causes
    assert event.margin > 0
    expected = bool(case.expected.spikes[cell.population][(cell.sample, cell.step, *cell.neuron)])
    assert (event.potential > event.threshold) == expected
    assert (event.chip_potential > event.threshold) != expected
    assert event.margin == abs(event.potential - event.threshold) / event.threshold


def test_the_figures_in_the_documentation() -> None:
    lines = [row("", "differing of 8,000"), row("---", "---:")]
    lines += [row(name, f"{count:,}") for name, count in figures().items()]
    pages_of_docs.check("causes.md", "worked", "\n".join(lines))
    layers = converted(AT_ONCE, COARSE).layers()
    lines = [row("layer", "causes", "cells"), row("---", "---", "---:")]
    for layer in layers:
        for causes, count in layer.histogram.items():
            names = " and ".join(str(cause) for cause in Cause if cause in causes)
            lines.append(row(layer.population, names, count))
        lines.append(row(layer.population, "inherited", layer.propagated))
    pages_of_docs.check("causes.md", "named", "\n".join(lines))


def test_the_causes_in_the_documentation() -> None:
    lines = [row("cause", "what it is"), row("---", "---")]
    lines += [row(cause, cause.text) for cause in Cause]
    pages_of_docs.check("causes.md", "causes", "\n".join(lines))
