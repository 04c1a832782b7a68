"""One-file archives: a tree of plain data and arrays, deterministic and hashed.

An uncompressed ZIP with `tree.json` (the tree, each array replaced by a reference) and one `.npy`
file per array.  No pickle, no compression (so no bombs, and the same bytes with every zlib), fixed
time stamps, sorted keys: the same tree gives the same bytes on any machine.

The content hash is of the tree and the arrays.  The ZIP's comment, its last 64 bytes, is the
SHA-256 of every byte before it, so that no byte of the file, not even one that means nothing, can
change unnoticed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrays import parse
from neurodeploy.errors import FileError

FORMAT = "neurodeploy-archive"
VERSION = 2
MAX_BYTES = 8 << 30
MAX_MEMBERS = 100_000
MAX_DEPTH = 128
SEAL = 64
"""Bytes of the comment."""
_ARRAY = "$array"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ARRAY_NAME = re.compile(r"arrays/\d{1,6}\.npy")


def save(path: str | Path, tree: dict[str, Any]) -> str:
    """Write `tree` to `path` atomically and return its content hash.

    Leaves are str, int, float, bool, None or numpy arrays; branches dict (str keys), list, tuple.

    Raises
    ------
    FileError
        A leaf of another kind, a number that is not finite, or a file that cannot be written.
    """
    data, digest = to_bytes(tree, str(path))
    write_atomically(Path(path), data)
    return digest


def to_bytes(tree: dict[str, Any], node: str) -> tuple[bytes, str]:
    """(the archive that `save` writes, its content hash); `node` names it in errors."""
    members: list[bytes] = []
    try:
        plain = _strip(tree, members)
        digest = _digest(plain, members)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError(f"the tree cannot be kept ({error})", node=node) from error
    header = {"format": FORMAT, "version": VERSION, "hash": digest, "tree": plain}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "tree.json", _canonical(header))
        for index, member in enumerate(members):
            _add(archive, f"arrays/{index}.npy", member)
        archive.comment = bytes(SEAL)
    body = buffer.getvalue()[:-SEAL]
    return body + seal(body), digest


def seal(body: bytes | memoryview) -> bytes:
    """The check sum that follows `body` in a file."""
    return hashlib.sha256(body).hexdigest().encode()


def load(path: str | Path) -> tuple[dict[str, Any], str]:
    """Read an archive back: (tree, content hash).

    Raises
    ------
    FileError
        Missing, truncated, not an archive of ours, of another version, or altered since it was
        written.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError("no such file", node=str(path))
    if path.stat().st_size > MAX_BYTES:
        raise FileError(f"larger than {MAX_BYTES} bytes", node=str(path))
    return from_bytes(path.read_bytes(), str(path))


def from_bytes(data: bytes, node: str) -> tuple[dict[str, Any], str]:
    """As `load`, of an archive's bytes; `node` names it in errors."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive, len(data))
            header = json.loads(archive.read("tree.json"))
            count = len(archive.namelist()) - 1
            members = [archive.read(f"arrays/{index}.npy") for index in range(count)]
            arrays = [parse(member) for member in members]
    except FileError as error:
        raise FileError(error.message, node=node) from error
    except Exception as error:  # zipfile, json and numpy each raise their own
        raise FileError(
            f"not a complete neurodeploy archive ({type(error).__name__}: {error})", node=node
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileError("not a neurodeploy archive", node=node)
    if header.get("version") != VERSION:
        raise FileError(
            f"archive version {header.get('version')!r}, this version reads {VERSION}",
            node=node,
        )
    try:
        digest = _digest(header.get("tree"), members)
        tree = _restore(header["tree"], arrays, MAX_DEPTH)
    except (IndexError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise FileError(
            f"the archive's tree is malformed ({type(error).__name__}: {error})", node=node
        ) from error
    if digest != header.get("hash") or seal(memoryview(data)[:-SEAL]) != data[-SEAL:]:
        raise FileError("the content does not match its hash: the file was altered", node=node)
    if not isinstance(tree, dict):
        raise FileError("the archive holds no tree", node=node)
    return tree, digest


def content_hash(tree: dict[str, Any]) -> str:
    """The hash that `save` would return."""
    members: list[bytes] = []
    return _digest(_strip(tree, members), members)


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An uncompressed `.npz` file: the same arrays give the same bytes on any machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            _add(archive, f"{name}.npy", _npy(arrays[name]))
    return buffer.getvalue()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing; what is no regular file, such as /dev/stdout, as it comes.

    Raises
    ------
    FileError
        It cannot be written: then what lay there is as it was.
    """
    place = Path(os.path.realpath(path))
    temporary = place.with_name(_temporary())
    try:
        if place.exists() and not place.is_file():
            place.write_bytes(data)
            return
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, place)
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror})", node=str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder with all of `files`, by their names in it, or nothing.

    It is written beside its place and moved there.  Of a folder that lies there, files of other
    names are kept.

    Raises
    ------
    FileError
        It cannot be written.
    """
    place = Path(os.path.realpath(path))
    fresh, earlier = place.with_name(_temporary()), []
    try:
        for name, data in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        while not _moved(fresh, place):
            aside = place.with_name(_temporary())
            try:
                os.rename(place, aside)
            except FileNotFoundError:  # another process was faster
                continue
            earlier.append(aside)
            _copy_others(aside, fresh)
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot be written ({reason})", node=str(path)) from error
    finally:
        if earlier and fresh.exists():
            with contextlib.suppress(OSError):
                _moved(earlier[-1], place)
        for folder in (fresh, *earlier):
            shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> str:
    return f".neurodeploy-{secrets.token_hex(8)}"


def _moved(folder: Path, place: Path) -> bool:
    """Whether a folder could take a place, which is free or an empty folder."""
    try:
        os.rename(folder, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _copy_others(earlier: Path, fresh: Path) -> None:
    """Copy what only the earlier folder has.

    Both folders are this writer's alone, so nobody else can change them meanwhile.
    """

    def replaced(folder: str, names: list[str]) -> list[str]:
        there = fresh / Path(folder).relative_to(earlier)
        return [
            name
            for name in names
            if os.path.lexists(there / name)
            and not ((there / name).is_dir() and Path(folder, name).is_dir())
        ]

    shutil.copytree(earlier, fresh, symlinks=True, ignore=replaced, dirs_exist_ok=True)


def _strip(value: Any, members: list[bytes]) -> Any:
    """Plain data; each array goes to `members` as the bytes of its `.npy` file."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects")
        members.append(_npy(value))
        return {_ARRAY: len(members) - 1}
    if isinstance(value, dict):
        if _ARRAY in value:
            raise ValueError(f"{_ARRAY!r} as a key")
        return {str(key): _strip(value[key], members) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_strip(item, members) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _restore(value: Any, arrays: list[NDArray[Any]], depth: int) -> Any:
    if not depth:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            index = value[_ARRAY]
            if type(index) is not int or index < 0:
                raise IndexError(index)
            return arrays[index]
        return {key: _restore(item, arrays, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item, arrays, depth - 1) for item in value]
    return value


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(plain: Any, members: list[bytes]) -> str:
    digest = hashlib.sha256(_canonical(plain))
    for member in members:
        digest.update(member)
    return digest.hexdigest()


def _npy(array: NDArray[Any]) -> bytes:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer,
        np.ascontiguousarray(little).reshape(array.shape),
        version=(1, 0),
        allow_pickle=False,
    )
    return buffer.getvalue()


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise FileError(f"more than {MAX_MEMBERS} members")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or (
            member.filename != "tree.json" and not _ARRAY_NAME.fullmatch(member.filename)
        ):
            raise FileError(f"unexpected member {member.filename!r}")
    if len({member.filename for member in members}) < len(members):
        raise FileError("two members have one name")
    if sum(member.file_size for member in members) > size:
        raise FileError("its members overlap or are not whole")


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, on every machine
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)
