"""Memory that is used again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import Shape
from neurodeploy.simulator.layout import aligned


class Scratch:
    """Buffers by name that outlive a run.

    A thread that asks for new memory at every run pays more for the system's empty pages than for
    its arithmetic.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        self._views: dict[tuple[str, Shape, Any], NDArray[Any]] = {}

    def __call__(self, name: str, shape: Shape, dtype: Any) -> NDArray[Any]:
        """A buffer of unknown content; all of one name share their memory."""
        view = self._views.get((name, shape, dtype))
        return self._view(name, shape, dtype) if view is None else view

    def _view(self, name: str, shape: Shape, dtype: Any) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers[name] = aligned((size,), np.uint8)
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
        view: NDArray[Any] = self._buffers[name][:size].view(dtype).reshape(shape)
        self._views[name, shape, dtype] = view
        return view
