"""`verify`: the stages between a trained model and the chip, and a verdict that CI can gate on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.bounds import Certifies
from neurodeploy.equivalence.causes import Attribution, Explanation
from neurodeploy.equivalence.certificate import Certificate, certify
from neurodeploy.equivalence.compare import Cell, compare, earliest, totals
from neurodeploy.equivalence.distances import Distances, distances
from neurodeploy.equivalence.gates import Gates
from neurodeploy.equivalence.imported import compare_import
from neurodeploy.equivalence.lossless import mapping, passes, potentials
from neurodeploy.equivalence.stage import Divergence, Stage, Status
from neurodeploy.equivalence.statistics import Paired, Proportion, agreement, paired, samples_needed
from neurodeploy.errors import InputError, TargetError
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.simulator.engine import in_model_units, prepare, run
from neurodeploy.target import Backend, Target, get_backend
from neurodeploy.trace import Messages, Spikes, Trace, check_currents, check_inputs, check_labels

if TYPE_CHECKING:
    from neurodeploy.simulator.plan import Plan

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

SCHEMA = 1
"""Version of `verdict.schema.json`, which says what `Verdict.to_dict` gives."""
MARGIN = 0.01


@dataclass(frozen=True, eq=False)
class Verdict:
    """All stages, and what the differences mean for decisions.

    Attributes
    ----------
    agreement: samples on which reference and program decide alike.
    reference_accuracy, accuracy: of the reference and of the program; None without labels.
    reference, trace: the runs themselves, for figures and energy.
    paired: samples that only one of them decides right; None without labels.
    distances: of their spike trains, per population.
    vendor: the run in the vendor's runtime, if there was one.
    causes: why the program differs from the reference.
    certificate: what is proven over all inputs; None where the target bounds no registers.
    """

    program_hash: str
    target: str
    stages: tuple[Stage, ...]
    agreement: Proportion
    reference_accuracy: Proportion | None
    accuracy: Proportion | None
    reference: Trace = field(repr=False)
    trace: Trace = field(repr=False)
    paired: Paired | None = None
    distances: tuple[Distances, ...] = ()
    vendor: Trace | None = field(default=None, repr=False)
    causes: Explanation = field(default=Explanation((), None))
    certificate: Certificate | None = None

    @property
    def samples_needed(self) -> int:
        """Samples for which the interval of `agreement` would be one point either side."""
        return samples_needed(self.agreement.value, MARGIN)

    @property
    def status(self) -> Literal["passed", "failed", "incomplete"]:
        """`failed` if any stage failed, `passed` if all ran and passed, else `incomplete`.

        What is not applicable has nothing to run.
        """
        statuses = {stage.status for stage in self.stages} - {"not applicable"}
        if "failed" in statuses:
            return "failed"
        return "passed" if statuses == {"passed"} else "incomplete"

    @property
    def passed(self) -> bool:
        """Every stage that applies ran and passed."""
        return self.status == "passed"

    def stage(self, name: str) -> Stage:
        """The stage called `name`."""
        return next(stage for stage in self.stages if stage.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        optional = {
            "reference_accuracy": self.reference_accuracy,
            "accuracy": self.accuracy,
            "paired": self.paired,
        }
        return {
            "schema": SCHEMA,
            "status": self.status,
            "program": self.program_hash,
            "target": self.target,
            "stages": [stage.to_dict() for stage in self.stages],
            "causes": self.causes.to_dict(),
            "agreement": self.agreement.to_dict(),
            **{k: None if v is None else v.to_dict() for k, v in optional.items()},
            "samples_needed": self.samples_needed,
            "distances": [one.to_dict() for one in self.distances],
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
        }


def verify(
    program: Program,
    network: Network,
    target: Target,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]],
    *,
    labels: NDArray[Any] | None = None,
    before: Mapping[str, Network] | None = None,
    source: Mapping[str, Spikes] | None = None,
    vendor_samples: int | None = 100,
    backend: str | Backend | None = None,
    timeout: float = 600.0,
    gates: Gates | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Compare source model, reference, program and vendor runtime, spike by spike.

    Parameters
    ----------
    network: the reference of `program`.
    inputs: (samples, steps, *shape), analog where that is what the program was compiled for; then
        the stage `input` says what rounding them to the program's grid does by itself.
    labels: integer class per sample.
    before: the network before each pass that led to `network`, by the passes' names, in order.
    source: spikes of the source framework itself per population, to verify the import.
    vendor_samples: how many of the first samples run in the vendor's runtime; None leaves that
        stage out, and the verdict incomplete.
    backend: which of the target's backends is the vendor's runtime, its first if None; or another.
    timeout: seconds for the vendor's run.
    progress: called with what is being done, how much of it is, and how much it is in all.

    Raises
    ------
    TargetError
        The target has no such backend.
    InputError
        Inputs or labels that do not fit.
    """
    if vendor_samples is not None and vendor_samples < 1:
        raise InputError(f"vendor_samples is {vendor_samples}, expected at least 1")
    vendor = get_backend(target, backend)
    given = check_currents(inputs, program.input_shapes)
    sent = check_inputs(given, program.input_shapes, program.graded, program.grids)
    truth = check_labels(labels, len(next(iter(given.values()))))
    expected = reference.simulate(network, given, progress=_of("running the reference", progress))
    prepared = prepare(program, target.machine)
    actual = run(prepared, sent, progress=_of("running the program", progress))
    judge = _Judge(expected, program.output, truth, gates or Gates())
    names = [population.name for population in network.populations]
    title = f"reference (float64) against program ({_arithmetic(prepared)})"
    lowering = judge.stage("lowering", title, actual, names)
    cell = earliest(lowering.layers)
    first = _divergence(program, network, prepared, given, sent, cell)
    attribution = Attribution(program, network, given, sent, expected, target, actual)
    causes = attribution.explanation(cell, _of("finding causes", progress))
    stages = [
        _import(network, given, source),
        *passes(before or {}, network, given, expected),
        *_input(program, network, sent, judge, names),
        replace(lowering, first=first),
        mapping(program, target, sent, actual),
        _golden(program, prepared),
    ]
    stage, vendors = _vendor(program, vendor, sent, actual, vendor_samples, timeout)
    stages.append(stage)
    for stage in stages:
        logger.info("%s: %s: %s", stage.name, stage.status, stage.text)
    return Verdict(
        program_hash=program.hash,
        target=program.target,
        stages=tuple(stages),
        agreement=judge.agreed(actual),
        reference_accuracy=judge.accuracy(expected),
        accuracy=judge.accuracy(actual),
        reference=expected,
        trace=actual,
        paired=judge.paired(actual),
        distances=tuple(distances(expected, actual, name) for name in names),
        vendor=vendors,
        causes=causes,
        certificate=certify(program, target) if isinstance(target, Certifies) else None,
    )


def _of(what: str, progress: Progress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def _import(
    network: Network, inputs: Mapping[str, NDArray[Any]], source: Mapping[str, Spikes] | None
) -> Stage:
    title = "source model against reference"
    if source is None:
        return Stage("import", title, "not run", "the source framework's spikes were not given")
    comparison = compare_import(network, inputs, Trace(source))
    status: Status = "passed" if comparison.passed else "failed"
    samples = comparison.samples
    return Stage("import", title, status, str(comparison), comparison.layers, samples)


def _arithmetic(prepared: Plan) -> str:
    """In what the neurons' states are kept: integers, or floating point of the chip."""
    kinds = {unit.cells.initial.dtype for unit in prepared.units}
    floating = sorted(str(kind) for kind in kinds if kind.kind == "f")
    return f"integer weights, {' and '.join(floating)} states" if floating else "integers"


@dataclass(frozen=True, eq=False)
class _Judge:
    """Compares runs with that of the reference, by cells and by decisions at one output."""

    expected: Trace
    output: str
    labels: NDArray[np.int64] | None
    gates: Gates

    def agreed(self, trace: Trace) -> Proportion:
        """Samples on which a run decides as the reference does."""
        return agreement(self.expected.decisions(self.output), trace.decisions(self.output))

    def accuracy(self, trace: Trace) -> Proportion | None:
        """Samples on which a run decides right; None without labels."""
        return None if self.labels is None else agreement(trace.decisions(self.output), self.labels)

    def paired(self, trace: Trace) -> Paired | None:
        """Samples that only the reference or only a run decides right; None without labels."""
        if self.labels is None:
            return None
        right = (one.decisions(self.output) == self.labels for one in (self.expected, trace))
        return paired(*right)

    def stage(self, name: str, title: str, actual: Trace, names: list[str]) -> Stage:
        """A lossy stage: how far a run is from the reference, against the gates."""
        layers = compare(self.expected, actual, names)
        total, cells = totals(layers)
        text = f"{total:,} of {cells:,} cells differ ({total / cells:.3%})"
        before, after = self.accuracy(self.expected), self.accuracy(actual)
        accuracies = None if before is None or after is None else (before, after)
        if accuracies is not None:
            text += f"; accuracy {accuracies[0].value:.2%} → {accuracies[1].value:.2%}"
        gates = self.gates.judge(self.agreed(actual), accuracies, (total, cells))
        text = "; ".join((text, *map(str, gates)))
        status: Status = "passed" if all(gate.passed for gate in gates) else "failed"
        return Stage(name, title, status, text, layers, self.expected.samples, None, gates)


def _input(
    program: Program,
    network: Network,
    sent: Mapping[str, Messages],
    judge: _Judge,
    names: list[str],
) -> list[Stage]:
    """The reference on what analog inputs are on their grids, if there are any."""
    if not program.grids:
        return []
    rounded = {name: grid.values(sent[name]) for name, grid in program.grids.items()}
    trace = reference.simulate(network, {**sent, **rounded})
    title = "reference on analog input against reference on the input's grid"
    return [judge.stage("input", title, trace, names)]


def _divergence(
    program: Program,
    network: Network,
    prepared: Plan,
    given: Mapping[str, NDArray[Any]],
    sent: Mapping[str, Messages],
    cell: Cell | None,
) -> Divergence | None:
    """Both potentials at a differing cell."""
    if cell is None:
        return None
    sample = slice(cell.sample, cell.sample + 1)
    at: tuple[int, ...] = (0, cell.step, *cell.neuron)
    every: tuple[Any, ...] = (0, slice(None), *cell.neuron)
    name = cell.population
    expected = reference.simulate(
        network, {port: array[sample] for port, array in given.items()}, record=(name,)
    )
    actual = run(prepared, {port: array[sample] for port, array in sent.items()}, record=(name,))
    states = in_model_units(actual.states[name], program.population(name))
    population = next(p for p in network.populations if p.name == name)
    return Divergence(
        cell,
        bool(expected.spikes[name][at]),
        float(population.threshold[cell.neuron]),
        float(expected.states[name]["v"][at]),
        float(states["potential"][at]),
        np.asarray(expected.states[name]["v"][every], np.float64),
        np.asarray(states["potential"][every], np.float64),
    )


def _golden(program: Program, prepared: Plan) -> Stage:
    """The program's own golden traces against the simulator as it is now."""
    title = "golden traces in the program against this simulator"
    names = [population.name for population in program.populations]
    if program.golden is None or set(program.golden.spikes) != set(names):
        text = "the program has no golden traces of all its populations"
        return Stage("golden", title, "not run", text)
    expected = Trace.of_sent({**program.golden.inputs, **program.golden.spikes})
    actual = run(prepared, program.golden.inputs)
    layers = compare(expected, actual, names)
    total, _ = totals(layers)
    text = "every spike is equal" if not total else f"{total:,} spikes differ"
    status: Status = "failed" if total else "passed"
    return Stage("golden", title, status, text, layers, expected.samples)


def _vendor(
    program: Program,
    vendor: Backend,
    inputs: Mapping[str, Messages],
    actual: Trace,
    samples: int | None,
    timeout: float,
) -> tuple[Stage, Trace | None]:
    """The program in the vendor's runtime against the simulator: must be equal in every cell."""
    title = f"program in this simulator against {vendor.title}"
    if samples is None:
        return Stage("vendor", title, "not run", "left out on request"), None
    some = {name: array[:samples] for name, array in inputs.items()}
    try:
        trace = vendor.run(program, some, timeout=timeout)
    except TargetError as error:
        return Stage("vendor", title, "not run", str(error)), None
    ours = Trace.of_sent({name: actual.sent(name)[:samples] for name in actual.spikes})
    layers = compare(trace, ours, [population.name for population in program.populations])
    total, cells = totals(layers)
    text = (
        f"{total:,} of {cells:,} cells differ: every population, every step, {ours.samples} samples"
    )
    wrong, read = potentials(program, actual, trace)
    total += wrong
    text += read
    status: Status = "failed" if total else "passed"
    return Stage("vendor", title, status, text, layers, ours.samples), trace
