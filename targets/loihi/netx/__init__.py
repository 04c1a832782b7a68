"""lava-dl's NetX: `.net` files as programs with the exact integers, and programs as `.net` files.

`reading` makes of a file the program that NetX and Lava's fixed-point models would execute,
`writing` the reverse, `storage` knows what NetX does to weights, and `running` runs a file in the
real NetX.
"""

from __future__ import annotations

from neurodeploy.targets.loihi.netx.options import Options
from neurodeploy.targets.loihi.netx.reading import read_program
from neurodeploy.targets.loihi.netx.writing import write_net

__all__ = ["Options", "read_program", "write_net"]
