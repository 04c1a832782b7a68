"""What `verify` finds in some samples, and how that adds up: integers and exact sums only.

Nothing here depends on which samples are looked at together, so a verdict does not depend on how
they were cut, on where the parts were worked on, or on whether that was interrupted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import program_file, reference
from neurodeploy.chunks import Tree
from neurodeploy.equivalence.causes import Attribution, LayerCauses
from neurodeploy.equivalence.compare import Layer, compare, joined
from neurodeploy.equivalence.distances import Sums, sums
from neurodeploy.equivalence.imported import Parts, import_parts
from neurodeploy.equivalence.lossless import Cut, cut, pass_parts
from neurodeploy.network import Network
from neurodeploy.program import IntArray, Program
from neurodeploy.simulator.engine import prepare, run
from neurodeploy.simulator.plan import Plan
from neurodeploy.target import Target, get_target
from neurodeploy.trace import Messages, Spikes, Trace, check_inputs


@dataclass(frozen=True, eq=False)
class Findings:
    """What some samples show.

    Attributes
    ----------
    samples: how many they are.
    reference, program, rounded: decisions of the reference, of the program, and of the reference on
        analog inputs as their grids give them (empty without such), int64 (samples,).
    layers, grid_layers: program, and reference on the grids, against reference.
    causes, sums: of each spiking population, and of each.
    imported: the source against the reference, where it was given.
    passes: of the first samples, before and after each.
    cut: of the first samples, where the target has cores.
    runs: what the reference and the program send in the first samples, and potentials that are
        read: (spikes, values) each, by population.
    """

    samples: int
    reference: IntArray
    program: IntArray
    rounded: IntArray
    layers: tuple[Layer, ...]
    grid_layers: tuple[Layer, ...]
    causes: tuple[LayerCauses, ...]
    sums: tuple[Sums, ...]
    imported: Parts | None
    passes: tuple[Parts, ...]
    cut: Cut | None
    runs: tuple[Run, Run]

    def to_tree(self) -> Tree:
        """Plain data and arrays."""
        return {
            "samples": self.samples,
            "reference": self.reference,
            "program": self.program,
            "rounded": self.rounded,
            "layers": [layer.to_dict() for layer in self.layers],
            "grid_layers": [layer.to_dict() for layer in self.grid_layers],
            "causes": [layer.to_dict() for layer in self.causes],
            "sums": [one.to_dict() for one in self.sums],
            "imported": None if self.imported is None else self.imported.to_dict(),
            "passes": [parts.to_dict() for parts in self.passes],
            "cut": None if self.cut is None else self.cut.to_dict(),
            "runs": [one.to_tree() for one in self.runs],
        }

    @classmethod
    def from_tree(cls, tree: Tree) -> Findings:
        """The inverse of `to_tree`."""
        imported, apart = tree["imported"], tree["cut"]
        first, second = tree["runs"]
        return cls(
            samples=tree["samples"],
            reference=tree["reference"],
            program=tree["program"],
            rounded=tree["rounded"],
            layers=tuple(map(Layer.from_dict, tree["layers"])),
            grid_layers=tuple(map(Layer.from_dict, tree["grid_layers"])),
            causes=tuple(map(LayerCauses.from_dict, tree["causes"])),
            sums=tuple(map(Sums.from_dict, tree["sums"])),
            imported=None if imported is None else Parts.from_dict(imported),
            passes=tuple(map(Parts.from_dict, tree["passes"])),
            cut=None if apart is None else Cut.from_dict(apart),
            runs=(Run.from_tree(first), Run.from_tree(second)),
        )

    @classmethod
    def joined(cls, parts: Sequence[Findings]) -> Findings:
        """Of samples that follow each other."""
        starts = [0, *accumulate(part.samples for part in parts)][:-1]
        placed = list(zip(starts, parts, strict=True))

        def layers(of: Callable[[Findings], tuple[Layer, ...]]) -> tuple[Layer, ...]:
            return joined([(start, of(part)) for start, part in placed])

        imported = [(start, part.imported) for start, part in placed if part.imported is not None]
        cuts = [(start, part.cut) for start, part in placed if part.cut is not None]
        passed = [(start, part.passes) for start, part in placed if part.passes]
        runs = [part.runs for part in parts if part.runs[0].spikes]
        return cls(
            samples=sum(part.samples for part in parts),
            reference=np.concatenate([part.reference for part in parts]),
            program=np.concatenate([part.program for part in parts]),
            rounded=np.concatenate([part.rounded for part in parts]),
            layers=layers(lambda part: part.layers),
            grid_layers=layers(lambda part: part.grid_layers),
            causes=tuple(
                map(LayerCauses.joined, zip(*(part.causes for part in parts), strict=True))
            ),
            sums=tuple(
                functools.reduce(Sums.__add__, same)
                for same in zip(*(part.sums for part in parts), strict=True)
            ),
            imported=Parts.joined(imported) if imported else None,
            passes=tuple(
                Parts.joined((start, each[index]) for start, each in passed)
                for index in range(len(passed[0][1]) if passed else 0)
            ),
            cut=Cut.joined(cuts) if cuts else None,
            runs=(Run.joined([a for a, _ in runs]), Run.joined([b for _, b in runs])),
        )


@dataclass(frozen=True, eq=False)
class Run:
    """What populations send in some samples, and potentials that are read."""

    spikes: Mapping[str, Spikes]
    values: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, trace: Trace, samples: int, names: Sequence[str]) -> Run:
        """Of the first samples of a trace; empty if these are none."""
        if not samples:
            return cls({}, {})
        return cls(
            {name: trace.spikes[name][:samples] for name in names},
            {name: trace.values[name][:samples] for name in names if name in trace.values},
        )

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> Trace:
        """With the inputs, as the simulators return them."""
        some = {name: array[: self.samples] for name, array in inputs.items()}
        values = {name: array for name, array in some.items() if array.dtype != np.uint8}
        sent: dict[str, Spikes] = {
            name: (array != 0).view(np.uint8) if array.dtype == np.int32 else array
            for name, array in some.items()
            if array.dtype in (np.uint8, np.int32)
        }
        return Trace({**sent, **self.spikes}, values={**values, **self.values})

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(next(iter(self.spikes.values())))

    def to_tree(self) -> Tree:
        """Arrays; spikes of 0 and 1 as bits."""
        return {
            "spikes": {name: _packed(array) for name, array in self.spikes.items()},
            "values": dict(self.values),
        }

    @classmethod
    def from_tree(cls, tree: Tree) -> Run:
        """The inverse of `to_tree`."""
        spikes = {name: _unpacked(array) for name, array in tree["spikes"].items()}
        return cls(spikes, tree["values"])

    @classmethod
    def joined(cls, runs: Sequence[Run]) -> Run:
        """Of samples that follow each other."""
        return cls(
            {name: np.concatenate([r.spikes[name] for r in runs]) for name in runs[0].spikes},
            {name: np.concatenate([r.values[name] for r in runs]) for name in runs[0].values},
        )


def _packed(spikes: Spikes) -> Tree:
    if spikes.max() > 1:
        return {"counts": spikes}
    return {"shape": list(spikes.shape), "bits": np.packbits(spikes)}


def _unpacked(packed: Tree) -> Spikes:
    if "counts" in packed:
        return np.asarray(packed["counts"])
    count = int(np.prod(packed["shape"]))
    return np.unpackbits(packed["bits"], count=count).reshape(packed["shape"])


@dataclass(frozen=True, eq=False)
class Examination:
    """A program beside its model, as `chunks` works on it; see `verdict.verify`.

    A chunk holds `inputs`, `source` (spikes by population, or None), and of how many of its first
    samples there are to be `passes`, `mapped` and `traced`.
    """

    program: Program
    network: Network
    target: Target
    before: Mapping[str, Network]

    @functools.cached_property
    def prepared(self) -> Plan:
        """The program, to be run any number of times."""
        return prepare(self.program, self.target.machine)

    def run(self, chunk: Tree) -> Tree:
        """`Findings` as a tree."""
        given: Mapping[str, NDArray[Any]] = chunk["inputs"]
        return self.findings(given, chunk).to_tree()

    def findings(self, given: Mapping[str, NDArray[Any]], chunk: Tree) -> Findings:
        """What inputs show, as `trace.check_currents` returns them."""
        program, network = self.program, self.network
        sent = check_inputs(given, program.input_shapes, program.graded, program.grids)
        expected = reference.simulate(network, given)
        actual = run(self.prepared, sent)
        names = [population.name for population in network.populations]
        attribution = Attribution(program, network, given, sent, expected, self.target, actual)
        on_grids = self._on_grids(sent) if program.grids else None
        source = chunk["source"]
        passed, mapped, traced = (chunk[name] for name in ("passes", "mapped", "traced"))
        some = {name: array[:mapped] for name, array in sent.items()}
        return Findings(
            samples=expected.samples,
            reference=expected.decisions(program.output),
            program=actual.decisions(program.output),
            rounded=np.zeros(0, np.int64)
            if on_grids is None
            else on_grids.decisions(program.output),
            layers=compare(expected, actual, names),
            grid_layers=() if on_grids is None else compare(expected, on_grids, names),
            causes=attribution.layers(),
            sums=tuple(sums(expected, actual, name) for name in names),
            imported=None if source is None else import_parts(network, given, Trace(source)),
            passes=pass_parts(
                self.before,
                network,
                {name: array[:passed] for name, array in given.items()},
                expected.first(passed),
            )
            if passed
            else (),
            cut=cut(program, self.target, some, actual.first(mapped)) if mapped else None,
            runs=(
                Run.of(expected, traced, names),
                Run.of(actual, traced, [p.name for p in program.populations]),
            ),
        )

    def _on_grids(self, sent: Mapping[str, Messages]) -> Trace:
        """The reference on what analog inputs are on their grids."""
        grids = self.program.grids
        rounded = {name: grid.values(sent[name]) for name, grid in grids.items()}
        return reference.simulate(self.network, {**sent, **rounded})

    def to_tree(self) -> Tree:
        """The program as its archive holds it: it carries its network."""
        return program_file.to_tree(self.program)

    @classmethod
    def from_tree(cls, tree: Tree) -> Examination:
        """Of the network that the program carries."""
        from neurodeploy.compilation import carried

        program = program_file.from_tree(tree, "task")
        network, before = carried(program)
        return cls(program, network, get_target(program.target), before)
