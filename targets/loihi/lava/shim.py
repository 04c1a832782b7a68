"""Starts the worker where Lava does not import by itself: `python shim.py worker.py JOB_DIR`.

lava-nc 0.10.0 declares Python 3.10 only.  On 3.11 to 3.13 one thing keeps it from importing: since
3.11 `dataclasses` refuses a default whose class cannot be hashed, and eight fields of
`lava/magma/compiler/var_model.py` have one.  That module is imported here with such defaults handed
over as factories of the very same object, which is what 3.10 makes of them.  Nothing on disk is
changed, and `dataclasses` is itself again before anything else of Lava runs.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import runpy
import sys
from collections.abc import Callable
from typing import Any

MODULE = "lava.magma.compiler.var_model"
_dataclass = dataclasses.dataclass


def dataclass(cls: type | None = None, /, **options: bool) -> Any:
    """`dataclasses.dataclass` that takes, in `MODULE`, the defaults that Python 3.10 takes."""
    if cls is None:
        return lambda cls: dataclass(cls, **options)
    if cls.__module__ == MODULE:
        for name in inspect.get_annotations(cls):
            default = vars(cls).get(name)
            if type(default).__hash__ is None:
                setattr(cls, name, dataclasses.field(default_factory=_always(default)))
    return _dataclass(cls, **options)


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def main(worker: str, *arguments: str) -> None:
    """Import `MODULE`, then run the worker as if Python had been started with it."""
    dataclasses.dataclass = dataclass
    try:
        importlib.import_module(MODULE)
    finally:
        dataclasses.dataclass = _dataclass
    sys.argv = [worker, *arguments]
    runpy.run_path(worker, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
