"""Real event data that the user has, read by tonic: N-MNIST, DVS Gesture, Heidelberg Digits.

tonic (GPL-3.0) is an optional extra.  Its data sets download what they miss; here they are told
that nothing is missing, after a check that something is there, and `download` is out of reach.
One recording at a time is in memory besides the binned samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import arrays
from neurodeploy.errors import FileError, InputError, ModelError, NeurodeployError
from neurodeploy.frontends.hdf5 import check_hdf5, try_reading
from neurodeploy.models.system import Data

EXTRA = "pip install 'neurodeploy-snn[data]'"
MAX_FILE = 256 << 20
"""Bytes of one recording; N-MNIST's have some 20 thousand, DVS Gesture's some 10 million."""
MAX_BINNED = 8 << 30
"""Bytes of all samples in memory."""


@dataclass(frozen=True)
class Recording:
    """A data set of tonic's and how its events become steps.

    Attributes
    ----------
    tonic: the class in `tonic.datasets`, and the folder below `root` that it reads.
    train, test: files or folders of the two parts, in that folder.
    suffix: of the files.
    sensor: (C, H, W) of the samples; `shrink` pixels of the camera each way make one of them.
    steps, microseconds: how many steps are kept from the start, and how long each one is.
    samples: how many training and test samples are read if nobody says.
    """

    tonic: str
    train: str
    test: str
    suffix: str
    sensor: tuple[int, int, int]
    shrink: int
    steps: int
    microseconds: int
    classes: int
    samples: tuple[int, int]
    source: str


RECORDINGS = {
    "nmnist": Recording(
        tonic="NMNIST",
        train="Train",
        test="Test",
        suffix=".bin",
        sensor=(2, 34, 34),
        shrink=1,
        steps=20,
        microseconds=15_000,
        classes=10,
        samples=(6000, 1000),
        source="N-MNIST (Orchard, Jayawant, Cohen, Thakor, 2015, doi:10.3389/fnins.2015.00437)",
    ),
    "dvsgesture": Recording(
        tonic="DVSGesture",
        train="ibmGestureTrain",
        test="ibmGestureTest",
        suffix=".npy",
        sensor=(2, 32, 32),
        shrink=4,
        steps=40,
        microseconds=40_000,
        classes=11,
        samples=(1077, 264),
        source="DVS128 Gesture (Amir et al., CVPR 2017), as cut by tonic's authors",
    ),
    "shd": Recording(
        tonic="SHD",
        train="shd_train.h5",
        test="shd_test.h5",
        suffix=".h5",
        sensor=(1, 1, 700),
        shrink=1,
        steps=50,
        microseconds=20_000,
        classes=20,
        samples=(8156, 2264),
        source="Spiking Heidelberg Digits (Cramer, Stradmann, Schemmel, Zenke, "
        "doi:10.1109/TNNLS.2020.3044364)",
    ),
}


def load(
    name: str, root: str | Path | None, seed: int, train: int | None, test: int | None
) -> Data:
    """The data set `name`; a part that is larger than asked for is drawn from by `seed`.

    Raises
    ------
    ModelError: if tonic is missing.
    InputError: without `root`, or for a number of samples that is impossible or too large.
    FileError: if there is no such data below `root`, or a file is damaged.
    """
    kind = RECORDINGS[name]
    if root is None:
        raise InputError(
            "is read from a folder that you name, and nothing is downloaded",
            node=name,
            hint=f"The folder {kind.tonic}/ with {kind.train} and {kind.test} is expected in it.",
        )
    sizes = [
        standard if asked is None else asked
        for asked, standard in zip((train, test), kind.samples, strict=True)
    ]
    each = kind.steps * int(np.prod(kind.sensor))
    limit = MAX_BINNED // each
    if min(sizes) < 1 or sum(sizes) > limit:
        raise InputError(
            f"{sizes[0]} training and {sizes[1]} test samples, not at least 1 each and at most "
            f"{limit} in all, of {each} bytes",
            node=name,
        )
    # both parts are looked for before tonic is asked, which would go and get what it misses
    folder = Path(root).expanduser() / kind.tonic
    for part in (kind.train, kind.test):
        _check(folder / part, kind)
    rng = np.random.default_rng(seed)
    train_x, train_y = _read(kind, Path(root), True, sizes[0], rng)
    test_x, test_y = _read(kind, Path(root), False, sizes[1], rng)
    return Data(
        name, train_x, train_y, test_x, test_y, kind.classes, source=kind.source, synthetic=False
    )


def binned(events: NDArray[Any], kind: Recording, node: str) -> NDArray[np.uint8]:
    """Events, a structured array with x, y, t (µs) and p, as uint8 (T, C, H, W) of 0 and 1.

    A step's pixel is 1 if at least one event of that polarity fell into it; later events than the
    last step are left out.

    Raises
    ------
    FileError: if an event is outside of the sensor or of time.
    """
    channels, height, width = kind.sensor
    names = events.dtype.names or ()
    zeros = np.zeros(len(events), np.int64)
    step = events["t"].astype(np.int64) // kind.microseconds
    column = events["x"].astype(np.int64) // kind.shrink
    row = events["y"].astype(np.int64) // kind.shrink if "y" in names else zeros
    polarity = events["p"].astype(np.int64) if channels == 2 else zeros
    for what, values, limit in (
        ("t", step, None),
        ("x", column, width),
        ("y", row, height),
        ("p", polarity, channels),
    ):
        if len(values) and (values.min() < 0 or (limit is not None and values.max() >= limit)):
            raise FileError(f"holds events outside of the sensor: {what}", node=node)
    early = step < kind.steps
    frames = np.zeros((kind.steps, *kind.sensor), np.uint8)
    frames[step[early], polarity[early], row[early], column[early]] = 1
    return frames


def _read(
    kind: Recording, root: Path, train: bool, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    node = str(root / kind.tonic)
    try:
        dataset = _dataset(kind, root, train)
        count = len(dataset)
        if size > count:
            part = "training" if train else "test"
            raise InputError(f"{size} {part} samples, but there are {count}", node=node)
        chosen = rng.permutation(count)[:size]
        x = np.empty((size, kind.steps, *kind.sensor), np.uint8)
        y = np.empty(size, np.int64)
        for position, index in enumerate(chosen):
            events, label = dataset[int(index)]
            x[position], y[position] = binned(events, kind, node), int(label)
        outside = y[(y < 0) | (y >= kind.classes)]
        if outside.size:
            raise FileError(f"label {outside[0]} of {kind.classes} classes", node=node)
    except NeurodeployError:
        raise
    except Exception as error:  # tonic lets through what numpy and h5py raise for a damaged file
        raise FileError(
            f"not readable as {kind.tonic} ({type(error).__name__}: {error})", node=node
        ) from error
    return x, y


def _dataset(kind: Recording, root: Path, train: bool) -> Any:
    """tonic's data set, which can neither miss a file nor fetch one."""
    try:
        import numpy.lib.recfunctions  # noqa: F401  # which tonic uses and does not import
        import tonic.datasets
    except ImportError as error:
        raise ModelError(f"reading it needs {error.name}", node=kind.tonic, hint=EXTRA) from error
    base = getattr(tonic.datasets, kind.tonic)
    # the name of the class is the name of its folder
    local = type(kind.tonic, (base,), {"_check_exists": lambda self: True, "download": None})
    return local(str(root), train=train)


def _check(part: Path, kind: Recording) -> None:
    """Refuse a part that is missing, and files that are too large or no such arrays at all."""
    count = 0
    for file in _files(part, kind.suffix):
        count += 1
        if kind.suffix == ".h5":
            try_reading(file)
            check_hdf5(file, ragged=True)
            continue
        if file.stat().st_size > MAX_FILE:
            raise FileError(f"larger than {MAX_FILE} bytes", node=str(file))
        if kind.suffix == ".npy":
            arrays.check(file)
    if not count:
        raise FileError(
            f"no {kind.suffix} file of {kind.tonic} there",
            node=str(part),
            hint="Nothing is downloaded: get the data set and name its parent folder as root.",
        )


def _files(part: Path, suffix: str) -> Iterator[Path]:
    if part.is_file():
        yield part
    elif part.is_dir():
        yield from part.rglob(f"*{suffix}")
