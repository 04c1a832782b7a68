"""A program file checked by itself, with numpy alone: do its golden traces come out again?

Nothing but numpy is imported for it, no compiler and no framework, so that a file can be checked
wherever Python runs, and by arithmetic that shares no kernel with the simulator.
"""

from __future__ import annotations

from neurodeploy.equivalence.compare import compare, totals
from neurodeploy.equivalence.stage import Stage
from neurodeploy.errors import DesignRuleError, InputError
from neurodeploy.program import Program
from neurodeploy.simulator.plain import simulate
from neurodeploy.target import get_target
from neurodeploy.trace import Trace


def replay(program: Program) -> Stage:
    """Run the golden inputs in plain numpy and compare every message of every population.

    Raises
    ------
    DesignRuleError
        The program breaks a rule of its chip.
    InputError
        It carries no golden traces of all its populations.
    """
    target = get_target(program.target)
    violations = target.check(program)
    if violations:
        raise DesignRuleError(violations)
    names = [population.name for population in program.populations]
    if program.golden is None or set(program.golden.spikes) != set(names):
        raise InputError(
            "the program has no golden traces of all its populations",
            hint="Give inputs, and it is compared with its reference.",
        )
    expected = Trace.of_sent({**program.golden.inputs, **program.golden.spikes})
    actual = simulate(program, program.golden.inputs, target.machine)
    layers = compare(expected, actual, names)
    differing, cells = totals(layers)
    text = f"{differing:,} of {cells:,} messages differ"
    return Stage(
        "golden",
        "golden traces in the program against plain numpy",
        "failed" if differing else "passed",
        text,
        layers,
        expected.samples,
    )
