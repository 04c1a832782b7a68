"""SpiNNaker2: leaky integrate-and-fire neurons in float32 on ARM cores, through py-spinnaker2."""

from __future__ import annotations

from neurodeploy.targets.spinnaker2.options import Options
from neurodeploy.targets.spinnaker2.target import SpiNNaker2

__all__ = ["Options", "SpiNNaker2", "target"]

target = SpiNNaker2()
"""What the entry point `neurodeploy.targets` names."""
