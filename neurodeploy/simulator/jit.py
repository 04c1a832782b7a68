"""The one place that says how kernels are compiled, and what is left where numba is missing.

Without numba everything imports, primitives are plain Python functions, and kernels cannot be
called: machines then run in numpy, `Machine.plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from neurodeploy.errors import TargetError

Function = TypeVar("Function", bound=Callable[..., Any])

try:
    from numba import njit
    from numba.extending import overload, register_jitable

    from neurodeploy.simulator.vectors import load, nonzero, store

    COMPILES = True
except ImportError:
    COMPILES = False

__all__ = ["COMPILES", "kernel", "load", "nonzero", "overloads", "primitive", "store"]


def primitive(function: Function) -> Function:
    """A plain Python function that kernels may call too: one formula for numpy and numba."""
    if not COMPILES:
        return function
    jitable: Function = register_jitable(function)
    return jitable


def overloads(function: Callable[..., Any]) -> Callable[[Function], Function]:
    """The decorated function builds what kernels call in place of `function`."""
    if not COMPILES:
        return lambda build: build
    return cast("Callable[[Function], Function]", overload(function))


def kernel(function: Function) -> Function:
    """Compile for the machine at first call, cached on disk; runs without Python's lock.

    numba's cache only watches the kernel's own file: keep the primitives that it calls there, and
    delete the `__pycache__` folders after a change of `vectors`.
    """
    if not COMPILES:
        return cast("Function", _missing)
    return cast("Function", njit(cache=True, nogil=True)(function))


def _missing(*arguments: object) -> None:
    raise TargetError("the compiled simulator needs numba", hint="pip install numba")


def __getattr__(name: str) -> Any:
    """`load`, `nonzero` and `store` without numba: names in kernels that nobody can call."""
    if name in __all__:
        return _missing
    raise AttributeError(name)
