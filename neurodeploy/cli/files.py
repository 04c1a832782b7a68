"""Arrays from files that a user names, and arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrays import load
from neurodeploy.errors import FileError
from neurodeploy.trace import Spikes


def backend_arguments(parser: argparse.ArgumentParser, text: str) -> None:
    """`--backend` and `--timeout`."""
    parser.add_argument("--backend", help=f"of the target, such as lava or loihi2: {text}")
    parser.add_argument("--timeout", type=float, default=600.0, help="of the backend's run, in s")


def where_arguments(parser: argparse.ArgumentParser) -> None:
    """`--scheduler` and `--state`; see `chunks.Where`."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster that does the work, such as tcp://127.0.0.1:8786",
    )
    parser.add_argument(
        "--state",
        metavar="FOLDER",
        help="keeps what is done, so that the same command goes on where it was stopped",
    )


def load_inputs(path: str) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Inputs: one array from `.npy`, or one per input from `.npz`.

    An `.npz` with the one member `inputs`, or with `inputs` and `labels`, counts as one array.

    Raises
    ------
    FileError
        As `arrays.load`, or no inputs in it.
    """
    arrays = load(Path(path))
    if not isinstance(arrays, dict):
        return arrays
    if set(arrays) in ({"inputs"}, {"inputs", "labels"}):
        return arrays["inputs"]
    arrays.pop("labels", None)
    if not arrays:
        raise FileError("holds no inputs", node=path)
    return arrays


def load_labels(path: str) -> NDArray[Any]:
    """Labels from `.npy`, or the member `labels` of an `.npz`."""
    arrays = load(Path(path))
    if not isinstance(arrays, dict):
        return arrays
    if "labels" not in arrays:
        raise FileError("has no member 'labels'", node=path)
    return arrays["labels"]


def load_spikes(path: str) -> dict[str, Spikes]:
    """Spikes by population from `.npz`, (samples, steps, *shape), uint8.

    Raises
    ------
    FileError
        Not such a file, or values other than 0 to 255.
    """
    arrays = load(Path(path))
    if not isinstance(arrays, dict):
        raise FileError("is one array, expected an .npz with one per population", node=path)
    found = {}
    for name, array in arrays.items():
        if array.ndim < 2 or array.dtype.kind not in "buif" or 0 in array.shape:
            raise FileError(
                f"{name} has shape {array.shape} and dtype {array.dtype}, expected spikes "
                "(samples, steps, *shape)",
                node=path,
            )
        with np.errstate(invalid="ignore"):  # what is no such number differs afterwards
            found[name] = array.astype(np.uint8)
        if not np.array_equal(found[name], array):
            raise FileError(f"{name} holds values that are no numbers of spikes", node=path)
    return found
