"""Programs as `.net` files, such that NetX executes the same integers.

Every rule that keeps NetX and Lava from changing, ignoring or hanging on something is checked
before a byte is written; what breaks one is refused, all reasons at once.  Source: lava-nc/lava-dl
0.6.0, `src/lava/lib/dl/netx/hdf5.py` and `netx/utils.py`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import h5py

from neurodeploy.archive import write_atomically
from neurodeploy.errors import ModelError
from neurodeploy.program import Program
from neurodeploy.targets.loihi.netx.blocks import Fields, blocks_of
from neurodeploy.targets.loihi.netx.options import Options


def write_net(program: Program, path: str | Path) -> Options:
    """Write a program for Loihi 2 to a `.net` file, atomically.

    Returns
    -------
    Options
        What NetX must be told with the file.  Where deeper layers have a bias, NetX must also
        reset at the start of every sample: `reset_interval` is then the steps of a sample, with the
        returned `reset_offset`; `running.run_in_netx` does so.

    Raises
    ------
    ModelError
        The program is not what NetX can express, with every reason.
    """
    layers, options, problems = blocks_of(program)
    if problems:
        raise ModelError(
            f"cannot be written as a .net file, for {len(problems)} reasons: " + "; ".join(problems)
            if len(problems) > 1
            else f"cannot be written as a .net file: {problems[0]}",
            node="program",
        )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, fields in enumerate(layers):
            _write(file.create_group(f"layer/{number}"), fields)
    write_atomically(Path(path), buffer.getvalue())
    return options


def _write(group: h5py.Group, fields: Fields) -> None:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            _write(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, (1,), f"S{len(value)}", [value.encode("ascii")])
        else:
            group.create_dataset(name, data=value)
