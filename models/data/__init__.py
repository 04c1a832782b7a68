"""Data sets by name: `load`.

The digits of scikit-learn, synthetic stand-ins that are computed, and real event data that the user
has.  Nothing is ever downloaded, and none of it needs torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError, ModelError
from neurodeploy.models import digits_data
from neurodeploy.models.data import events, glyphs, recorded
from neurodeploy.models.system import EXTRA, Data

MOST = 100_000
"""Samples of a stand-in; all are in memory."""

Samples = tuple[NDArray[np.float32] | NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Synthetic:
    """A stand-in: how samples are drawn, and how many by default."""

    draw: Callable[[int, np.random.Generator], Samples]
    classes: int
    train: int
    test: int
    what: str


SYNTHETIC = {
    "glyphs28": Synthetic(
        glyphs.grey, 10, 3000, 1000, "digits rendered in 16 faces, distorted, 28 x 28"
    ),
    "glyphs32": Synthetic(
        functools.partial(glyphs.colour, classes=10),
        10,
        3000,
        1000,
        "10 characters rendered in 16 faces in colour, 3 x 32 x 32",
    ),
    "glyphs32-100": Synthetic(
        functools.partial(glyphs.colour, classes=100),
        100,
        5000,
        1000,
        "100 characters rendered in 16 faces in colour, 3 x 32 x 32",
    ),
    "saccades": Synthetic(
        events.saccades, 10, 2000, 500, "events of rendered digits along three saccades, 34 x 34"
    ),
    "gestures": Synthetic(
        events.gestures, 11, 1100, 550, "events of 11 motions of one or two spots, 32 x 32"
    ),
}


def names() -> list[str]:
    """All data sets."""
    return ["digits", *SYNTHETIC, *recorded.RECORDINGS]


def load(
    name: str,
    root: str | Path | None = None,
    seed: int = 0,
    *,
    train: int | None = None,
    test: int | None = None,
) -> Data:
    """The data set `name`.

    ============  ============================================  ============  ============
    name          what                                          sample        train, test
    ============  ============================================  ============  ============
    digits        scikit-learn's handwritten digits             1 x 8 x 8     1347, 450
    glyphs28      rendered digits                               1 x 28 x 28   3000, 1000
    glyphs32      10 rendered characters in colour              3 x 32 x 32   3000, 1000
    glyphs32-100  100 rendered characters in colour             3 x 32 x 32   5000, 1000
    saccades      events of digits seen along three saccades    15 x 2 x 34²  2000, 500
    gestures      events of 11 motions of hands                 20 x 2 x 32²  1100, 550
    nmnist        N-MNIST, 20 steps of 15 ms                    20 x 2 x 34²  6000, 1000
    dvsgesture    DVS Gesture, 40 steps of 40 ms, 1/4 wide      40 x 2 x 32²  1077, 264
    shd           Spiking Heidelberg Digits, 50 steps of 20 ms  50 x 1 x 700  8156, 2264
    ============  ============================================  ============  ============

    The glyphs, saccades and gestures are synthetic stand-ins, drawn anew by each call; the same on
    every machine up to the last bits of its sines and logarithms, which hardly ever decide
    anything.  The last three are read through tonic (the extra `data`) from `root`.

    Parameters
    ----------
    root: the folder that holds NMNIST/, DVSGesture/ or SHD/, for these three only.
    seed: of the split, or of the samples drawn.  The same seed gives the same samples.
    train, test: number of samples; the table's where None.

    Raises
    ------
    InputError: for an unknown name, or a number of samples that cannot be had.
    ModelError: if an extra is missing.
    FileError: if there is no such data below `root`, or a file is damaged.
    """
    if name in recorded.RECORDINGS:
        return recorded.load(name, root, seed, train, test)
    if name not in names():
        raise InputError("no such data set", node=name, hint=f"There are {names()}.")
    if root is not None:
        raise InputError("is not read from a folder", node=name, hint="Leave out root.")
    if name == "digits":
        return _digits(seed, train, test)
    kind = SYNTHETIC[name]
    parts = []
    for part, (asked, standard) in enumerate(((train, kind.train), (test, kind.test))):
        size = standard if asked is None else asked
        if not 1 <= size <= MOST:
            raise InputError(f"{size} samples, not within 1..{MOST}", node=name)
        parts.append(kind.draw(size, np.random.default_rng([seed, part])))
    (train_x, train_y), (test_x, test_y) = parts
    return Data(
        name,
        train_x,
        train_y,
        test_x,
        test_y,
        kind.classes,
        source=f"synthetic stand-in: {kind.what}",
        synthetic=True,
    )


def _digits(seed: int, train: int | None, test: int | None) -> Data:
    try:
        data = digits_data.load_data(seed)
    except ImportError as error:
        raise ModelError(f"needs {error.name}", node="digits", hint=EXTRA) from error

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
