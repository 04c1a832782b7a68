"""`Candidate`: one way to put a network on a chip, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy import mapping
from neurodeploy.choices import Settings
from neurodeploy.costs import count, estimate
from neurodeploy.costs.models import model_of
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.errors import FileError, TargetError
from neurodeploy.program import Program, Synapses
from neurodeploy.quantity import Quantity
from neurodeploy.target import Places, Target
from neurodeploy.trace import Trace


@dataclass(frozen=True)
class Candidate:
    """One way to put a network on a chip, and what came of it.

    Attributes
    ----------
    settings: what differs from the target's own way.
    problem: why it does not compile, else None; then there is nothing below.
    silent: populations that spike in the reference and send nothing here.
    correct: decisions that equal the labels, or those of the reference where there are none.
    energy: of the report's first line, what the program causes, in J per inference; None where
        nothing is known about the chip's energies.
    cores: None where the chip has none.
    weight_bits: that hold all weights, see `weight_bits`.
    """

    settings: Settings
    problem: str | None = None
    silent: tuple[str, ...] = ()
    correct: Proportion = field(default_factory=lambda: Proportion(0, 1))
    energy: Quantity | None = None
    cores: int | None = None
    weight_bits: int = 0

    @property
    def usable(self) -> bool:
        """Whether it compiles and nothing fell silent."""
        return self.problem is None and not self.silent

    @property
    def costs(self) -> tuple[float, ...]:
        """(energy in J, cores, bits of weights), the first two 0 where unknown."""
        energy = 0.0 if self.energy is None else self.energy.typical
        return energy, float(self.cores or 0), float(self.weight_bits)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "settings": {name: dict(own) for name, own in self.settings.items()},
            "problem": self.problem,
            "silent": list(self.silent),
            "correct": self.correct.to_dict(),
            "energy": None if self.energy is None else self.energy.to_dict(),
            "cores": self.cores,
            "weight_bits": self.weight_bits,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Candidate:
        """The inverse of `to_dict`; raises `FileError` for anything else."""
        try:
            energy = data["energy"]
            found = cls(
                settings={
                    str(name): {str(choice): float(value) for choice, value in own.items()}
                    for name, own in data["settings"].items()
                },
                problem=data["problem"],
                silent=tuple(map(str, data["silent"])),
                correct=Proportion(data["correct"]["successes"], data["correct"]["trials"]),
                energy=None if energy is None else Quantity(**energy),
                cores=data["cores"],
                weight_bits=data["weight_bits"],
            )
            same = found.to_dict() == data and all(map(math.isfinite, found.costs))
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise FileError(f"holds no candidate ({type(error).__name__}: {error})") from error
        if not same:
            raise FileError("holds a candidate that was altered")
        return found


def evaluate(
    settings: Settings,
    program: Program,
    trace: Trace,
    target: Target,
    spiking: Iterable[str],
    truth: np.ndarray[Any, np.dtype[np.int64]],
) -> Candidate:
    """What came of a program.

    Parameters
    ----------
    trace: of its bit-accurate run.
    spiking: populations that spike in the reference.
    truth: the right decision per sample, int64.
    """
    decided = trace.decisions(program.output)
    energy, cores = None, None
    if isinstance(target, Places):
        placement = mapping.place(program, target.cores(program))
        cores = placement.cores
        chip = target.chip.at_level(None)
        try:
            model_of(chip)
            energy = estimate(count(program, trace, placement), chip, placement)
        except TargetError:
            energy = None
    return Candidate(
        settings=settings,
        silent=tuple(name for name in spiking if not trace.counts(name).any()),
        correct=Proportion(int(np.count_nonzero(decided == truth)), len(truth)),
        energy=None if energy is None else energy.lines[0].total,
        cores=cores,
        weight_bits=sum(map(weight_bits, program.synapses)),
    )


def weight_bits(synapses: Synapses) -> int:
    """Bits that hold all weights, zeros too, of one width with sign.

    n (1 + ceil(log2(1 + max |w| / s))) for n weights, with s the largest power of two that divides
    all of them.
    """
    weights = np.abs(synapses.weight.reshape(-1))
    together = int(np.bitwise_or.reduce(weights, initial=0))
    if not together:
        return 0
    step = together & -together
    return weights.size * (1 + (int(weights.max()) // step).bit_length())


def front(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """Indices of the usable candidates that no other beats.

    One beats another if it is at least as right and as cheap in all of `costs`, and better in one;
    of equal ones the first is left.
    """
    points = [(-c.correct.successes, *c.costs) for c in candidates]

    def beaten(index: int) -> bool:
        own = points[index]
        return any(
            all(a <= b for a, b in zip(points[other], own, strict=True))
            and (points[other] != own or other < index)
            for other, candidate in enumerate(candidates)
            if other != index and candidate.usable
        )

    return tuple(i for i, c in enumerate(candidates) if c.usable and not beaten(i))
