"""Loihi 1 and 2: CUBA LIF neurons in 24-bit integers, run through Intel's Lava."""

from __future__ import annotations

from neurodeploy.targets.loihi.target import Loihi

loihi1 = Loihi("loihi1", "Intel Loihi 1: binary spikes, 1024 neurons per core")
target = Loihi("loihi2", "Intel Loihi 2, checked in Lava's fixed-point models (lava-nc 0.10.0)")
"""What the entry points `neurodeploy.targets` name."""
