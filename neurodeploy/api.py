"""The verbs, as functions: what `import neurodeploy` offers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nir
from numpy.typing import NDArray

from neurodeploy.choices import Settings
from neurodeploy.chunks import Where
from neurodeploy.compilation import calibrated, carried, completed, lowered
from neurodeploy.equivalence.gates import Gates
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.equivalence.verdict import verify as _verify
from neurodeploy.errors import DesignRuleError, InputError, TargetError
from neurodeploy.frontends import nir as nir_frontend
from neurodeploy.frontends.lava_dl import read_net
from neurodeploy.frontends.presets import Preset
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import (
    Backend,
    Bundles,
    Reads,
    Report,
    cores_of,
    get_backend,
    get_target,
)
from neurodeploy.trace import (
    Inputs,
    Spikes,
    Trace,
    check_inputs,
    check_labels,
)

if TYPE_CHECKING:
    from neurodeploy.costs.estimate import EnergyReport
    from neurodeploy.costs.ranking import Ranking
    from neurodeploy.exploration import Constraints, Exploration
    from neurodeploy.frontends.nir_write import Profile, Written
    from neurodeploy.mapping.placement import Placement

logger = logging.getLogger(__name__)


def load(
    source: nir.NIRGraph | str | Path, semantics: Semantics | Preset | str | None = None
) -> Network:
    """A NIR graph or a file as the `Network` that it means; see `frontends.nir.load`.

    A file named `.net` is read as one of lava-dl (see `frontends.lava_dl.read_net`), any other as
    `.nir`.
    """
    if isinstance(source, nir.NIRGraph):
        return nir_frontend.load(source, semantics)
    return nir_frontend.means(_read(Path(source)), semantics)


def _read(path: Path) -> nir.NIRGraph:
    return read_net(path) if path.suffix == ".net" else nir_frontend.read(path)


def write(
    source: nir.NIRGraph | str | Path,
    path: str | Path,
    *,
    profile: Profile = "exact",
    semantics: Semantics | Preset | str | None = None,
    inputs: Inputs | None = None,
) -> Written:
    """Write a graph, or what a file holds, to a `.nir` file; see `frontends.nir_write.write`."""
    from neurodeploy.frontends import nir_write

    graph = source if isinstance(source, nir.NIRGraph) else _read(Path(source))
    return nir_write.write(graph, path, profile=profile, semantics=semantics, inputs=inputs)


def compile(  # the verb's name; the builtin is not used here
    source: nir.NIRGraph | Network | str | Path,
    *,
    target: str,
    calibration: Inputs,
    semantics: Semantics | Preset | str | None = None,
    settings: Settings | None = None,
    neurons_per_core: Mapping[str, int] | None = None,
) -> Program:
    """Compile a NIR graph, a `.nir` or `.net` file or a `Network` for a chip.

    A file that holds integers of the target already, as a `.net` does for `loihi2`, is taken as it
    is.

    Parameters
    ----------
    target: name of an installed target, such as `loihi2`.
    calibration: typical input (samples, steps, *shape), spikes or analog values; it chooses a
        population's scale wherever none can be proven safe for every input.  An input with any
        value but 0 and 1 is analog: it gets a `Grid` that spans these values, if the chip takes
        such.  The first four samples become the program's golden traces.
    semantics: for neurons of a file that does not say what a step means; also by name, such as
        `norse`.
    settings: of populations, such as a candidate of `explore` has; not for a file of integers.
    neurons_per_core: population -> most neurons on one core, for more cores than it needs: each is
        less busy.

    Raises
    ------
    ModelError, SemanticsError, DesignRuleError
        What cannot be put on this chip, all of it at once, with what to do.
    InputError
        Calibration data that does not fit, or is analog where the chip takes spikes; neurons per
        core of what has none.
    """
    chip = get_target(target)
    if (
        isinstance(source, (str, Path))
        and isinstance(chip, Reads)
        and (Path(source).suffix in chip.suffixes)
        and settings is None
    ):
        program = chip.read(Path(source))
        spikes = check_inputs(calibration, program.input_shapes, program.graded)
    else:
        network = source if isinstance(source, Network) else load(source, semantics)
        network, given, trace = calibrated(network, chip, calibration)
        program = lowered(chip, network, trace, settings)
        spikes = check_inputs(given, program.input_shapes, program.graded, program.grids)
    return completed(program, chip, spikes, neurons_per_core)


def network_of(program: Program) -> Network:
    """The reference network that a program carries, rewritten as it was for compilation.

    Raises `InputError` where it carries none, as one that was read from integers may.
    """
    return carried(program)[0]


def run(
    program: Program,
    inputs: Inputs,
    *,
    record: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
    backend: str | None = None,
    timeout: float = 600.0,
) -> Trace:
    """Run a program in the bit-accurate simulator; see `simulator.engine.simulate`.

    Parameters
    ----------
    inputs: (samples, steps, *shape), analog where that is what the program was compiled for.
    backend: run it in this backend of the target instead, such as `lava`; with `record`, states of
        all populations come with it.
    timeout: seconds for the backend.

    Raises
    ------
    TargetError
        No such backend, or it is not available or failed.
    """
    target = get_target(program.target)
    messages = check_inputs(inputs, program.input_shapes, program.graded, program.grids)
    if backend is None:
        return simulate(program, messages, target.machine, record=record, progress=progress)
    runtime = get_backend(target, backend)
    return runtime.run(program, messages, timeout=timeout, states=bool(record))


def verify(
    program: Program,
    inputs: Inputs,
    *,
    labels: NDArray[Any] | None = None,
    source: Mapping[str, Spikes] | None = None,
    vendor_samples: int | None = 100,
    backend: str | Backend | None = None,
    timeout: float = 600.0,
    gates: Gates | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    scheduler: str | None = None,
    state: str | Path | None = None,
) -> Verdict:
    """Prove how equal a program is to its model; see `equivalence.verdict.verify`.

    Parameters
    ----------
    scheduler, state: where samples are worked on and what came of them is kept; see
        `chunks.Where`.  The verdict is the same everywhere, to the last bit.

    Raises
    ------
    DesignRuleError
        The program, whatever file it came from, breaks a rule of its chip.
    """
    target = get_target(program.target)
    violations = target.check(program)
    if violations:
        raise DesignRuleError(violations)
    network, before = carried(program)
    return _verify(
        program,
        network,
        target,
        inputs,
        labels=labels,
        before=before,
        source=source,
        vendor_samples=vendor_samples,
        backend=backend,
        timeout=timeout,
        gates=gates,
        progress=progress,
        where=_where(scheduler, state),
    )


def _where(scheduler: str | None, state: str | Path | None) -> Where:
    return Where(scheduler, None if state is None else Path(state))


def energy(
    program: Program,
    inputs: Inputs | Trace,
    *,
    level: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    scheduler: str | None = None,
    state: str | Path | None = None,
) -> EnergyReport:
    """Energy and latency per inference from exact counts; see `costs`.

    Parameters
    ----------
    inputs: what to run, or the trace of a run of this program.
    level: performance level of the chip, if it has several; by default the first of its file.
    progress: called with (samples done, samples).
    scheduler, state: where inputs are run and what came of it is kept; see `chunks.Where`.

    Raises
    ------
    FileError
        No such performance level.
    TargetError
        Nothing is known about the target's energies, as for a number format.
    """
    from neurodeploy.costs import count, estimate
    from neurodeploy.costs.counting import counted
    from neurodeploy.costs.metrics import metrics, seen
    from neurodeploy.costs.models import model_of

    chip = get_target(program.target).chip.at_level(level)
    model_of(chip)
    placement = place(program)
    if isinstance(inputs, Trace):
        counts, met = count(program, inputs, placement), seen(program, inputs)
    else:
        counts, met = counted(program, inputs, _where(scheduler, state), progress)
    return estimate(counts, chip, placement, metrics(program, met))


def rank(program: Program, other: Program, inputs: Inputs, *, level: str | None = None) -> Ranking:
    """Which of two programs for one chip costs less on the same inputs; see `costs.ranking.rank`.

    Raises
    ------
    InputError
        They are for different targets.
    FileError, TargetError
        As `energy`.
    """
    from neurodeploy.costs.counts import count
    from neurodeploy.costs.draws import draw
    from neurodeploy.costs.ranking import rank

    if program.target != other.target:
        raise InputError(f"one program is for {program.target}, the other for {other.target}")
    chip = get_target(program.target).chip.at_level(level)
    placed = ((one, place(one)) for one in (program, other))
    first, second = (
        draw(count(one, run(one, inputs), where), chip, where) for one, where in placed
    )
    return rank(first, second, chip.title)


def explore(
    source: nir.NIRGraph | Network | str | Path,
    *,
    target: str,
    inputs: Inputs,
    labels: NDArray[Any] | None = None,
    constraints: Constraints | None = None,
    budget: int = 64,
    state: str | Path | None = None,
    semantics: Semantics | Preset | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    scheduler: str | None = None,
) -> Exploration:
    """Search the settings of a target, population by population; see `exploration`.

    Every candidate is compiled with `inputs` as calibration and run on them in the bit-accurate
    simulator.  `compile` with the `settings` of one gives its program.

    Parameters
    ----------
    inputs: (samples, steps, *shape), spikes or analog values.
    labels: integer class per sample; without them decisions are compared with the reference's.
    budget: candidates to try at most.
    scheduler, state: where candidates are evaluated and kept; see `chunks.Where`.

    Raises
    ------
    InputError
        The target has nothing to choose, or no figures for a constraint.
    FileError, TargetError
        As `chunks.map_chunks`.
    """
    from neurodeploy import exploration

    chip = get_target(target)
    network = source if isinstance(source, Network) else load(source, semantics)
    network, given, trace = calibrated(network, chip, inputs)
    return exploration.explore(
        network,
        chip,
        given,
        trace,
        labels=check_labels(labels, trace.samples),
        constraints=constraints or exploration.Constraints(),
        budget=budget,
        where=_where(scheduler, state),
        progress=progress,
    )


def place(program: Program) -> Placement:
    """Where a program's neurons are on its chip, and what they use; see `mapping.place`."""
    from neurodeploy import mapping

    return mapping.place(program, cores_of(program))


def bundle(
    program: Program,
    folder: str | Path,
    inputs: Inputs | None = None,
    *,
    labels: NDArray[Any] | None = None,
) -> str:
    """Write a folder with which the owner of a chip runs `program`, and reports what it did.

    Parameters
    ----------
    inputs: spikes (samples, steps, *shape) to run there; those of the golden traces if None.
    labels: integer class per sample.

    Returns
    -------
    A SHA-256 of what is in it.

    Raises
    ------
    TargetError
        Programs of this target run otherwise.
    DesignRuleError, ModelError
        The program, on these inputs, cannot run on the chip.
    FileError
        The folder holds something else, or cannot be written.
    """
    if inputs is None:
        if program.golden is None:
            raise InputError("the program has no golden traces, so inputs are needed")
        inputs = program.golden.inputs
    spikes = check_inputs(inputs, program.input_shapes, program.graded)
    truth = check_labels(labels, len(next(iter(spikes.values()))))
    return _bundles(program).write_bundle(program, Path(folder), spikes, truth)


def read_report(path: str | Path, program: Program) -> Report:
    """What a bundle's run reported; as `backend` of `verify` it is the vendor's runtime.

    Raises
    ------
    FileError
        Missing, no report, or of another program.
    TargetError
        The target has no bundles.
    """
    return _bundles(program).read_report(Path(path), program)


def _bundles(program: Program) -> Bundles:
    target = get_target(program.target)
    if not isinstance(target, Bundles):
        raise TargetError(
            "it has no bundles",
            node=f"target {program.target}",
            hint="Its programs are .ndp files.",
        )
    return target
