"""Images as spikes, without chance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError


def rate_code(images: NDArray[Any], steps: int) -> NDArray[np.uint8]:
    r"""Evenly spaced spikes, as many per step as the pixel value says.

    A pixel of value p spikes in step t where the running total of p spikes per step passes a whole
    number,

    .. math:: S_t = \lfloor (t+1)\,p \rfloor - \lfloor t\,p \rfloor \in \{0, 1\},

    so that T steps hold :math:`\lfloor Tp \rfloor` spikes.  The same image always gives the same
    spikes.

    Parameters
    ----------
    images: (N, ...) with values within 0..1.
    steps: the number of time steps T, at least 1.

    Returns
    -------
    uint8 (N, T, ...) with values 0 and 1.

    Raises
    ------
    InputError: for other values, or no step.
    """
    if steps < 1:
        raise InputError(f"an encoding needs at least 1 step, got {steps}", node="steps")
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            f"pixel values reach from {images.min()} to {images.max()}, not within 0..1",
            node="images",
        )
    spikes = np.empty((len(images), steps, *images.shape[1:]), np.uint8)
    before = np.zeros(images.shape)
    for step in range(steps):
        total = np.floor((step + 1) * images.astype(np.float64))
        spikes[:, step] = total - before
        before = total
    return spikes
