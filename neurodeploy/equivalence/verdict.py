"""`verify`: the stages between a trained model and the chip, and a verdict that CI can gate on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from neurodeploy.bounds import Certifies
from neurodeploy.chunks import HERE, Tree, Where, map_chunks
from neurodeploy.equivalence.causes import Explanation
from neurodeploy.equivalence.certificate import Certificate, certify
from neurodeploy.equivalence.compare import earliest
from neurodeploy.equivalence.distances import Distances
from neurodeploy.equivalence.examination import Examination, Findings
from neurodeploy.equivalence.gates import Gates
from neurodeploy.equivalence.lossless import MAPPED_SAMPLES, PASS_SAMPLES, mapping, pass_stage
from neurodeploy.equivalence.stage import Stage
from neurodeploy.equivalence.stages import (
    Judge,
    arithmetic,
    divergence,
    event_at,
    golden_stage,
    input_stages,
    messages,
    source_stage,
    vendor_stage,
)
from neurodeploy.equivalence.statistics import Paired, Proportion, agreement, samples_needed
from neurodeploy.errors import InputError
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.target import Backend, Target, get_backend
from neurodeploy.trace import Spikes, Trace, check_currents, check_labels

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

SCHEMA = 1
"""Version of `verdict.schema.json`, which says what `Verdict.to_dict` gives."""
MARGIN = 0.01

CHUNK_SAMPLES = 256
"""Samples that are looked at together, at most."""
CHUNK_CELLS = 1 << 24
"""Of all populations and steps, at most, but for one sample."""
TRACED_CELLS = 1 << 28
"""Of all populations and steps, whose runs are kept: at least of one sample."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """All stages, and what the differences mean for decisions.

    Attributes
    ----------
    agreement: samples on which reference and program decide alike.
    reference_accuracy, accuracy: of the reference and of the program; None without labels.
    reference, trace: the runs themselves, for figures: of the first `TRACED_CELLS` cells.
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
    where: Where = HERE,
    chunk_samples: int | None = None,
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
    where: where samples are worked on, and what came of them is kept; elsewhere than here only
        with the network, passes and target that the program itself says.
    chunk_samples: samples that are looked at together; the verdict does not depend on it.

    Raises
    ------
    TargetError
        The target has no such backend.
    InputError
        Inputs or labels that do not fit.
    NeurodeployError
        As `chunks.map_chunks`.
    """
    if vendor_samples is not None and vendor_samples < 1:
        raise InputError(f"vendor_samples is {vendor_samples}, expected at least 1")
    vendor = get_backend(target, backend)
    given = check_currents(inputs, program.input_shapes)
    samples, steps = next(iter(given.values())).shape[:2]
    truth = check_labels(labels, samples)
    _check_source(source, samples)
    task = Examination(program, network, target, before or {})
    cells = steps * sum(population.size for population in program.populations)
    size = chunk_samples or min(CHUNK_SAMPLES, max(1, CHUNK_CELLS // cells))
    chunks = _chunks(given, source, size, max(1, TRACED_CELLS // cells), passes=bool(before))
    done = None if progress is None else _samples_of("comparing samples", size, samples, progress)
    found = Findings.joined(
        [Findings.from_tree(tree) for tree in map_chunks(task, chunks, where, done)]
    )
    judge = Judge(found.reference, truth, gates or Gates())
    cell = earliest(found.layers)
    title = f"reference (float64) against program ({arithmetic(task.prepared)})"
    first = divergence(task, given, cell)
    stages = [
        source_stage(network, given, source, found.imported),
        *(
            pass_stage(name, parts, min(samples, PASS_SAMPLES))
            for name, parts in zip(before or {}, found.passes, strict=True)
        ),
        *input_stages(program, found, judge),
        judge.stage("lowering", title, found.program, found.layers, first),
        mapping(found.cut),
        golden_stage(task),
    ]
    some = {name: array[:vendor_samples] for name, array in given.items()}
    left_out = vendor_samples is None
    stage, vendors = vendor_stage(task, vendor, some, timeout, where.state, left_out=left_out)
    stages.append(stage)
    for stage in stages:
        logger.info("%s: %s: %s", stage.name, stage.status, stage.text)
    before_chip, on_chip = found.runs
    return Verdict(
        program_hash=program.hash,
        target=program.target,
        stages=tuple(stages),
        agreement=agreement(found.reference, found.program),
        reference_accuracy=judge.accuracy(found.reference),
        accuracy=judge.accuracy(found.program),
        reference=before_chip.trace(given),
        trace=on_chip.trace(messages(program, given)),
        paired=judge.paired(found.program),
        distances=tuple(one.means for one in found.sums),
        vendor=vendors,
        causes=Explanation(found.causes, event_at(task, given, cell)),
        certificate=certify(program, target) if isinstance(target, Certifies) else None,
    )


def _check_source(source: Mapping[str, Spikes] | None, samples: int) -> None:
    for name, spikes in (source or {}).items():
        if len(spikes) != samples:
            raise InputError(
                f"{len(spikes)} samples of the source, {samples} of the inputs", node=name
            )


def _chunks(
    given: Mapping[str, NDArray[Any]],
    source: Mapping[str, Spikes] | None,
    size: int,
    traced: int,
    *,
    passes: bool,
) -> list[Tree]:
    """Samples one part after another, see `Examination`."""
    samples = len(next(iter(given.values())))
    found = []
    for start in range(0, samples, size):
        part, length = slice(start, start + size), min(size, samples - start)

        def of_first(most: int, start: int = start, length: int = length) -> int:
            return max(0, min(length, most - start))

        found.append(
            {
                "inputs": {name: array[part] for name, array in given.items()},
                "source": source and {name: array[part] for name, array in source.items()},
                "passes": of_first(PASS_SAMPLES * passes),
                "mapped": of_first(MAPPED_SAMPLES),
                "traced": of_first(traced),
            }
        )
    return found


def _samples_of(
    what: str, size: int, samples: int, progress: Progress
) -> Callable[[int, int], None]:
    """Chunks as samples."""
    return lambda done, total: progress(what, min(done * size, samples), samples)
