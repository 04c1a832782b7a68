"""What a target is, and how targets are found.

A target is an object registered under the entry-point group `neurodeploy.targets`.  The library
never imports a target by name: third parties register theirs the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurodeploy.chip import Chip
from neurodeploy.choices import Choice, Settings
from neurodeploy.errors import TargetError, Violation
from neurodeploy.network import Network, Population
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.quantity import Quantity
from neurodeploy.semantics import Semantics
from neurodeploy.trace import Messages, Trace

if TYPE_CHECKING:
    from neurodeploy.costs.validation import Anchor
    from neurodeploy.equivalence.dynamics import Dynamics
    from neurodeploy.mapping.cores import Cores
    from neurodeploy.mapping.placement import Placement
    from neurodeploy.torch.cells import Arithmetic

GROUP = "neurodeploy.targets"
Progress = Callable[[float, str], None]


class Cells(Protocol):
    """One population ready to run; its neurons lie in tiles of 128 lanes (`simulator.kernels`)."""

    @property
    def initial(self) -> NDArray[Any]:
        """State before the first step, (tiles, registers, 128): int32, int64 or float32.

        Its dtype is that of recorded states, and the one in which `advance` wants currents, which
        are int32 where states are float32.
        """

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the neurons' inputs: no synapse may end at another."""

    @property
    def recorded(self) -> tuple[str, ...]:
        """Names of the states that can be recorded."""

    def advance(
        self,
        currents: Mapping[str, NDArray[Any]],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
        messages: NDArray[np.int32] | None,
    ) -> None:
        """Run some steps of some tiles.

        Parameters
        ----------
        currents: by port, (tiles, samples, steps, 128): what neurons receive in each step.  The
            first of `ports` is always there, the others where a synapse ends at them.
        state: (tiles, samples, registers, 128), changed.
        words: uint64 (samples, all steps, words); bit i of word w is set where lane 64 w + i
            spikes.  Steps from `step` on and words from 2 `first` on are filled.
        step: the first step, in each sample.
        first: which tile of the population comes first in `currents` and `state`.
        record: for each of `recorded` an array like a current to be filled, or nothing.
        messages: of a population that sends integers, an int32 array like a current to be filled;
            `words` are then written by the caller.
        """


@runtime_checkable
class Adds(Cells, Protocol):
    """Cells that add up what arrives by themselves, tile by tile.

    Sums then stay in a core's own cache, and nothing but one kernel runs for a population.
    """

    def advance_on(
        self,
        sums: tuple[Any, ...],
        current: NDArray[np.int32],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
    ) -> None:
        """As `advance`, of neurons that only all-to-all synapses of 8 bits reach.

        Parameters
        ----------
        sums: see `simulator.kernels.sum_rows`.
        current: a buffer, (1, some samples, steps, 128).
        """


@runtime_checkable
class Machine(Protocol):
    """A chip's arithmetic, as the simulator uses it."""

    @property
    def plain(self) -> Machine:
        """The same arithmetic without anything compiled: its cells need numpy alone."""

    def activation(self, total: NDArray[np.int64], synapses: Synapses) -> NDArray[np.int64]:
        """What a population receives for an exact sum of weights."""

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        """k with `activation(total) == total * 2^k` for every total in low..high, if any.

        A negative k is possible where 2^-k divides every weight, and so every total.
        """

    def cells(
        self, population: Neurons, own: NDArray[np.int64], bounds: tuple[int, int] | None
    ) -> Cells:
        """The neurons of `population`, whose shape is (lanes,), a multiple of 128.

        Parameters
        ----------
        own: int64 (lanes,), what a neuron's spike adds to its own current one step later.
        bounds: least and greatest current that any input can bring from elsewhere, both within 32
            bits, or None if that is not known; then the state must be int64.

        Raises
        ------
        InputError
            Neurons that the chip does not have or cannot compute.
        """


class Backend(Protocol):
    """The vendor's own runtime, or another independent one, for a target's programs."""

    @property
    def title(self) -> str:
        """For reports: what it is, with its version as it is here."""

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """Run all samples, each from the initial state.

        Parameters
        ----------
        inputs: (samples, steps, *shape) per input, as `trace.check_inputs` returns them.
        timeout: seconds for everything.
        states: also return the neurons' states after every step.

        Raises
        ------
        TargetError
            It is not available, failed, took longer, or keeps no states.
        """


@runtime_checkable
class Reads(Protocol):
    """A target that takes some files as they are: they hold integers of its chip already."""

    @property
    def suffixes(self) -> frozenset[str]:
        """Of the files' names, such as `.net`."""

    def read(self, path: Path) -> Program:
        """The program in such a file, without golden traces.

        Raises `FileError` and `ModelError`.
        """


class Report(Backend, Protocol):
    """A run elsewhere, read back: as a `Backend` it gives what was recorded, and runs nothing."""

    @property
    def samples(self) -> int:
        """How many were run."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What the run itself complained of."""

    @property
    def measured(self) -> Mapping[str, Quantity]:
        """What it measured, per inference; raises `TargetError` where that is nothing."""


@runtime_checkable
class Bundles(Protocol):
    """A target whose programs go to the owner of a chip as a folder, and come back as a report."""

    def write_bundle(
        self,
        program: Program,
        folder: Path,
        inputs: Mapping[str, Messages],
        labels: NDArray[np.int64] | None,
    ) -> str:
        """Write the folder and return a SHA-256 of its content.

        Raises `DesignRuleError`, `ModelError`, `InputError` and `FileError`.
        """

    def read_report(self, path: Path, program: Program) -> Report:
        """A report of a run of `program`; raises `FileError`."""


Basis = Literal["recorded on a chip", "read in chip code", "inferred"]


@dataclass(frozen=True)
class Evidence:
    """What it rests on that a chip does what the simulator does.

    Attributes
    ----------
    subject: a neuron model, or a feature of neurons or synapses.
    text: what is known, and what is not.
    """

    subject: str
    basis: Basis
    text: str
    source: str


@runtime_checkable
class Evident(Protocol):
    """A target that says how sure its arithmetic is, where its chip is not documented in full."""

    def evidence(self, program: Program) -> tuple[Evidence, ...]:
        """For all that `program` uses."""


@runtime_checkable
class Explains(Protocol):
    """A target that says what one step of its neurons is, so that differences have causes."""

    def dynamics(self, program: Program, model: Population) -> Dynamics:
        """The step of the population that is called as `model`, which it stands for.

        Without what other neurons, or synapses of a neuron to itself, add.  Where a chip's step can
        be described in several ways, `model` chooses among them.

        Raises
        ------
        TargetError
            Neurons that have no such description.
        """


@runtime_checkable
class Places(Protocol):
    """A target whose chip has cores that neurons are placed on."""

    def cores(self, program: Program) -> Cores:
        """The chip's cores, as `program` uses them."""


@dataclass(frozen=True)
class Proposal:
    """A setting for the one who runs a program, or a fact that it follows from."""

    node: str
    what: str
    value: Quantity


@runtime_checkable
class Proposes(Protocol):
    """A target whose runtime must be told how to run a program."""

    def proposals(self, program: Program, placement: Placement) -> tuple[Proposal, ...]:
        """Settings, from the program's golden traces, which it must have."""


@runtime_checkable
class Simulates(Protocol):
    """A target that can simulate networks whose energy others measured on its chip."""

    def simulated(self) -> tuple[Anchor, ...]:
        """Simulate and count them.

        Raises `NeurodeployError` where one cannot be had here.
        """


@runtime_checkable
class TakesAnalog(Protocol):
    """A target some of whose chips take analog input.

    `lower` then finds it among the `values` of the calibration trace and gives each such input of
    the program a `Grid`.
    """

    @property
    def analog(self) -> bool:
        """Whether this one does."""


@runtime_checkable
class Explores(Protocol):
    """A target that can put a network on its chip in several ways."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What can be chosen."""

    def lower_with(self, network: Network, calibration: Trace, settings: Settings) -> Program:
        """As `Target.lower`, with settings among `choices`."""


@runtime_checkable
class Raises(Protocol):
    """A target that reads a program back: what `lower` does to weights and biases, undone."""

    def raised(self, program: Program, network: Network) -> Network:
        """`network`, from which `program` was lowered, with what its weights and biases mean now.

        Raises
        ------
        ModelError
            Weights that belong to no one connection.
        """


@runtime_checkable
class Differentiable(Protocol):
    """A target whose programs can be trained; see `neurodeploy.torch.ChipModule`."""

    def differentiable(self) -> Arithmetic:
        """Its arithmetic on tensors; the only method that imports torch."""


@runtime_checkable
class Target(Protocol):
    """A chip that programs can be compiled for."""

    @property
    def name(self) -> str:
        """Unique, as on the command line."""

    @property
    def description(self) -> str:
        """One line."""

    @property
    def semantics(self) -> Semantics:
        """What one step means on this chip."""

    @property
    def machine(self) -> Machine:
        """Its arithmetic."""

    @property
    def chip(self) -> Chip:
        """Its chip file: limits and constants."""

    @property
    def backends(self) -> Mapping[str, Backend]:
        """Other runtimes of its programs, by name; verification takes the first."""

    def lower(self, network: Network, calibration: Trace) -> Program:
        """Put `network` on the chip's number grid; `calibration` is its reference trace.

        Raises `SemanticsError` with everything that cannot be lowered.
        """

    def check(self, program: Program) -> tuple[Violation, ...]:
        """All broken design rules."""


@dataclass(frozen=True)
class Found:
    """A registered target: loaded, or the error that kept it from loading."""

    name: str
    target: Target | None
    error: str | None


def find_targets() -> tuple[Found, ...]:
    """All registered targets, sorted by name; broken plug-ins are listed with their error."""
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            target = entry.load()
            if not isinstance(target, Target):
                raise TypeError(f"{entry.value} is a {type(target).__name__}, not a target")
            found.append(Found(entry.name, target, None))
        except Exception as error:  # a plug-in may raise anything
            found.append(Found(entry.name, None, f"{type(error).__name__}: {error}"))
    return tuple(found)


def get_target(name: str) -> Target:
    """The target called `name`.

    Raises
    ------
    TargetError
        Unknown, or it could not be loaded.
    """
    found = {item.name: item for item in find_targets()}
    if name not in found:
        raise TargetError(
            f"unknown target {name!r}", hint=f"Installed: {', '.join(found) or 'none'}."
        )
    item = found[name]
    if item.target is None:
        raise TargetError(f"could not be loaded ({item.error})", node=f"target {name}")
    return item.target


def cores_of(program: Program) -> Cores:
    """The cores of the program's chip.

    Raises
    ------
    TargetError
        It has none.
    """
    target = get_target(program.target)
    if not isinstance(target, Places):
        raise TargetError("it has no neurocores to place neurons on", node=target.chip.title)
    return target.cores(program)


def evidence_of(program: Program) -> tuple[Evidence, ...]:
    """What the program's target says on it, if that says anything."""
    target = get_target(program.target)
    return target.evidence(program) if isinstance(target, Evident) else ()


def get_backend(target: Target, name: str | Backend | None) -> Backend:
    """The target's backend called `name`, or for None its first; or the one that is given.

    Raises
    ------
    TargetError
        It has none of that name.
    """
    if name is not None and not isinstance(name, str):
        return name
    backends = target.backends
    chosen = next(iter(backends)) if name is None else name
    if chosen not in backends:
        raise TargetError(
            f"unknown backend {name!r}", node=target.name, hint=f"It has: {', '.join(backends)}."
        )
    return backends[chosen]
