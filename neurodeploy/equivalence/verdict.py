"""`verify`: the stages between a trained model and the chip, and a verdict that CI can gate on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.bounds import Certifies
from neurodeploy.equivalence.certificate import Certificate, certify
from neurodeploy.equivalence.compare import Cell, Layer, compare, earliest, totals
from neurodeploy.equivalence.imported import compare_import
from neurodeploy.equivalence.statistics import Proportion, agreement
from neurodeploy.errors import InputError, TargetError
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.simulator.engine import in_model_units, prepare, run
from neurodeploy.target import Backend, Target, get_backend
from neurodeploy.trace import Messages, Spikes, Trace, check_currents, check_inputs, check_labels

if TYPE_CHECKING:
    from neurodeploy.simulator.plan import Plan

logger = logging.getLogger(__name__)

Status = Literal["passed", "failed", "not run"]


@dataclass(frozen=True)
class Divergence:
    """Where two runs first part, with both membrane potentials in units of the model.

    A margin is potential minus threshold: its sign decides the spike.
    """

    cell: Cell
    expected_spike: bool
    threshold: float
    expected_potential: float
    potential: float

    def __str__(self) -> str:
        cell = self.cell
        neuron = ",".join(map(str, cell.neuron))
        what = "spikes" if self.expected_spike else "stays silent"
        return (
            f"{cell.population}[{neuron}], sample {cell.sample}, step {cell.step}: the reference "
            f"{what} at {self.expected_potential:.6g}, the chip is at {self.potential:.6g}, "
            f"threshold {self.threshold:.6g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self.cell),
            "expected_spike": self.expected_spike,
            "threshold": self.threshold,
            "expected_potential": self.expected_potential,
            "potential": self.potential,
        }


@dataclass(frozen=True)
class Stage:
    """One comparison.

    Attributes
    ----------
    name: `import`, `input`, `lowering`, `golden` or `vendor`.
    title: what was compared with what.
    status: `not run` is never a pass.
    text: one sentence on the result, or why it did not run.
    layers: per population; empty where it did not run.
    samples: how many samples were compared.
    """

    name: str
    title: str
    status: Status
    text: str
    layers: tuple[Layer, ...] = ()
    samples: int = 0
    first: Divergence | None = None

    @property
    def mismatches(self) -> int:
        """Differing cells over all layers."""
        return totals(self.layers)[0]

    @property
    def cells(self) -> int:
        """Compared cells over all layers."""
        return totals(self.layers)[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "title": self.title,
            "status": self.status,
            "text": self.text,
            "samples": self.samples,
            "cells": self.cells,
            "mismatches": self.mismatches,
            "layers": [layer.to_dict() for layer in self.layers],
            "first": None if self.first is None else self.first.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Verdict:
    """All stages, and what the differences mean for decisions.

    Attributes
    ----------
    agreement: samples on which reference and program decide alike.
    reference_accuracy, accuracy: of the reference and of the program; None without labels.
    reference, trace: the runs themselves, for figures and energy.
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
    certificate: Certificate | None = None

    @property
    def status(self) -> Literal["passed", "failed", "incomplete"]:
        """`failed` if any stage failed, `passed` if all ran and passed, else `incomplete`."""
        statuses = {stage.status for stage in self.stages}
        if "failed" in statuses:
            return "failed"
        return "passed" if statuses == {"passed"} else "incomplete"

    @property
    def passed(self) -> bool:
        """Every stage ran and passed."""
        return self.status == "passed"

    def stage(self, name: str) -> Stage:
        """The stage called `name`."""
        return next(stage for stage in self.stages if stage.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        accuracies = {"reference_accuracy": self.reference_accuracy, "accuracy": self.accuracy}
        return {
            "status": self.status,
            "program": self.program_hash,
            "target": self.target,
            "stages": [stage.to_dict() for stage in self.stages],
            "agreement": self.agreement.to_dict(),
            **{k: None if v is None else v.to_dict() for k, v in accuracies.items()},
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
        }


@dataclass(frozen=True)
class Gates:
    """What the lossy stages (`input`, `lowering`) must reach.

    `accuracy_drop` applies where there are labels, `agreement` of decisions where there are none.
    """

    accuracy_drop: float = 0.01
    agreement: float = 0.95


def verify(
    program: Program,
    network: Network,
    target: Target,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]],
    *,
    labels: NDArray[Any] | None = None,
    source: Mapping[str, Spikes] | None = None,
    vendor_samples: int | None = 100,
    backend: str | Backend | None = None,
    timeout: float = 600.0,
    gates: Gates | None = None,
) -> Verdict:
    """Compare source model, reference, program and vendor runtime, spike by spike.

    Parameters
    ----------
    network: the reference of `program`.
    inputs: (samples, steps, *shape), analog where that is what the program was compiled for; then
        the stage `input` says what rounding them to the program's grid does by itself.
    labels: integer class per sample.
    source: spikes of the source framework itself per population, to verify the import.
    vendor_samples: how many of the first samples run in the vendor's runtime; None leaves that
        stage out, and the verdict incomplete.
    backend: which of the target's backends is the vendor's runtime, its first if None; or another.
    timeout: seconds for the vendor's run.

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
    expected = reference.simulate(network, given)
    prepared = prepare(program, target.machine)
    actual = run(prepared, sent)
    judge = _Judge(expected, program.output, truth, gates or Gates())
    names = [population.name for population in network.populations]
    lowering = judge.stage(
        "lowering", "reference (float64) against program (integers)", actual, names
    )
    first = _divergence(program, network, prepared, given, sent, earliest(lowering.layers))
    stages = [
        *([] if source is None else [_import(network, given, Trace(source))]),
        *_input(program, network, sent, judge, names),
        replace(lowering, first=first),
        _golden(program, prepared),
        _vendor(program, vendor, sent, actual, vendor_samples, timeout),
    ]
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
        certificate=certify(program, target) if isinstance(target, Certifies) else None,
    )


def _import(network: Network, inputs: Mapping[str, NDArray[Any]], source: Trace) -> Stage:
    comparison = compare_import(network, inputs, source)
    return Stage(
        "import",
        "source model against reference",
        "passed" if comparison.passed else "failed",
        str(comparison),
        comparison.layers,
        source.samples,
    )


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

    def stage(self, name: str, title: str, actual: Trace, names: list[str]) -> Stage:
        """A lossy stage: how far a run is from the reference, against the gates."""
        layers = compare(self.expected, actual, names)
        total, cells = totals(layers)
        text = f"{total:,} of {cells:,} cells differ ({total / cells:.3%})"
        before, after = self.accuracy(self.expected), self.accuracy(actual)
        if before is None or after is None:
            agreed = self.agreed(actual).value
            good = agreed >= self.gates.agreement
            text += f"; decisions agree on {agreed:.1%} (gate: {self.gates.agreement:.1%})"
        else:
            drop = before.value - after.value
            good = drop <= self.gates.accuracy_drop
            text += (
                f"; accuracy {before.value:.2%} → {after.value:.2%} "
                f"(gate: a drop of {self.gates.accuracy_drop:.1%})"
            )
        status: Status = "passed" if good else "failed"
        return Stage(name, title, status, text, layers, self.expected.samples)


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
    at = (0, cell.step, *cell.neuron)
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
) -> Stage:
    """The program in the vendor's runtime against the simulator: must be equal in every cell."""
    title = f"program in this simulator against {vendor.title}"
    if samples is None:
        return Stage("vendor", title, "not run", "left out on request")
    some = {name: array[:samples] for name, array in inputs.items()}
    try:
        trace = vendor.run(program, some, timeout=timeout)
    except TargetError as error:
        return Stage("vendor", title, "not run", str(error))
    ours = Trace.of_sent({name: actual.sent(name)[:samples] for name in actual.spikes})
    layers = compare(trace, ours, [population.name for population in program.populations])
    total, cells = totals(layers)
    text = (
        f"{total:,} of {cells:,} cells differ: every population, every step, {ours.samples} samples"
    )
    for name in program.outputs:
        if program.population(name).readout == "membrane":
            differs = trace.values[name] != actual.values[name][:samples]
            wrong = int(np.count_nonzero(differs))
            text += f"; {wrong:,} of {differs.size:,} potentials of {name}"
            total += wrong
    return Stage("vendor", title, "failed" if total else "passed", text, layers, ours.samples)
