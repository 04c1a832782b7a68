"""Where a Loihi program can run beside our simulator: Lava on this machine, and the chip itself."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neurodeploy.errors import LavaError, ModelError, TargetError
from neurodeploy.program import Program
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.trace import Messages, Trace

CHECK_SECONDS = 60.0


@dataclass(frozen=True)
class Lava:
    """The `Backend` called `lava`: Lava's fixed-point models, on this machine."""

    @property
    def title(self) -> str:
        """With the version of Lava, and the Python where that is not the reference."""
        try:
            return f"Lava ({environment.locate().title})"
        except LavaError:
            return f"Lava (lava-nc {environment.requirements()['lava-nc']})"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """See `vendor.run_in_lava`."""
        from neurodeploy.targets.loihi.vendor import run_in_lava

        return run_in_lava(program, inputs, timeout=timeout, states=states)


@dataclass(frozen=True)
class Netx:
    """The `Backend` called `netx`: a `.net` file of the program, which lava-dl's NetX builds."""

    @property
    def title(self) -> str:
        """With the versions of lava-dl and Lava."""
        return f"NetX (lava-dl {environment.requirements()['lava-dl']}) in {Lava().title}"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """See `netx.running.run_in_netx`; `TargetError` for what no `.net` file can hold."""
        from neurodeploy.targets.loihi.netx.running import run_in_netx

        try:
            return run_in_netx(program, inputs, timeout=timeout, states=states)
        except ModelError as error:
            raise TargetError(error.message, node=error.node, hint=error.hint) from error


@dataclass(frozen=True)
class Silicon:
    """The `Backend` called `loihi2`: a chip, through Lava's `Loihi2HwCfg`.

    That needs lava-loihi, which Intel gives to members of its research community only.  Without it
    all that lava-nc 0.10.0 says is "name 'CLoihiProcessModel' is not defined", so it is looked for
    first.
    """

    title = "Loihi 2 (Lava's Loihi2HwCfg with Intel's lava-loihi)"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """Always raises `TargetError`: no program has run on a chip yet.

        It says whether lava-loihi is missing or what else is.
        """
        from neurodeploy.targets.loihi.lava.runner import run_worker

        found = environment.locate()
        with tempfile.TemporaryDirectory(prefix="neurodeploy-loihi-") as folder:
            limit = min(timeout, CHECK_SECONDS)
            answer = run_worker("loihi_worker.py", (), Path(folder), found, limit)
        if answer.get("lava-loihi") is not True:
            raise TargetError(
                f"running on Loihi 2 needs lava-loihi, which {found.python} does not have",
                hint="Intel gives it to members of its neuromorphic research community (INRC); "
                "without it, --backend lava runs the same integers in Lava's models.",
            )
        raise TargetError(
            f"lava-loihi is in {found.python}, but neurodeploy does not run programs on the chip "
            "yet: there was none to test it on"
        )
