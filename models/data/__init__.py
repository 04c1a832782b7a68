"""Data sets by name: `load`.  They need no torch, and nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.models import digits_data
from neurodeploy.models.system import Data


def load(
    name: str,
    root: str | Path | None = None,
    seed: int = 0,
    *,
    train: int | None = None,
    test: int | None = None,
) -> Data:
    """The data set `name`: digits.

    Parameters
    ----------
    root: folder of a real data set that the user has; the others are computed.
    seed: of the split, or of the samples drawn.  The same seed gives the same samples.
    train, test: number of samples; the data set's own small default where None.

    Raises
    ------
    InputError: for an unknown name, or more samples than there are.
    """
    if name not in GENERATED:
        raise InputError("no such data set", node=name, hint=f"There are {sorted(GENERATED)}.")
    return GENERATED[name](seed, train, test)


def _digits(seed: int, train: int | None, test: int | None) -> Data:
    data = digits_data.load_data(seed)

    def images(of: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (of[:, np.newaxis] / digits_data.LEVELS).astype(np.float32)

    for size, labels in ((train, data.train_labels), (test, data.test_labels)):
        if size is not None and not 1 <= size <= len(labels):
            raise InputError(f"{size} samples, not within 1..{len(labels)}", node="digits")
    return Data(
        name="digits",
        train_x=images(data.train_images[:train]),
        train_y=data.train_labels[:train],
        test_x=images(data.test_images[:test]),
        test_y=data.test_labels[:test],
        classes=10,
        source="UCI Optical Recognition of Handwritten Digits, as bundled with scikit-learn",
        synthetic=False,
    )


GENERATED: dict[str, Callable[[int, int | None, int | None], Data]] = {"digits": _digits}
