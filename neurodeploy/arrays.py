"""Arrays from `.npy` and `.npz` files, with bounds from the headers before anything is allocated.

numpy allocates what a header declares before it looks for the data, so every header is compared
with the bytes that follow it.
"""

from __future__ import annotations

import contextlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import FileError

MAX_BYTES = 16 << 30
MAX_MEMBERS = 100_000
SMALL = 64 << 20
"""Bytes that a file of any size may unpack to."""
MAX_RATIO = 64
"""How many times larger the arrays of a larger one may be than the file."""
MAX_HEADER = 10_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those of numpy; others may ask for gigabytes of memory to unpack."""


def load(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """One array from a `.npy` file, or its arrays by name from a `.npz` file.

    Raises
    ------
    FileError
        Missing, truncated, holding Python objects, declaring more than 16 GiB or more than is
        there, or unpacking to more than 64 MiB and 64 times its size.
    """
    if not path.is_file():
        raise FileError("no such file", node=str(path))
    with _damage_of(path, ".npy or .npz"):
        with path.open("rb") as stream:
            one = not stream.read(2).startswith(b"PK")
            stream.seek(0)
            if one:
                _check_header(stream, path.stat().st_size)
        if one:
            return np.asarray(np.load(path, allow_pickle=False, max_header_size=MAX_HEADER))
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
            return {
                member.filename.removesuffix(".npy"): _member(archive, member)
                for member in archive.infolist()
            }


def check(path: Path) -> None:
    """Compare what the header of a `.npy` file that others will read declares with the file.

    Raises
    ------
    FileError
        As `load`.
    """
    with _damage_of(path, ".npy"), path.open("rb") as stream:
        _check_header(stream, path.stat().st_size)


@contextlib.contextmanager
def _damage_of(path: Path, kind: str) -> Iterator[None]:
    """Errors as those of a file: ours with its path, and what numpy and zipfile raise each."""
    try:
        yield
    except FileError as error:
        raise FileError(error.message, node=str(path), hint=error.hint) from error
    except Exception as error:
        raise FileError(
            f"not a complete {kind} file ({type(error).__name__}: {error})", node=str(path)
        ) from error


def parse(data: bytes) -> NDArray[Any]:
    """The array of a whole `.npy` file in memory.

    Raises
    ------
    FileError
        Python objects, or a header that declares another size than there is.
    ValueError
        No such file.
    """
    stream = io.BytesIO(data)
    _check_header(stream, len(data))
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER)
    return np.asarray(array)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        _check_header(stream, member.file_size)
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER)
        if stream.read(1):  # the check sum is compared at the end only
            raise ValueError("more data than declared")
    return np.asarray(array)


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise FileError(f"more than {MAX_MEMBERS} members")
    if any(member.compress_type not in METHODS for member in members):
        raise FileError("is packed in another way than numpy's")
    if sum(member.compress_size for member in members) > size:
        raise FileError("its members overlap")
    if len({member.filename for member in members}) < len(members):
        raise FileError("two of its members have one name")
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        raise FileError(f"declares more than {MAX_BYTES} bytes")
    if total > max(SMALL, MAX_RATIO * size):
        raise FileError(
            f"declares {total} bytes of data in {size} bytes",
            hint=f"Save what shrinks to less than 1/{MAX_RATIO} with numpy.savez, uncompressed.",
        )


def _check_header(stream: IO[bytes], size: int) -> None:
    """Compare what a header declares with a file of `size` bytes."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format")
    width = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(width, "little")
    if length > MAX_HEADER:  # numpy would read it first
        raise ValueError(f"a header of {length} bytes")
    header = io.BytesIO(width + stream.read(length))
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(header, max_header_size=MAX_HEADER)
    follow = size - np.lib.format.MAGIC_LEN - len(width) - length
    if dtype.hasobject:
        raise FileError("holds Python objects, which are never loaded")
    if any(n < 0 for n in shape):
        raise FileError(f"declares the shape {shape}")
    declared = math.prod(shape) * dtype.itemsize
    if declared > MAX_BYTES or math.prod(max(n, 1) for n in shape) > MAX_BYTES:
        raise FileError(f"declares more than {MAX_BYTES} bytes")
    if declared != follow:
        raise FileError(f"declares {declared} bytes of data, {follow} follow")
