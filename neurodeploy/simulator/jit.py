"""The one place that says how kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])


def primitive(function: Function) -> Function:
    """A plain Python function that kernels may call too: one formula for numpy and numba."""
    jitable: Function = register_jitable(function)
    return jitable


def kernel(function: Function) -> Function:
    """Compile for the machine at first call, cached on disk; runs without Python's lock.

    numba's cache only watches the kernel's own file: keep the primitives that it calls there, and
    delete the `__pycache__` folders after a change of `vectors`.
    """
    return cast("Function", njit(cache=True, nogil=True)(function))
