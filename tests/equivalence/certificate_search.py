"""Searches for inputs that lead a register beyond its certified bounds.

    python -m tests.equivalence.certificate_search [inputs]

Many chains of inputs, each with one neuron, register and direction as its goal, start at the
extremes, at random, and with everything on; a chain's input is changed in a few places, over a
time or at a source, and the change is kept where it leads at least as far.  Every input that is
tried is held against the bounds of *all* registers of all neurons.  Prints the table of
docs/certificates.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

import neurodeploy as nd
from neurodeploy.equivalence.certificate import Checked, attacks, checked, observed
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Target, get_target
from neurodeploy.trace import Spikes, Trace
from tests.builders import AT_ONCE, HELD, NONE, SUBTRACT, ZERO, chain, cuba, lif, spikes_for

STEPS = 64
CHAINS = 1000
SIZES = (10, 6, 3)
TARGETS = ("loihi2", "cpu8", "cpu16", "spinnaker2")
MEANINGS = {"zero": ZERO, "subtract": SUBTRACT, "at once": AT_ONCE, "held": HELD, "none": NONE}
ALSO = {"spinnaker2": "at once", "cpu8": "held", "cpu16": "at once", "loihi2": "none"}


@dataclass
class Found:
    """What a search came to.

    Attributes
    ----------
    inputs: how many were run.
    outside: values beyond a bound.
    registers: how many bounds there are, of every register of every neuron in both directions.
    attained: how many of them were reached exactly, in `first` by the neurons next to the input.
    """

    program: str
    inputs: int
    outside: int
    registers: int
    attained: int
    first: int
    first_registers: int


def programs() -> dict[str, tuple[Program, Target]]:
    """Two layers with decays, thresholds and biases of their own, for each target and reset."""
    found = {}
    for target in TARGETS:
        for name in ("zero", "subtract", ALSO[target], "synaptic"):
            rng = np.random.default_rng(len(found))
            inputs, hidden, outputs = SIZES
            meaning = ZERO if name == "synaptic" else MEANINGS[name]
            beta = rng.choice([0.5, 0.625, 0.75], hidden)
            first = (
                cuba(np.full(hidden, 0.5), beta) if name == "synaptic" else lif(beta, 1, meaning)
            )
            graph = chain(
                (inputs,),
                fc1=nir.Linear(rng.normal(0, 0.5, (hidden, inputs))),
                lif1=first,
                fc2=nir.Linear(rng.normal(0, 0.5, (outputs, hidden))),
                lif2=lif(np.full(outputs, 0.5), 1.0, ZERO),
            )
            spikes = spikes_for(1, 4, STEPS, (inputs,))
            compiled = nd.compile(graph, target=target, calibration=spikes)
            found[f"{target}, {name}"] = compiled, get_target(target)
    return found


def values_of(
    program: Program, target: Target, item: Checked, trace: Trace
) -> Mapping[str, NDArray[np.float64]]:
    """By register, (samples, steps, neurons): what was written, or where the chip computes in
    float32, the states before and after a reset."""
    written = dict(observed(program, target, item, trace))
    if written:
        return written
    states = trace.states[item.population.name]
    flat = {n: s.reshape(trace.samples, trace.steps, -1).astype(float) for n, s in states.items()}
    return {**flat, "v": np.concatenate([flat["v"], flat["potential"]], axis=1)}


def search(
    name: str, program: Program, target: Target, inputs: int, seed: int, chains: int = CHAINS
) -> Found:
    """Run `inputs` inputs, in rounds of `chains`."""
    rng, items = np.random.default_rng(seed), list(checked(program, target))
    goals = [
        (i, register.name, neuron, sign)
        for i, item in enumerate(items)
        for register in item.registers
        if not register.name.startswith("sum")
        for neuron in range(item.population.size)
        for sign in (1, -1)
    ]
    chosen = [goals[i % len(goals)] for i in range(chains)]
    (port,) = program.inputs
    best = np.zeros((chains, STEPS, *port.shape), np.uint8)
    for index, (i, _, neuron, sign) in enumerate(chosen):
        (start, *_) = attacks(program, items[i], neuron, sign)
        best[index] = start[port.name][0, :STEPS]
    best[chains // 2 :: 3] = 1
    best[chains // 2 + 1 :: 3] = rng.random(best[chains // 2 + 1 :: 3].shape) < 0.5
    score = np.full(chains, -np.inf)
    outside, reached = 0, {goal: -np.inf for goal in goals}
    for turn in range(-(-inputs // chains)):
        tried = best if turn == 0 else _changed(best, rng)
        names = [item.population.name for item in items]
        trace = simulate(program, tried, target.machine, record=names)
        found = np.full(chains, -np.inf)
        for i, item in enumerate(items):
            values = values_of(program, target, item, trace)
            for register in item.registers:
                if register.name not in values:
                    continue
                seen = values[register.name]
                outside += int(np.count_nonzero((seen < register.low) | (seen > register.high)))
                extremes = {1: seen.max(axis=1), -1: -seen.min(axis=1)}
                for goal in reached:
                    if goal[:2] == (i, register.name):
                        extreme = extremes[goal[3]][:, goal[2]]
                        reached[goal] = max(reached[goal], float(extreme.max()))
                for index, goal in enumerate(chosen):
                    if goal[:2] == (i, register.name):
                        found[index] = extremes[goal[3]][index, goal[2]]
        better = found >= score
        best = np.where(better.reshape(-1, *[1] * (best.ndim - 1)), tried, best)
        score = np.maximum(score, found)
    attained = {goal for goal in goals if reached[goal] == _bound(items, goal)}
    first = {goal for goal in goals if goal[0] == 0}
    rounds = -(-inputs // chains) * chains
    return Found(
        name, rounds, outside, len(goals), len(attained), len(attained & first), len(first)
    )


def _bound(items: list[Checked], goal: tuple[int, str, int, int]) -> float:
    i, name, neuron, sign = goal
    register = next(r for r in items[i].registers if r.name == name)
    return float(register.high[neuron] if sign > 0 else -register.low[neuron])


def _changed(spikes: Spikes, rng: np.random.Generator) -> Spikes:
    """A few bits of each sample, one source over a while, one step, or a shift in time."""
    changed = spikes.copy()
    samples, steps, inputs = spikes.shape
    kind = rng.integers(0, 4, samples)
    at, source = rng.integers(0, steps, samples), rng.integers(0, inputs, samples)
    until = at + rng.integers(1, steps, samples)
    for s in range(samples):
        if kind[s] == 0:
            changed[s, at[s], source[s]] ^= 1
        elif kind[s] == 1:
            changed[s, at[s] : until[s], source[s]] ^= 1
        elif kind[s] == 2:
            changed[s, at[s]] = rng.integers(0, 2, inputs)
        else:
            changed[s] = np.roll(changed[s], 1, axis=0)
    return changed


HEADER = (
    "| program | inputs | values outside | bounds reached, next to the input | of all |",
    "| --- | ---: | ---: | ---: | ---: |",
)


def table(found: list[Found]) -> list[str]:
    """In Markdown, with a line for the sum."""
    rows = [
        f"| {x.program} | {x.inputs:,} | {x.outside:,} | {x.first} of {x.first_registers} "
        f"| {x.attained} of {x.registers} |"
        for x in found
    ]
    total = [sum(getattr(x, f) for x in found) for f in ("inputs", "outside", "first",
             "first_registers", "attained", "registers")]  # fmt: skip
    rows.append(
        f"| together | {total[0]:,} | {total[1]:,} | {total[2]} of {total[3]} "
        f"| {total[4]} of {total[5]} |"
    )
    return [*HEADER, *rows]


def main(inputs: int) -> None:
    """Spread `inputs` over all programs."""
    made = programs()
    each = -(-inputs // len(made))
    found = [search(name, *made[name], each, seed) for seed, name in enumerate(made)]
    sys.stdout.write("\n".join(table(found)) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
