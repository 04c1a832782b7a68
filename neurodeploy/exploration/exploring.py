"""`explore`: candidates, their Pareto front, and the pick with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy._version import __version__
from neurodeploy.archive import content_hash
from neurodeploy.choices import Settings
from neurodeploy.compilation import completed, lowered
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.errors import DesignRuleError, InputError, ModelError, SemanticsError
from neurodeploy.exploration.candidate import Candidate, evaluate, front
from neurodeploy.exploration.search import search
from neurodeploy.exploration.state import State
from neurodeploy.frontends.nir import plain
from neurodeploy.network import Network
from neurodeploy.quantity import engineering
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Explores, Target
from neurodeploy.trace import Trace, check_inputs

DROP = 0.01
"""What the accuracy may be below the reference's where no least accuracy is given."""


@dataclass(frozen=True)
class Constraints:
    """What a pick must hold.

    Attributes
    ----------
    accuracy: the least share of right decisions, by the point estimate; None for that of the
        reference less `DROP`.
    energy: the most, in J per inference: the median of what the program causes.
    cores: the most.

    Raises
    ------
    InputError
        An accuracy outside 0..1, or a limit that is not positive.
    """

    accuracy: float | None = None
    energy: float | None = None
    cores: int | None = None

    def __post_init__(self) -> None:
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise InputError(f"accuracy is {self.accuracy}, expected one in 0..1")
        for name in ("energy", "cores"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}, expected more than 0")

    def broken(self, candidate: Candidate, floor: float) -> tuple[str, ...]:
        """What a usable candidate breaks, in words; `floor` is the least accuracy."""
        return tuple(self._broken(candidate, floor))

    def _broken(self, candidate: Candidate, floor: float) -> Iterator[str]:
        if candidate.correct.value < floor:
            yield f"right {candidate.correct.value:.1%}, least {floor:.1%}"
        if self.energy is not None and candidate.energy is not None:
            energy = candidate.energy.typical
            if energy > self.energy:
                yield f"{engineering(energy, 'J')}, at most {engineering(self.energy, 'J')}"
        if self.cores is not None and candidate.cores is not None and candidate.cores > self.cores:
            yield f"{candidate.cores} cores, at most {self.cores}"


@dataclass(frozen=True)
class Exploration:
    """What a search found.

    Attributes
    ----------
    labelled: whether decisions are compared with labels, or else with those of the reference.
    reference: how many decisions of the reference are right.
    floor: the least accuracy that a pick must have.
    candidates: in the order in which they were tried.
    front: indices of those that no other beats, see `candidate.front`.
    pick: index of the cheapest that holds the constraints (by energy, then cores, then bits of
        weights), if any does.
    closest: index of the best usable one, the pick if there is one.
    reason: why that is the pick, or why there is none.
    complete: whether the search came to its end within the budget.
    """

    target: str
    labelled: bool
    reference: Proportion
    constraints: Constraints
    floor: float
    candidates: tuple[Candidate, ...]
    front: tuple[int, ...]
    pick: int | None
    closest: int | None
    reason: str
    complete: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "reference": self.reference.to_dict(),
            "constraints": asdict(self.constraints),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "front": list(self.front),
        }


_PLAIN = ("target", "labelled", "floor", "pick", "closest", "reason", "complete")


def explore(
    network: Network,
    target: Target,
    given: Mapping[str, NDArray[Any]],
    reference: Trace,
    *,
    labels: NDArray[np.int64] | None,
    constraints: Constraints,
    budget: int,
    state: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Try settings of `target` (see `search`) and pick the cheapest that hold the constraints.

    Parameters
    ----------
    network, given, reference: as `compilation.calibrated` returns them.
    labels: integer class per sample, int64.
    budget: candidates to try at most.
    state: a file for `State`.

    Raises
    ------
    InputError
        The target has nothing to choose, the network several outputs, a constraint is on what the
        target does not have, or the budget is not positive.
    FileError
        The state is of something else.
    """
    if budget < 1:
        raise InputError(f"a budget of {budget} candidates, expected at least 1")
    if not isinstance(target, Explores):
        raise InputError("it has nothing to choose", node=f"target {target.name}")
    if len(network.outputs) != 1:
        raise InputError(f"the network has {len(network.outputs)} outputs, expected one")
    decided = reference.decisions(network.outputs[0])
    truth = decided if labels is None else labels
    right = Proportion(int(np.count_nonzero(decided == truth)), len(truth))
    least = constraints.accuracy
    floor = max(0.0, right.value - DROP) if least is None else least
    names = tuple(population.name for population in network.populations)
    spiking = tuple(name for name in names if reference.counts(name).any())
    keep, done = State(state, _digest(network, target, given, labels)), 0

    def candidate(settings: Settings) -> Candidate:
        nonlocal done
        found = keep.get(settings)
        if found is None:
            try:
                program = lowered(target, network, reference, settings)
                spikes = check_inputs(given, program.input_shapes, program.graded, program.grids)
                program = completed(program, target, spikes)
                trace = simulate(program, spikes, target.machine)
                found = evaluate(settings, program, trace, target, spiking, truth)
            except (ModelError, SemanticsError, DesignRuleError) as error:
                found = Candidate(settings, problem=str(error))
            keep.put(found)
        if found.problem is None:
            _check_known(constraints, found, target)
        done += 1
        if progress is not None:
            progress(done, budget)
        return found

    def rank(candidate: Candidate) -> tuple[Any, ...]:
        if not candidate.usable:
            return (2,)
        wrong = -candidate.correct.successes
        broken = constraints.broken(candidate, floor)
        if broken:
            return (1, len(broken), max(0.0, floor - candidate.correct.value), *candidate.costs)
        return (0, *candidate.costs, wrong)

    candidates, complete = search(names, target.choices, budget, candidate, rank)
    best = min(range(len(candidates)), key=lambda index: rank(candidates[index]))
    closest = best if candidates[best].usable else None
    holds = closest is not None and not constraints.broken(candidates[best], floor)
    return Exploration(
        target=target.name,
        labelled=labels is not None,
        reference=right,
        constraints=constraints,
        floor=floor,
        candidates=candidates,
        front=front(candidates),
        pick=best if holds else None,
        closest=closest,
        reason=_reason(candidates, closest, constraints, floor, complete=complete),
        complete=complete,
    )


def _digest(
    network: Network,
    target: Target,
    given: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64] | None,
) -> str:
    """Of everything that a candidate's figures depend on."""
    return content_hash(
        {
            "version": __version__,
            "target": target.name,
            "chip": repr(target.chip),
            "graph": plain(network.graph),
            "inputs": dict(given),
            "labels": labels,
        }
    )


def _check_known(constraints: Constraints, candidate: Candidate, target: Target) -> None:
    """A constraint on what is not known would hold always."""
    for name in ("energy", "cores"):
        if getattr(constraints, name) is not None and getattr(candidate, name) is None:
            raise InputError(
                f"a limit of {name}, of which nothing is known", node=f"target {target.name}"
            )


def _reason(
    candidates: tuple[Candidate, ...],
    closest: int | None,
    constraints: Constraints,
    floor: float,
    *,
    complete: bool,
) -> str:
    silent = sum(bool(candidate.silent) for candidate in candidates)
    failed = [candidate.problem for candidate in candidates if candidate.problem is not None]
    excluded = f"{silent} with silent populations, {len(failed)} that do not compile"
    end = "" if complete else "; the budget ended the search before nothing was better"
    if closest is None:
        text = f"no candidate of {len(candidates)} can be used: {excluded}"
        return f"{text}; the first: {failed[0]}" if failed else text
    best = candidates[closest]
    broken = constraints.broken(best, floor)
    if broken:
        return (
            f"no candidate of {len(candidates)} holds the constraints; the closest is number "
            f"{closest}: {'; '.join(broken)} ({excluded}){end}"
        )
    holding = sum(c.usable and not constraints.broken(c, floor) for c in candidates)
    cheapest = (
        "needs the fewest bits of weights"
        if best.energy is None
        else f"costs the least, {engineering(best.energy.typical, 'J')} per inference"
    )
    return (
        f"of {holding} of {len(candidates)} candidates that hold the constraints, number {closest} "
        f"{cheapest}, and is right in {best.correct.value:.1%}, least {floor:.1%} ({excluded}){end}"
    )
