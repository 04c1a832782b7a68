"""Bounds on an HDF5 file before anything of it is read into memory."""

from __future__ import annotations

from pathlib import Path

import h5py

from neurodeploy.errors import FileError

MAX_BYTES = 8 << 30
MAX_RATIO = 2000
MAX_OBJECTS = 100_000


def check_hdf5(path: Path) -> None:
    """Refuse a file that is not HDF5, reaches outside itself or declares implausible sizes.

    A gzip stream shrinks by at most 1032 to 1, so declared sizes above `MAX_RATIO` times the file
    are refused before allocation, as are external and soft links, virtual datasets and data kept in
    other files.

    Raises
    ------
    FileError
        With the path, what was found and the limit.
    """
    if not path.is_file():
        raise FileError("no such file", node=str(path))
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            _check_group(file, path, limit=min(MAX_BYTES, MAX_RATIO * size))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise FileError("not a complete HDF5 file", node=str(path), hint=f"({error})") from error


def _check_group(file: h5py.File, path: Path, limit: int) -> None:
    waiting: list[h5py.Group] = [file]
    total = objects = 0
    while waiting:
        group = waiting.pop()
        for name in group:
            objects += 1
            if objects > MAX_OBJECTS:
                raise FileError(f"more than {MAX_OBJECTS} objects", node=str(path))
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FileError(f"{group.name}/{name} is a link", node=str(path))
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
                continue
            if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
                raise FileError(f"{item.name} keeps its data elsewhere", node=str(path))
            total += item.nbytes
            if total > limit:
                raise FileError(
                    f"declares more than {limit} bytes of data in {path.stat().st_size} bytes",
                    node=str(path),
                )
