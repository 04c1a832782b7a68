"""Counts of runs over many samples, in chunks: see `chunks`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from neurodeploy import program_file
from neurodeploy.chunks import Tree, Where, map_chunks
from neurodeploy.costs.counts import Counts, count
from neurodeploy.costs.metrics import Seen, seen
from neurodeploy.mapping.placement import Placement, place
from neurodeploy.program import Program
from neurodeploy.simulator.engine import prepare, run
from neurodeploy.simulator.plan import Plan
from neurodeploy.target import cores_of, get_target
from neurodeploy.trace import Inputs, check_inputs

CHUNK_SAMPLES = 1024
"""Samples that are counted together, at most."""
CHUNK_CELLS = 1 << 26
"""Of all populations and steps, at most, but for one sample."""


def counted(
    program: Program,
    inputs: Inputs,
    where: Where,
    progress: Callable[[int, int], None] | None = None,
    chunk_samples: int | None = None,
) -> tuple[Counts, Seen]:
    """Run a program, and count what the chip does and what the metrics want to know.

    Parameters
    ----------
    inputs: (samples, steps, *shape), as for `run`.
    progress: called with (samples done, samples).
    chunk_samples: samples that are counted together; the counts do not depend on it.

    Raises
    ------
    NeurodeployError
        As `run` and `chunks.map_chunks`.
    """
    given = check_inputs(inputs, program.input_shapes, program.graded, program.grids)
    samples, steps = next(iter(given.values())).shape[:2]
    cells = steps * sum(population.size for population in program.populations)
    size = chunk_samples or min(CHUNK_SAMPLES, max(1, CHUNK_CELLS // cells))
    chunks: list[Tree] = [
        {name: array[start : start + size] for name, array in given.items()}
        for start in range(0, samples, size)
    ]
    done: Callable[[int, int], None] | None = None
    if progress is not None:
        tell = progress

        def done(chunk: int, total: int) -> None:
            tell(min(chunk * size, samples), samples)

    found = map_chunks(Counting(program), chunks, where, done)
    counts = Counts.joined([Counts.from_tree(tree["counts"]) for tree in found])
    return counts, functools.reduce(Seen.__add__, (Seen(**tree["seen"]) for tree in found))


@dataclass(frozen=True, eq=False)
class Counting:
    """A program whose runs are counted; a chunk is its inputs by name."""

    program: Program

    @functools.cached_property
    def prepared(self) -> Plan:
        """The program, to be run any number of times."""
        return prepare(self.program, get_target(self.program.target).machine)

    @functools.cached_property
    def placement(self) -> Placement:
        """Where its neurons are."""
        return place(self.program, cores_of(self.program))

    def run(self, chunk: Mapping[str, NDArray[Any]]) -> Tree:
        """`Counts` and `Seen` as trees."""
        trace = run(self.prepared, chunk)
        counts = count(self.program, trace, self.placement)
        return {"counts": counts.to_tree(), "seen": vars(seen(self.program, trace))}

    def to_tree(self) -> Tree:
        """The program as its archive holds it."""
        return program_file.to_tree(self.program)

    @classmethod
    def from_tree(cls, tree: Tree) -> Counting:
        """The inverse of `to_tree`."""
        return cls(program_file.from_tree(tree, "task"))
