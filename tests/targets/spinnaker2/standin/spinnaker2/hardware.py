"""Boards of the stand-in: each object runs once, as py-spinnaker2 needs it."""

from __future__ import annotations

from typing import Any

from spinnaker2 import running
from spinnaker2.calls import FAULT, SPELLING, record, require
from spinnaker2.experiment_backends.backend_settings import BackendSettings
from spinnaker2.snn import Network

PES = 148
SECONDS_IN_J = 0.5


class _Board:
    chips = 1
    used = False
    energy: float | None = None
    started = 0

    def _run(
        self, network: Network, ticks: int, tick: float, mapping: bool, settings: Any, power: bool
    ) -> None:
        require(not self.used, "a hardware object runs only once")
        require(network.ready, "Network.reset was not called since the last run")
        require(type(ticks) is int and ticks > 0, f"{ticks!r} ticks")
        require(isinstance(tick, float) and 1e-4 <= tick <= 1e-2, f"a tick of {tick!r} s")
        require(settings is None or isinstance(settings, BackendSettings), f"{settings!r}")
        self.used, network.ready = True, False
        cores = sum(-(-p.size // p.atoms) for p in network.populations)
        require(cores <= PES * self.chips, f"{cores} cores of {PES * self.chips}")
        routing = None if settings is None else settings.routing_type.name
        record(
            "run",
            ticks=ticks,
            sys_tick=tick,
            cores=cores,
            mapping_only=mapping,
            power=power,
            routing=routing,
            board=type(self).__name__,
        )
        type(self).started += 1
        later = FAULT == "dies" and type(self).started > 1
        if FAULT == "dead" or later or (FAULT == "start" and type(self).started == 1):
            raise RuntimeError("no answer from the board")
        if not mapping:
            running.run(network, ticks)
            self.energy = SECONDS_IN_J * ticks * tick if power else None

    if FAULT == "old":

        def run(self, network: Network, timesteps: int, debug: bool = False) -> None:
            self._run(network, timesteps, 1e-3, False, None, False)

    elif SPELLING:

        def run(  # type: ignore[no-redef]
            self,
            network: Network,
            timesteps: int,
            sys_tick_in_s: float = 1e-3,
            debug: bool = False,
            measure_power: bool = False,
        ) -> None:
            self._run(network, timesteps, sys_tick_in_s, False, None, measure_power)

    else:

        def run(  # type: ignore[no-redef]
            self,
            network: Network,
            timesteps: int,
            sys_tick_in_s: float = 1e-3,
            debug: bool = False,
            mapping_only: bool = False,
            reset_board: bool = True,
            experiment_backend_settings: Any = None,
            record_power: bool = False,
        ) -> None:
            settings = experiment_backend_settings
            self._run(network, timesteps, sys_tick_in_s, mapping_only, settings, record_power)


class SpiNNaker2Chip(_Board):
    """One chip."""

    def __init__(self, eth_ip: str = "", experiment_backend_type: Any = None) -> None:
        require(isinstance(eth_ip, str), f"eth_ip {eth_ip!r}")
        record("SpiNNaker2Chip", eth_ip=eth_ip)


if not SPELLING:

    class SpiNNcloud48NodeBoard(_Board):
        """A board of 48 chips, which older versions do not know."""

        chips = 48

        def __init__(
            self, stm_ip: str = "", eth_ip: str = "", experiment_backend_type: Any = None
        ) -> None:
            record("SpiNNcloud48NodeBoard", stm_ip=stm_ip, eth_ip=eth_ip)
