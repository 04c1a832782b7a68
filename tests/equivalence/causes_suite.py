"""Programs with known deviations: what their causes are found to be.

Each case is a network that a target lowers exactly, down to the last bit, and a reference that
differs from it in one or two known ways, or a program whose registers were edited in one.  So every
differing spike has exactly these causes.  `python -m tests.equivalence.causes_suite` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.equivalence.causes import Attribution, LayerCauses
from neurodeploy.equivalence.deviations import Cause, Causes
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.trace import check_currents, check_inputs
from tests.builders import AT_ONCE, SUBTRACT, ZERO, lif, network, recorded, spikes_for

INPUTS, NEURONS, SAMPLES, STEPS = 12, 16, 60, 10
TARGETS = ("cpu8", "loihi2", "spinnaker2")
RNG = np.random.default_rng(11)
WEIGHT = RNG.integers(-6, 9, (NEURONS, INPUTS)) / 8
OFF_GRID = WEIGHT + RNG.uniform(-0.04, 0.04, WEIGHT.shape)
LARGE = RNG.random(WEIGHT.shape) < 0.05
SMALL = RNG.integers(0, 2, WEIGHT.shape)
Edit = Callable[[Program], Program]


def unedited(program: Program) -> Program:
    """As it is."""
    return program


@dataclass(frozen=True, eq=False)
class Injection:
    """One deviation: what of `build` the reference and the chip have, and an edit of the program.

    Attributes
    ----------
    base: what both have.
    targets: where it can be injected.
    """

    cause: Cause
    reference: dict[str, Any] = field(default_factory=dict)
    chip: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = TARGETS
    edit: Edit = unedited
    data: str = "spikes"


def build(
    weight: Any = WEIGHT,
    decay: float = 0.5,
    current_decay: float = 0.0,
    threshold: float = 1.0,
    bias: float = 0.0,
    delay: int = 0,
    semantics: Any = ZERO,
    **meaning: Any,
) -> Network:
    """One population; `meaning` replaces fields of its semantics."""
    net = network((INPUTS,), w=nir.Linear(weight), one=lif(np.full(NEURONS, 0.5)))
    (population,), (connection,) = net.populations, net.connections
    full = np.ones(NEURONS)
    population = replace(
        population,
        decay=decay * full,
        current_decay=current_decay * full,
        threshold=threshold * full,
        bias=bias * full,
        semantics=replace(semantics, **meaning),
    )
    return replace(net, populations=(population,), connections=(replace(connection, delay=delay),))


def rescaled(program: Program, power: int) -> Program:
    """All numbers of a program for Loihi, without a bias, times 2^`power`."""
    (neurons,) = program.populations
    vth = neurons.register("vth")
    registers = {**neurons.parameters, "vth": vth << power if power > 0 else vth >> -power}
    synapses = tuple(replace(s, exponent=s.exponent + power) for s in program.synapses)
    changed = replace(neurons, parameters=registers, unit=neurons.unit * 2.0**power)
    return replace(program, populations=(changed,), synapses=synapses)


def coarse(program: Program) -> Program:
    """With so few bits below a weight that rounding states can be seen."""
    if program.target == "loihi2":
        return rescaled(program, -min(s.exponent for s in program.synapses))
    if program.target == "spinnaker2":
        return program
    (neurons,), (synapses,) = program.populations, program.synapses
    power = synapses.exponent
    names = ("threshold", "amount")
    registers = {**neurons.parameters, **{n: neurons.register(n) >> power for n in names}}
    changed = replace(neurons, parameters=registers, unit=neurons.unit / 2.0**power)
    return replace(program, populations=(changed,), synapses=(replace(synapses, exponent=0),))


def narrow(program: Program, *, saturate: int = 1) -> Program:
    """With states of twice the threshold."""
    (neurons,) = program.populations
    if program.target == "loihi2":
        return rescaled(program, 16 - int(np.log2(neurons.register("vth").item())))
    bits = int(np.log2(neurons.register("threshold").item())) + 2
    changes = {"state_bits": np.array([bits]), "saturate": np.array([saturate])}
    changed = replace(neurons, parameters={**neurons.parameters, **changes})
    return replace(program, populations=(changed,))


def wrapping(program: Program) -> Program:
    """As `narrow`, with states that wrap."""
    return narrow(program, saturate=0)


INJECTIONS: tuple[Injection, ...] = (
    Injection(Cause.WEIGHT_ROUNDING, {"weight": OFF_GRID}),
    Injection(
        Cause.WEIGHT_CLIPPING,
        {"weight": np.where(LARGE, np.sign(WEIGHT + 0.01) * 200 / 32, WEIGHT)},
        {"weight": np.where(LARGE, np.sign(WEIGHT + 0.01) * 127 / 32, WEIGHT)},
    ),
    Injection(Cause.DECAY_ROUNDING, {"decay": 0.54}),
    Injection(Cause.CURRENT_DECAY_ROUNDING, {"current_decay": 0.45}, base={"current_decay": 0.5}),
    Injection(Cause.THRESHOLD_ROUNDING, {"threshold": 1.07}),
    Injection(Cause.BIAS_ROUNDING, {"bias": 0.09}, base={"bias": 0.0625}),
    Injection(Cause.INITIAL_STATE, {"initial_state": 0.3}),
    Injection(Cause.STATE_TRUNCATION, base={"decay": 0.8125}, edit=coarse, data="tiny"),
    Injection(
        Cause.SATURATION,
        base={"weight": (SMALL / 8 + 0.25) * np.repeat([-1, 1], INPUTS // 2)},
        targets=("cpu8", "loihi2"),
        edit=narrow,
        data="few",
    ),
    Injection(
        Cause.WRAP,
        base={"weight": WEIGHT - 0.25, "semantics": SUBTRACT},
        targets=("cpu8", "loihi2"),
        edit=wrapping,
    ),
    Injection(Cause.RESET_KIND, {"semantics": SUBTRACT}, {"semantics": ZERO}),
    Injection(Cause.RESET_KIND, {"semantics": ZERO}, {"semantics": AT_ONCE}),
    Injection(Cause.RESET_TIMING, {"semantics": SUBTRACT}, {"semantics": AT_ONCE}),
    Injection(Cause.RESET_TIMING, {"semantics": AT_ONCE}, {"semantics": SUBTRACT}),
    Injection(
        Cause.RESET_TIMING,
        {"semantics": replace(ZERO, reset_timing="after-input")},
        targets=("cpu8",),
    ),
    Injection(Cause.RESET_AMOUNT, {"reset_amount": 1.25}, base={"semantics": SUBTRACT}),
    Injection(Cause.DELAY, {}, {"delay": 1}, targets=("loihi2", "spinnaker2")),
    Injection(Cause.COMPARISON, {"comparison": ">="}, targets=("cpu8", "loihi2")),
    Injection(Cause.COMPARISON, {}, {"comparison": ">="}, targets=("cpu8", "spinnaker2")),
    Injection(Cause.SPIKE_CAP, {"spikes_per_step": 3}, base={"semantics": SUBTRACT}),
    Injection(Cause.INPUT_QUANTISATION, targets=("loihi2",), data="analog"),
)
PAIRS = (
    (Cause.WEIGHT_ROUNDING, Cause.DECAY_ROUNDING),
    (Cause.WEIGHT_ROUNDING, Cause.RESET_TIMING),
    (Cause.DECAY_ROUNDING, Cause.RESET_TIMING),
    (Cause.WEIGHT_ROUNDING, Cause.BIAS_ROUNDING),
    (Cause.BIAS_ROUNDING, Cause.RESET_KIND),
    (Cause.WEIGHT_CLIPPING, Cause.THRESHOLD_ROUNDING),
    (Cause.DELAY, Cause.WEIGHT_ROUNDING),
    (Cause.RESET_AMOUNT, Cause.COMPARISON),
)


@dataclass(frozen=True, eq=False)
class Case:
    """A program, and what was injected."""

    target: str
    injections: tuple[Injection, ...]

    @property
    def injected(self) -> Causes:
        """The causes of all differences."""
        return frozenset(injection.cause for injection in self.injections)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.target}: {' and '.join(str(i.cause) for i in self.injections)}"

    def attribution(self, injected: bool = True) -> Attribution:
        """Both runs; or, not `injected`, those of the network that was lowered, unedited."""
        base = {k: v for i in self.injections for k, v in i.base.items()}
        chip = build(**base, **{k: v for i in self.injections for k, v in i.chip.items()})
        wanted = {k: v for i in self.injections for k, v in (i.chip | i.reference).items()}
        for i in self.injections:
            wanted = {k: v for k, v in wanted.items() if k in i.reference or k not in i.chip}
        meant = build(**base | wanted)
        data, calibration = _data([i.data for i in self.injections])
        target = get_target(self.target)
        program = target.lower(chip, recorded(chip, calibration))
        if not injected:
            meant, data = chip, calibration
        else:
            for injection in self.injections:
                program = injection.edit(program)
        given = check_currents(data, program.input_shapes)
        sent = check_inputs(given, program.input_shapes, program.graded, program.grids)
        expected = reference.simulate(meant, given)
        actual = simulate(program, sent, target.machine)
        return Attribution(program, meant, given, sent, expected, target, actual)


def _data(kinds: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(inputs, what the program is calibrated on)."""
    spikes = spikes_for(7, SAMPLES, STEPS, (INPUTS,), 0.3)
    if "analog" in kinds:
        rng = np.random.default_rng(4)
        grid = rng.integers(0, 8, spikes.shape) / 8
        grid.flat[0] = 1.0
        return np.clip(grid + rng.uniform(-0.05, 0.05, grid.shape), 0, 1), grid
    if "tiny" in kinds:
        return np.concatenate([_near_ties(), spikes_for(7, SAMPLES, 120, (INPUTS,), 0.15)]), spikes
    if "few" in kinds:
        return _few(), spikes
    return spikes, spikes


def _few() -> NDArray[np.uint8]:
    """Up to four of one half of the inputs at once, so that no step alone leaves a register."""
    rng = np.random.default_rng(5)
    order = rng.random((SAMPLES, STEPS, 2, INPUTS // 2)).argsort(axis=3)
    chosen = rng.integers(0, 2, (SAMPLES, STEPS, 1, 1)) == np.arange(2)[:, np.newaxis]
    few = order < rng.integers(2, 5, (SAMPLES, STEPS, 1, 1))
    return np.asarray(few & chosen, np.uint8).reshape(SAMPLES, STEPS, INPUTS)


def _near_ties() -> NDArray[np.uint8]:
    """Long after a first input others bring neurons to their threshold: what is left decides."""
    found = np.zeros((4 * INPUTS * INPUTS, 120, INPUTS), np.uint8)
    for sample, (wait, first, last) in enumerate(np.ndindex(4, INPUTS, INPUTS)):
        found[sample, 0, first] = 1
        found[sample, 80 + 5 * wait, last] = 1
    return found


def cases() -> Iterator[Case]:
    """Every injection on every target that can have it, and pairs of injections."""
    for injection in INJECTIONS:
        yield from (Case(target, (injection,)) for target in injection.targets)
    for pair in PAIRS:
        one, other = (next(i for i in INJECTIONS if i.cause is cause) for cause in pair)
        for target in TARGETS:
            if target in one.targets and target in other.targets:
                yield Case(target, (one, other))


@dataclass(frozen=True, eq=False)
class Result:
    """What was found of a case."""

    case: Case
    layer: LayerCauses

    @property
    def right(self) -> bool:
        """Whether all that was injected was named, at some event each, and nothing else."""
        return self.layer.causes == self.case.injected and not self.layer.unexplained


def run(case: Case) -> Result:
    """The causes that are found."""
    (layer,) = case.attribution().layers()
    return Result(case, layer)


def table(results: list[Result]) -> str:
    """One line for each case, and the sum of all."""
    lines = []
    for result in results:
        layer = result.layer
        found = "; ".join(
            f"{' + '.join(str(c) for c in Cause if c in causes)} {count}"
            for causes, count in layer.histogram.items()
        )
        lines.append(
            f"{'right' if result.right else 'WRONG'}  {result.case.name:62s} {layer.local:5d} local"
            f" {layer.propagated:5d} inherited  {found}"
            + (f"; unexplained {layer.unexplained}" if layer.unexplained else "")
            + (f" ({layer.reason})" if layer.reason else "")
        )
    right = sum(result.right for result in results)
    blamed = sum(bool(r.layer.causes - r.case.injected) for r in results)
    lines.append(f"{right} of {len(results)} right; {blamed} blame what is not there")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    import sys

    sys.stdout.write(table([run(case) for case in cases()]) + "\n")


if __name__ == "__main__":
    main()
