"""Other runtimes of SpiNNaker2 programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.errors import InputError, TargetError
from neurodeploy.program import Program
from neurodeploy.targets.spinnaker2.ticks import run_ticks
from neurodeploy.trace import Messages, Trace


@dataclass(frozen=True)
class Ticks:
    """The `Backend` called `ticks`: an implementation of its own, but no vendor's."""

    title = "the chip's ticks in plain numpy (our second implementation, no vendor's software)"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """See `ticks.run_ticks`; `TargetError` for what the chip does not have, too."""
        try:
            return run_ticks(program, inputs, timeout=timeout, states=states)
        except InputError as error:
            raise TargetError(error.message, node=error.node, hint=error.hint) from error


@dataclass(frozen=True)
class Board:
    """The `Backend` called `board`: a chip, which only the owner of one can run programs on."""

    title = "SpiNNaker2 (py-spinnaker2 on a board)"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """Always raises `TargetError`: no board is driven from here."""
        raise TargetError(
            "a SpiNNaker2 board runs programs through py-spinnaker2, on its owner's machine",
            node="target spinnaker2",
            hint="`neurodeploy bundle` writes the folder to run there, and verify --report reads "
            "back what it recorded.",
        )


@dataclass(frozen=True)
class Brian2:
    """The `Backend` called `brian2`: that of py-spinnaker2, where it can be imported.

    It deviates from the chip, as its authors say: neurons fire at v > threshold, not at v >=
    threshold, and those with synaptic currents update these in another order.
    """

    title = "py-spinnaker2's Brian2 backend, which fires at v > threshold and not at v >= threshold"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """See `bundle.running.run_in_brian2`."""
        from neurodeploy.targets.spinnaker2.bundle.running import run_in_brian2

        if states:
            raise TargetError("the Brian2 backend gives spikes only, no states")
        return run_in_brian2(program, inputs, timeout=timeout)
