"""Arrays from files that a user names, and arguments that several commands have."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import FileError
from neurodeploy.trace import Spikes

MAX_BYTES = 16 << 30


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
        Missing, truncated, holding Python objects, or declaring more than 16 GiB.
    """
    arrays = _load(path)
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
    arrays = _load(path)
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
    arrays = _load(path)
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


def _load(path: str) -> NDArray[Any] | dict[str, NDArray[Any]]:
    file = Path(path)
    if not file.is_file():
        raise FileError("no such file", node=path)
    try:
        _check_size(file)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: np.asarray(loaded[name]) for name in loaded.files}
    except FileError:
        raise
    except Exception as error:  # numpy and zipfile each raise their own
        raise FileError(
            f"not a complete .npy or .npz file ({type(error).__name__}: {error})", node=path
        ) from error


def _check_size(file: Path) -> None:
    """Bound what would be allocated, from the headers alone."""
    if not zipfile.is_zipfile(file):
        with file.open("rb") as stream:
            _check_header(stream, file)
        return
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise FileError(f"declares more than {MAX_BYTES} bytes", node=str(file))
        for member in archive.namelist():
            with archive.open(member) as stream:
                _check_header(stream, file)


def _check_header(stream: Any, file: Path) -> None:
    version = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise FileError("holds Python objects, which are never loaded", node=str(file))
    if any(n < 0 for n in shape):
        raise FileError(f"declares the shape {shape}", node=str(file))
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_BYTES:
        raise FileError(f"declares more than {MAX_BYTES} bytes", node=str(file))
