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
        )
