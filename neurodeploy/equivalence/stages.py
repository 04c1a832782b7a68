"""The stages of `verify` that compare the program with its reference, and with other runs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.chunks import Tree, once
from neurodeploy.equivalence.causes import Attribution, Event
from neurodeploy.equivalence.compare import Cell, Layer, compare, totals
from neurodeploy.equivalence.examination import Examination, Findings, Run
from neurodeploy.equivalence.gates import Gates
from neurodeploy.equivalence.imported import Parts, comparison
from neurodeploy.equivalence.lossless import potentials
from neurodeploy.equivalence.stage import Divergence, Stage, Status
from neurodeploy.equivalence.statistics import Paired, Proportion, agreement, paired
from neurodeploy.errors import TargetError
from neurodeploy.network import Network
from neurodeploy.program import IntArray, Program
from neurodeploy.simulator.engine import in_model_units, run
from neurodeploy.target import Backend
from neurodeploy.trace import Messages, Spikes, Trace, check_inputs

if TYPE_CHECKING:
    from neurodeploy.simulator.plan import Plan


def messages(program: Program, given: Mapping[str, NDArray[Any]]) -> dict[str, Messages]:
    """What the program gets for inputs of `trace.check_currents`."""
    return check_inputs(given, program.input_shapes, program.graded, program.grids)


def source_stage(
    network: Network,
    inputs: Mapping[str, NDArray[Any]],
    source: Mapping[str, Spikes] | None,
    parts: Parts | None,
) -> Stage:
    title = "source model against reference"
    if source is None or parts is None:
        return Stage("import", title, "not run", "the source framework's spikes were not given")
    found = comparison(network, inputs, parts)
    status: Status = "passed" if found.passed else "failed"
    return Stage("import", title, status, str(found), found.layers, found.samples)


def arithmetic(prepared: Plan) -> str:
    """In what the neurons' states are kept: integers, or floating point of the chip."""
    kinds = {unit.cells.initial.dtype for unit in prepared.units}
    floating = sorted(str(kind) for kind in kinds if kind.kind == "f")
    return f"integer weights, {' and '.join(floating)} states" if floating else "integers"


@dataclass(frozen=True, eq=False)
class Judge:
    """Compares runs with that of the reference, by cells and by decisions."""

    expected: IntArray
    labels: NDArray[np.int64] | None
    gates: Gates

    def accuracy(self, decisions: IntArray) -> Proportion | None:
        """Samples on which a run decides right; None without labels."""
        return None if self.labels is None else agreement(decisions, self.labels)

    def paired(self, decisions: IntArray) -> Paired | None:
        """Samples that only the reference or only a run decides right; None without labels."""
        if self.labels is None:
            return None
        return paired(self.expected == self.labels, decisions == self.labels)

    def stage(
        self,
        name: str,
        title: str,
        decisions: IntArray,
        layers: tuple[Layer, ...],
        first: Divergence | None = None,
    ) -> Stage:
        """A lossy stage: how far a run is from the reference, against the gates."""
        total, cells = totals(layers)
        text = f"{total:,} of {cells:,} cells differ ({total / cells:.3%})"
        before, after = self.accuracy(self.expected), self.accuracy(decisions)
        accuracies = None if before is None or after is None else (before, after)
        if accuracies is not None:
            text += f"; accuracy {accuracies[0].value:.2%} → {accuracies[1].value:.2%}"
        agreed = agreement(self.expected, decisions)
        gates = self.gates.judge(agreed, accuracies, (total, cells))
        text = "; ".join((text, *map(str, gates)))
        status: Status = "passed" if all(gate.passed for gate in gates) else "failed"
        return Stage(name, title, status, text, layers, len(decisions), first, gates)


def input_stages(program: Program, found: Findings, judge: Judge) -> list[Stage]:
    """The reference on what analog inputs are on their grids, if there are any."""
    if not program.grids:
        return []
    title = "reference on analog input against reference on the input's grid"
    return [judge.stage("input", title, found.rounded, found.grid_layers)]


def _one(given: Mapping[str, NDArray[Any]], cell: Cell) -> dict[str, NDArray[Any]]:
    """The sample of a cell alone."""
    return {port: array[cell.sample : cell.sample + 1] for port, array in given.items()}


def divergence(
    task: Examination, given: Mapping[str, NDArray[Any]], cell: Cell | None
) -> Divergence | None:
    """Both potentials at a differing cell."""
    if cell is None:
        return None
    at: tuple[int, ...] = (0, cell.step, *cell.neuron)
    every: tuple[Any, ...] = (0, slice(None), *cell.neuron)
    name, one = cell.population, _one(given, cell)
    expected = reference.simulate(task.network, one, record=(name,))
    actual = run(task.prepared, messages(task.program, one), record=(name,))
    states = in_model_units(actual.states[name], task.program.population(name))
    population = next(p for p in task.network.populations if p.name == name)
    return Divergence(
        cell,
        bool(expected.spikes[name][at]),
        float(population.threshold[cell.neuron]),
        float(expected.states[name]["v"][at]),
        float(states["potential"][at]),
        np.asarray(expected.states[name]["v"][every], np.float64),
        np.asarray(states["potential"][every], np.float64),
    )


def event_at(
    task: Examination, given: Mapping[str, NDArray[Any]], cell: Cell | None
) -> Event | None:
    """Why a cell differs."""
    if cell is None:
        return None
    one = _one(given, cell)
    sent = messages(task.program, one)
    runs = reference.simulate(task.network, one), run(task.prepared, sent)
    expected, actual = runs
    attribution = Attribution(task.program, task.network, one, sent, expected, task.target, actual)
    event = attribution.event(replace(cell, sample=0))
    return None if event is None else replace(event, cell=cell)


def golden_stage(task: Examination) -> Stage:
    """The program's own golden traces against the simulator as it is now."""
    program = task.program
    title = "golden traces in the program against this simulator"
    names = [population.name for population in program.populations]
    if program.golden is None or set(program.golden.spikes) != set(names):
        text = "the program has no golden traces of all its populations"
        return Stage("golden", title, "not run", text)
    expected = Trace.of_sent({**program.golden.inputs, **program.golden.spikes})
    actual = run(task.prepared, program.golden.inputs)
    layers = compare(expected, actual, names)
    total, _ = totals(layers)
    text = "every spike is equal" if not total else f"{total:,} spikes differ"
    status: Status = "failed" if total else "passed"
    return Stage("golden", title, status, text, layers, expected.samples)


def vendor_stage(
    task: Examination,
    vendor: Backend,
    given: Mapping[str, NDArray[Any]],
    timeout: float,
    state: Path | None,
    *,
    left_out: bool,
) -> tuple[Stage, Trace | None]:
    """The program in the vendor's runtime against the simulator: must be equal in every cell."""
    title = f"program in this simulator against {vendor.title}"
    if left_out:
        return Stage("vendor", title, "not run", "left out on request"), None
    program, some = task.program, messages(task.program, given)

    def there() -> Tree:
        trace = vendor.run(program, some, timeout=timeout)
        return Run(dict(trace.spikes), dict(trace.values)).to_tree()

    what = {"program": program.hash, "backend": vendor.title, "inputs": dict(some)}
    try:
        found = Run.from_tree(once(what, there, state))
    except TargetError as error:
        return Stage("vendor", title, "not run", str(error)), None
    trace = Trace(found.spikes, values=found.values)
    ours = run(task.prepared, some)
    layers = compare(trace, ours, [population.name for population in program.populations])
    total, cells = totals(layers)
    read = potentials(program, ours, trace)
    text = (
        f"{total:,} of {cells:,} cells differ: every population, every step, {ours.samples} samples"
    )
    text += "".join(map(str, read))
    total += sum(p.wrong for p in read)
    status: Status = "failed" if total else "passed"
    return Stage("vendor", title, status, text, layers, ours.samples), trace
