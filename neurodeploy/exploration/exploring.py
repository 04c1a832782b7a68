"""`explore`: candidates, their Pareto front, and the pick with its reason."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.choices import Settings
from neurodeploy.chunks import HERE, Tree, Where, map_chunks
from neurodeploy.compilation import calibrated, completed, lowered, of_plain
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.errors import DesignRuleError, InputError, ModelError, SemanticsError
from neurodeploy.exploration.candidate import Candidate, evaluate, front
from neurodeploy.exploration.search import search
from neurodeploy.frontends.nir import plain
from neurodeploy.network import Network
from neurodeploy.quantity import engineering
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Explores, Target, get_target
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
    where: Where = HERE,
    progress: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Try settings of `target` (see `search`) and pick the cheapest that hold the constraints.

    Parameters
    ----------
    network, given, reference: as `compilation.calibrated` returns them.
    labels: integer class per sample, int64.
    budget: candidates to try at most.
    where: where candidates are evaluated and kept.  On a cluster, all that the search may ask for
        next are, at once; what it finds is the same.

    Raises
    ------
    InputError
        The target has nothing to choose, the network several outputs, a constraint is on what the
        target does not have, or the budget is not positive.
    NeurodeployError
        As `chunks.map_chunks`.
    """
    if budget < 1:
        raise InputError(f"a budget of {budget} candidates, expected at least 1")
    if not isinstance(target, Explores):
        raise InputError("it has nothing to choose", node=f"target {target.name}")
    if len(network.outputs) != 1:
        raise InputError(f"the network has {len(network.outputs)} outputs, expected one")
    trying = Trying(network, target, given, reference, labels)
    decided, truth = reference.decisions(network.outputs[0]), trying.truth
    right = Proportion(int(np.count_nonzero(decided == truth)), len(truth))
    least = constraints.accuracy
    floor = max(0.0, right.value - DROP) if least is None else least
    names = tuple(population.name for population in network.populations)
    known: dict[str, Candidate] = {}
    done = 0

    def evaluated(some: Sequence[Settings]) -> None:
        new = [settings for settings in some if _key(settings) not in known]
        for tree in map_chunks(trying, [{"settings": settings} for settings in new], where):
            found = Candidate.from_dict(tree)
            known[_key(found.settings)] = found

    def ahead(some: Sequence[Settings]) -> None:
        if where.scheduler is not None:
            evaluated(some)

    def candidate(settings: Settings) -> Candidate:
        nonlocal done
        evaluated([settings])
        found = known[_key(settings)]
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

    candidates, complete = search(names, target.choices, budget, candidate, ahead, rank)
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


@dataclass(frozen=True, eq=False)
class Trying:
    """A network that is put on a chip in one way after another; a chunk holds `settings`.

    `given` and `reference` as `compilation.calibrated` returns them.
    """

    network: Network
    target: Target
    given: Mapping[str, NDArray[Any]]
    reference: Trace
    labels: NDArray[np.int64] | None

    @functools.cached_property
    def truth(self) -> NDArray[np.int64]:
        """The right decision per sample."""
        if self.labels is not None:
            return self.labels
        return self.reference.decisions(self.network.outputs[0])

    @functools.cached_property
    def spiking(self) -> tuple[str, ...]:
        """Populations that spike in the reference."""
        names = (population.name for population in self.network.populations)
        return tuple(name for name in names if self.reference.counts(name).any())

    def run(self, chunk: Tree) -> Tree:
        """`Candidate` as plain data."""
        settings: Settings = chunk["settings"]
        try:
            program = lowered(self.target, self.network, self.reference, settings)
            shapes, graded, grids = program.input_shapes, program.graded, program.grids
            spikes = check_inputs(self.given, shapes, graded, grids)
            program = completed(program, self.target, spikes)
            trace = simulate(program, spikes, self.target.machine)
            found = evaluate(settings, program, trace, self.target, self.spiking, self.truth)
        except (ModelError, SemanticsError, DesignRuleError) as error:
            found = Candidate(settings, problem=str(error))
        return found.to_dict()

    def to_tree(self) -> Tree:
        """Everything that a candidate's figures depend on."""
        return {
            "target": self.target.name,
            "chip": repr(self.target.chip),
            "graph": plain(self.network.graph),
            "inputs": dict(self.given),
            "labels": self.labels,
        }

    @classmethod
    def from_tree(cls, tree: Tree) -> Trying:
        """With the network that the graph means."""
        target = get_target(tree["target"])
        calibration = calibrated(of_plain(tree["graph"]), target, tree["inputs"])
        return cls(calibration[0], target, *calibration[1:], tree["labels"])


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=dict)


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
