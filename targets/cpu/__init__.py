"""A generic fixed-point machine, for microcontrollers and FPGAs: formats of chosen widths.

Third parties add a format of their own by registering `Cpu(FixedPoint(...))` under the entry-point
group `neurodeploy.targets`.
"""

from __future__ import annotations

from neurodeploy.targets.cpu.format import FixedPoint, installed_formats
from neurodeploy.targets.cpu.target import Cpu

__all__ = ["Cpu", "FixedPoint", "cpu8", "cpu8_shift", "cpu16"]

_targets = {item.name: Cpu(item) for item in installed_formats()}
cpu8, cpu16, cpu8_shift = (_targets[name] for name in ("cpu8", "cpu16", "cpu8-shift"))
