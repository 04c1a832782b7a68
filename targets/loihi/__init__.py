"""Loihi 2: CUBA LIF neurons in 24-bit integers, run through Intel's Lava."""

from __future__ import annotations

from neurodeploy.targets.loihi.target import Loihi2

target = Loihi2()
"""What the entry point `neurodeploy.targets` names."""
