"""Files of tensors and plain data: written whole, read as data only."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Protocol

import torch

from neurodeploy.archive import write_atomically
from neurodeploy.errors import FileError

MAX_BYTES = 1 << 30


class Readable(Protocol):
    """A file, on disk or in a package."""

    def open(self, mode: Any = ..., /) -> Any: ...


def write(path: Path, tree: object) -> None:
    """Write tensors and plain data with `torch.save`, the whole file or nothing.

    Raises
    ------
    FileError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    write_atomically(path, buffer.getvalue())


def read(file: Readable, limit: int = MAX_BYTES) -> object:
    """What `torch.save` wrote, at most `limit` bytes, read as tensors and plain data only.

    Bounds and check sums come first: torch tests none.

    Raises
    ------
    FileError: if the file is missing, too large, damaged, or holds more than such data.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", node=str(file)) from error
    if len(content) > limit:
        raise FileError(f"is larger than {limit} bytes", node=str(file))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > limit or archive.testzip() is not None:
                raise zipfile.BadZipFile("too large when unpacked, or a check sum is wrong")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # neither library names all that it raises for a damaged file
        raise FileError(
            "is damaged, no torch file or holds more than tensors", node=str(file)
        ) from error
