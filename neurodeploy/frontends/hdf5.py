"""Bounds on an HDF5 file before anything of it is read into memory."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import mmap
import multiprocessing
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import h5py

from neurodeploy.errors import FileError

MAX_BYTES = 8 << 30
MAX_RATIO = 2000
MAX_OBJECTS = 100_000
MAX_DEPTH = 100
MAX_DIMENSIONS = 32
ROWS = 1 << 16
"""Of a dataset, that are read at once where all are read."""
KINDS = "biufcS"
"""Of numpy's kinds of types, those that are read beside texts of variable length."""
FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
_REFERENCE = 16
"""Bytes that a text of variable length takes in its dataset."""


def check_hdf5(path: Path, small: Container[str] = (), *, ragged: bool = False) -> None:
    """Refuse a file that is not HDF5, reaches outside itself or declares implausible sizes.

    A gzip stream shrinks by at most 1032 to 1, so declared sizes above `MAX_RATIO` times the file
    are refused before allocation.  So are external and soft links, objects that two links lead to,
    virtual datasets, data kept in other files, filters of plug-ins, and types other than numbers
    and texts.

    Parameters
    ----------
    small: names of datasets that hold sizes, one for each dimension of something.
    ragged: arrays of numbers of any length each are allowed, which take what the file holds of
        them, one at a time.

    Raises
    ------
    FileError
        With the path, what was found and the limit.
    """
    if not path.is_file():
        raise FileError("no such file", node=str(path))
    try:
        largest = _check_heaps(path)
        with h5py.File(path, "r") as file:
            _check_tree(file, path, largest, small, ragged)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise FileError("not a complete HDF5 file", node=str(path), hint=f"({error})") from error


def try_reading(path: Path, seconds: float = 600.0) -> None:
    """Check a file and read all of it, some rows at a time, in a process of its own.

    For arrays of any length each: on damaged ones libhdf5 2.0 may end the process that reads them.

    Raises
    ------
    FileError
        The process was ended, or took longer than `seconds`.  Other errors are left to whoever
        reads the file then.
    """
    known = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if "fork" in known else None)
    process = context.Process(target=_read_all, args=(path,))
    process.start()
    process.join(seconds)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
        raise FileError(f"not read within {seconds:g} s", node=str(path))
    if code < 0:
        raise FileError(
            "not a complete HDF5 file",
            node=str(path),
            hint=f"(reading it ended a process with signal {-code})",
        )


def _read_all(path: Path) -> None:
    faulthandler.disable()  # the one who waits says what happened
    with contextlib.suppress(Exception):
        check_hdf5(path, ragged=True)
        with h5py.File(path, "r") as file:
            waiting: list[h5py.Group] = [file]
            while waiting:
                for item in waiting.pop().values():
                    if isinstance(item, h5py.Group):
                        waiting.append(item)
                    elif item.shape:
                        for row in range(0, len(item) if item.size else 0, ROWS):
                            item[row : row + ROWS]


def _check_heaps(path: Path) -> int:
    """Length of the longest text, in bytes; raises `ValueError` for damaged heaps.

    libhdf5 2.0 never returns from a global heap (where texts are kept) with an object that takes no
    space, so all are walked here first.  Format: HDF5 File Format Specification 3.0, III.E, "Global
    Heap": a collection is `GCOL`, version 1, 3 bytes, its size; an object is its index, 2 bytes, 6
    bytes, its size, 8 bytes, and data to a multiple of 8; index 0 is free space, whose size counts
    its head.  A fractal heap (III.G: `FRHP`, version 0, 2 bytes, length of its filters, 2 bytes) is
    read through filters as soon as a group is listed, hence none may have any.
    """
    largest = end = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in _found(data, b"GCOL\x01"):
            size = int.from_bytes(data[start + 8 : start + 16], "little")
            if size < 16 or start < end or start + size > len(data):
                raise ValueError(f"the heap at byte {start} is damaged")
            place, end = start + 16, start + size
            while place + 16 <= end:
                index = int.from_bytes(data[place : place + 2], "little")
                length = int.from_bytes(data[place + 8 : place + 16], "little")
                step = 16 + -(-length // 8) * 8 if index else length
                if step < 16 or place + step > end:
                    raise ValueError(f"the heap at byte {start} is damaged")
                largest = max(largest, length if index else 0)
                place += step
        for start in _found(data, b"FRHP\x00"):
            if any(data[start + 7 : start + 9]):
                raise ValueError("a group is kept behind filters")
    return largest


def _found(data: mmap.mmap, mark: bytes) -> Iterator[int]:
    start = data.find(mark)
    while start >= 0:
        yield start
        start = data.find(mark, start + 1)


def _check_tree(
    file: h5py.File, path: Path, largest: int, small: Container[str], ragged: bool
) -> None:
    """Walk all groups; `largest` is the length of the longest text."""
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise FileError("has addresses of another width than 8 bytes", node=str(path))
    limit = min(MAX_BYTES, MAX_RATIO * path.stat().st_size)
    waiting: list[tuple[h5py.Group, int]] = [(file, 0)]
    seen = {h5py.h5o.get_info(file.id).addr}
    total = objects = 0
    while waiting:
        group, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise FileError(f"groups are nested deeper than {MAX_DEPTH}", node=str(path))
        for name in group:
            objects += 1
            if objects > MAX_OBJECTS:
                raise FileError(f"more than {MAX_OBJECTS} objects", node=str(path))
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FileError(f"{group.name}/{name} is a link", node=str(path))
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise FileError(f"{group.name}/{name} is a second link to it", node=str(path))
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
                continue
            if not isinstance(item, h5py.Dataset):
                raise FileError(f"{item.name} is no data", node=str(path))
            if name in small and (item.size or 0) > MAX_DIMENSIONS:
                raise FileError(f"{item.name} has {item.size} sizes", node=str(path))
            total += _declared(item, path, largest, ragged)
            if total > limit:
                raise FileError(
                    f"declares more than {limit} bytes of data in {path.stat().st_size} bytes",
                    node=str(path),
                )


def _declared(item: h5py.Dataset, path: Path, largest: int, ragged: bool) -> int:
    """Bytes that reading a dataset may take."""
    options = item.id.get_create_plist()
    if options.get_layout() == h5py.h5d.VIRTUAL or options.get_external_count():
        raise FileError(f"{item.name} keeps its data elsewhere", node=str(path))
    codes = [options.get_filter(index)[0] for index in range(options.get_nfilters())]
    unknown = [code for code in codes if code not in FILTERS]
    if unknown:
        raise FileError(
            f"{item.name} is kept with the filter {unknown[0]}",
            node=str(path),
            hint=f"Write it with {', '.join(FILTERS.values())} or none.",
        )
    dtype = item.dtype
    if dtype.kind in KINDS:
        size = int(dtype.itemsize)
    elif h5py.check_string_dtype(dtype) is not None:
        size = _REFERENCE + largest
    elif ragged and getattr(h5py.check_vlen_dtype(dtype), "kind", "") in KINDS:
        size = _REFERENCE
    else:
        raise FileError(f"{item.name} holds neither numbers nor texts", node=str(path))
    chunk: tuple[int, ...] = options.get_chunk() if options.get_layout() == h5py.h5d.CHUNKED else ()
    return max(math.prod(item.shape or (0,)), math.prod(chunk)) * size
