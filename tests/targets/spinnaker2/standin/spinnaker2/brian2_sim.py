"""The Brian2 backend of the stand-in, with one of the documented deviations: it fires at `>`."""

from __future__ import annotations

from typing import Any

from spinnaker2 import running
from spinnaker2.calls import record, require
from spinnaker2.snn import Network


class Brian2Backend:
    """Runs a network without a board."""

    def run(self, network: Network, timesteps: int, quantize_weights: bool = True) -> None:
        require(network.ready, "Network.reset was not called since the last run")
        network.ready = False
        record("Brian2Backend.run", ticks=timesteps)
        running.run(network, timesteps, _above)
        for population in network.populations:
            population.times = None


def _above(potential: Any, threshold: Any) -> Any:
    return potential > threshold
