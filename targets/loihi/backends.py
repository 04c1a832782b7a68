"""Where a Loihi program can run beside our simulator: Lava on this machine, and the chip itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.errors import LavaError, ModelError, TargetError
from neurodeploy.program import Program
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.trace import Messages, Trace


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
    """The `Backend` called `loihi2`: a chip, through Lava's `Loihi2HwCfg`; never run by us.

    That needs lava-loihi, which Intel gives to members of its research community only, and a host
    with a board.  Without lava-loihi all that lava-nc 0.10.0 says is "name 'CLoihiProcessModel' is
    not defined", so both are looked for first.
    """

    title = "Loihi 2 (Lava's Loihi2HwCfg with Intel's lava-loihi; not run on silicon by us)"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """See `silicon.run_on_loihi2`; also raises `TargetError` where states are asked for."""
        from neurodeploy.targets.loihi.silicon import run_on_loihi2

        if states:
            raise TargetError(
                "the states of neurons on a chip are not read", hint="Record them in the simulator."
            )
        return run_on_loihi2(program, inputs, timeout=timeout)
