"""Two entangled causes in one conversion: another reset timing, and too few bits.

A model resets one step after a spike, as snnTorch does by default; a conversion resets at once, and
on a coarse format besides.  Taken back for a whole run, one cause or the other changes the number
of differing spikes in ways that say little about either.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import nir
import numpy as np

from neurodeploy import reference
from neurodeploy.equivalence.causes import Attribution
from neurodeploy.equivalence.compare import compare
from neurodeploy.network import Network
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.cpu.format import FixedPoint, installed_formats
from neurodeploy.targets.cpu.target import Cpu
from tests.builders import AT_ONCE, SUBTRACT, lif, network, recorded, spikes_for

WINDOWS, STEPS, HIDDEN = 10, 25, 32
FINE = next(form for form in installed_formats() if form.name == "cpu16")
COARSE = replace(
    FINE,
    name="coarse",
    title="6-bit weights, decay by a 7-bit fraction",
    weight_bits=6,
    state_bits=24,
    threshold_bits=23,
    decay_bits=7,
)


def model(semantics: Semantics) -> Network:
    """40 inputs, 32 hidden neurons, 4 outputs; all numbers are on the fine format's grid."""
    rng = np.random.default_rng(20)

    def weights(rows: int, columns: int, gain: float) -> nir.Linear:
        values = rng.normal(0.3 / columns, gain / np.sqrt(columns), (rows, columns))
        return nir.Linear(np.rint(values * 2.0**12) / 2.0**12)

    return network(
        (40,),
        first=weights(HIDDEN, 40, 1.0),
        hidden=lif(np.full(HIDDEN, 461 / 512), semantics=semantics),
        second=weights(4, HIDDEN, 2.0),
        decision=lif(np.full(4, 461 / 512), semantics=semantics),
    )


@cache
def converted(semantics: Semantics, form: FixedPoint) -> Attribution:
    """Both runs of the model, which resets late, and of its conversion with other semantics."""
    meant, target = model(SUBTRACT), Cpu(form)
    data = spikes_for(9, WINDOWS, STEPS, (40,), 0.25)
    program = target.lower(model(semantics), recorded(model(semantics), data))
    given = {"input": data}
    expected = reference.simulate(meant, given)
    actual = simulate(program, given, target.machine)
    return Attribution(program, meant, given, given, expected, target, actual)


def differing(case: Attribution) -> int:
    """How many cells of the hidden layer differ."""
    (layer,) = compare(case.expected, case.actual, ["hidden"])
    assert layer.cells == WINDOWS * STEPS * HIDDEN
    return layer.mismatches


def figures() -> dict[str, int]:
    """Differing hidden cells of 8,000: as converted, with one cause taken back, with both."""
    return {
        "as converted": differing(converted(AT_ONCE, COARSE)),
        "precision undone": differing(converted(AT_ONCE, FINE)),
        "timing undone": differing(converted(SUBTRACT, COARSE)),
        "both undone": differing(converted(SUBTRACT, FINE)),
    }
