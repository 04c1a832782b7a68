"""How inputs are damaged: bytes, trees of plain data, members of ZIP files, objects of HDF5 files.

Every function takes a `random.Random`, so the same seed makes the same inputs.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import random
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

INTEGERS = (
    0, 1, -1, 2, 3, 7, 8, 64, 127, 128, 255, 256, 1000, 1 << 12, 1 << 15, (1 << 16) - 1, 1 << 20,
    1 << 22, 1 << 24, 1 << 27, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 32, 10**12, 1 << 53,
    (1 << 63) - 1, 1 << 63, -(1 << 63), 1 << 64, 10**30,
)  # fmt: skip
FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 5e-324, 2.2e-308, 1e-45, 1e-30, 1e30, 1.8e308, 3.5e38,
    math.inf, -math.inf, math.nan, 2.0**24 + 1, 2.0**53, 0.1,
)  # fmt: skip
TEXTS = ("", "x", "../x", "/etc/passwd", "\0", "é\ud800", "a" * 5000, "nan", "{}", "input", "LIF")
DTYPES = ("u1", "i1", "i2", "i4", "i8", "u8", "f2", "f4", "f8", "?", "S3", "c8")
SMALL = 1 << 12
"""Values of the datasets that are read while a file is changed."""
MARKS = (0, 1, 7, 8, 15, 16, 0x7F, 0x80, 0xFF)
WIDE = (0, 1, 8, 16, 96, 1 << 16, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 16, (1 << 64) - 1)


def damaged(draws: random.Random, data: bytes) -> bytes:
    """One to sixteen changes of bytes: flips, overwritten fields, copies, cuts, splices."""
    found = bytearray(data)
    for _ in range(draws.choice((1, 1, 1, 2, 4, 16))):
        if not found:
            break
        at, kind = draws.randrange(len(found)), draws.randrange(9)
        if kind == 0:
            found[at] ^= 1 << draws.randrange(8)
        elif kind == 1:
            found[at] = draws.choice(MARKS)
        elif kind == 2:
            found[at] = draws.randrange(256)
        elif kind in (3, 4):
            width = draws.choice((2, 4, 8))
            at -= at % width
            value = draws.choice((*WIDE, draws.randrange(len(found))))
            found[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        elif kind in (5, 6):
            length, start = draws.choice((1, 8, 16, 64, 512)), draws.randrange(len(found))
            piece = found[start : start + length]
            if kind == 5:
                found[at : at + length] = piece
            else:
                found[at:at] = piece
        elif kind == 7:
            del found[at : at + draws.choice((1, 8, 64))]
        elif draws.random() < 0.3:
            del found[at:]
    return bytes(found)


def value(draws: random.Random) -> Any:
    """Plain data of any kind, extreme more often than not."""
    kind = draws.randrange(8)
    if kind == 0:
        return draws.choice(TEXTS)
    if kind == 1:
        return draws.choice((None, True, False))
    if kind == 2:
        return [draws.choice(INTEGERS) for _ in range(draws.randrange(4))]
    if kind == 3:
        return {draws.choice(TEXTS): draws.choice(INTEGERS) for _ in range(draws.randrange(3))}
    return draws.choice(INTEGERS if kind < 6 else FLOATS)


def array(draws: random.Random, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array that differs from `like` in a value, its shape or its type."""
    kind = draws.randrange(5)
    with np.errstate(all="ignore"):
        if kind == 0 and like.size and like.dtype.kind in "iufb":
            found = like.copy()
            flat = found.reshape(-1)
            values = INTEGERS if like.dtype.kind != "f" else FLOATS
            for _ in range(draws.choice((1, 1, 3))):
                new = np.array(float(draws.choice(values)))
                flat[draws.randrange(flat.size)] = new.astype(like.dtype)
            return found
        if kind == 1:
            with contextlib.suppress(ValueError, TypeError):
                return like.astype(draws.choice(DTYPES))
        if kind == 2:
            return like.reshape(-1)[: draws.randrange(like.size + 1)]
        if kind == 3:
            return like.reshape(draws.choice(((-1,), (1, -1), (-1, 1), (1, 1, 1, -1))))
    scalar = draws.choice((*INTEGERS, *FLOATS))
    return np.full(draws.choice(((), (1,), (2,), (0,), (3, 0))), float(scalar))


def tree(draws: random.Random, data: Any) -> Any:
    """A changed copy of plain data with arrays: values, keys, orders, deep nesting."""
    found, places = _copied(data)
    for _ in range(draws.choice((1, 1, 2, 4))):
        branch, key = draws.choice(places)
        kind = draws.randrange(10)
        try:
            old = branch[key]
            if kind < 5:
                leaf = isinstance(old, np.ndarray)
                branch[key] = array(draws, old) if leaf else value(draws)
            elif kind == 5:
                branch[key] = draws.choice(places)[0]
            elif kind == 6:
                del branch[key]
            elif kind == 7:
                other, place = draws.choice(places)
                branch[key] = other[place]
            elif kind == 8:
                for _ in range(draws.choice((3, 90, 120, 3000))):
                    old = {"x": old} if draws.random() < 0.5 else [old]
                branch[key] = old
            elif isinstance(branch, dict):
                branch[draws.choice(TEXTS)] = old
            else:
                branch.extend([old] * draws.choice((1, 2, 1000)))
        except (LookupError, ValueError):  # an earlier change took the place away
            continue
    return found


def _copied(data: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """A copy of the branches of a tree, and the place of every leaf and branch below them."""
    places: list[tuple[Any, Any]] = []

    def copy(item: Any) -> Any:
        if isinstance(item, dict):
            found = {key: copy(own) for key, own in item.items()}
            places.extend((found, key) for key in found)
            return found
        if isinstance(item, (list, tuple)):
            row = [copy(own) for own in item]
            places.extend((row, key) for key in range(len(row)))
            return row
        return item

    copied = copy(data)
    return copied, places


def zipped(draws: random.Random, data: bytes) -> bytes:
    """A ZIP file with changed members: names, packing, twice the same, none, claims, contents."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        comment = archive.comment
    method = zipfile.ZIP_STORED
    name, content = members[place := draws.randrange(len(members))]
    kind = draws.randrange(8)
    if kind == 0:
        members[place] = (draws.choice(("../evil", "/tmp/evil.npy", "arrays/1.npy", "")), content)
    elif kind == 1:
        members.append((draws.choice(("../evil", "x" * 60000, "data.pkl", name)), content))
    elif kind == 2:
        method = draws.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif kind == 3:
        del members[place]
    elif kind == 4:
        members[place] = (name, content + bytes(draws.choice((1, 100, 1 << 20))))
        method = draws.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    elif kind == 5:
        draws.shuffle(members)
    else:
        members[place] = (name, damaged(draws, content))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for member, content in members:
            with _quiet():
                archive.writestr(zipfile.ZipInfo(member), content, method)
        archive.comment = comment
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members with one name
        yield


def objects(draws: random.Random, data: bytes) -> bytes:
    """An HDF5 file after one to three changes of its objects, made with h5py."""
    buffer = io.BytesIO(data)
    with contextlib.suppress(
        ValueError, RuntimeError, KeyError, OSError, TypeError, AttributeError
    ):
        _edit(draws, data, buffer)
    return buffer.getvalue()


@functools.lru_cache(maxsize=64)
def _names(data: bytes) -> tuple[list[str], list[str]]:
    """Names of the groups and of the datasets of a valid file."""
    groups, found = ["/"], []

    def collect(name: str, item: Any) -> None:
        (groups if isinstance(item, h5py.Group) else found).append(f"/{name}")

    with h5py.File(io.BytesIO(data), "r") as file:
        file.visititems(collect)
    return groups, found


def _edit(draws: random.Random, data: bytes, buffer: io.BytesIO) -> None:
    """A change at a place that an earlier one took away ends the changes."""
    groups, found = _names(data)
    with h5py.File(buffer, "r+") as file:
        for _ in range(draws.choice((1, 1, 2, 3))):
            some = [file[name] for name in draws.sample(groups, min(3, len(groups)))]
            item = file[draws.choice(found)]
            if item.size is None or item.size > SMALL or item.is_virtual:
                break  # an earlier change made it, and it is not to be read here
            draws.choice(_EDITS)(draws, file, [file, *some], item)


Edit = Callable[[random.Random, h5py.File, list[h5py.Group], h5py.Dataset], None]


def _replace(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    name, old = item.name, item[()]
    if isinstance(old, bytes) or item.dtype.kind == "O":
        new: Any = value(draws)
        if isinstance(old, bytes) and draws.random() < 0.7:
            new = draws.choice((*TEXTS, "LI", "IF", "CubaLIF", "Affine", "Conv2d", "Delay"))
    else:
        new = array(draws, np.asarray(old))
    del file[name]
    file[name] = new


def _remove(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    del file[draws.choice((item.name, item.parent.name))]


def _link(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    target = draws.choice((item, *groups))
    name = draws.choice(("x", "0", "type", "weight", "nodes"))
    group = draws.choice(groups)
    if name in group:
        del group[name]
    group[name] = draws.choice(
        (target, h5py.SoftLink(target.name), h5py.ExternalLink("/etc/passwd", "/"))
    )


def _move(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    other = draws.choice((item, *groups[1:]))
    file.move(other.name, draws.choice(groups).name.rstrip("/") + "/" + draws.choice(("x", "7")))


def _copy(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    file.copy(draws.choice((item, *groups[1:])), draws.choice(groups), draws.choice("x7"))


def _huge(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    name = item.name
    del file[name]
    shape = draws.choice(((10**12,), (1 << 40, 1 << 23), (1 << 24,), (1 << 63,), (10**6, 10**3)))
    file.create_dataset(
        name, shape, draws.choice(("f8", "u1", "S1000")), chunks=(1,) * (len(shape) - 1) + (1024,),
        compression=draws.choice((None, "gzip", "lzf")),
    )  # fmt: skip


def _elsewhere(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    name = item.name
    del file[name]
    if draws.random() < 0.5:
        file.create_dataset(name, (8,), "u1", external=[("/etc/hostname", 0, 8)])
    else:
        layout = h5py.VirtualLayout((8,), "u1")
        layout[:] = h5py.VirtualSource(draws.choice((".", "/etc/hostname")), name, (8,))
        file.create_virtual_dataset(name, layout)


def _deep(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    group = draws.choice(groups)
    for _ in range(draws.choice((5, 50, 150))):
        group = group.create_group("nodes")


def _filtered(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    name, old = item.name, np.atleast_1d(np.asarray(item[()]))
    del file[name]
    options = draws.choice(
        ({"compression": 32004, "allow_unknown_filter": True}, {"shuffle": True},
         {"scaleoffset": 2}, {"fletcher32": True}, {"compression": "gzip"})
    )  # fmt: skip
    file.create_dataset(name, data=old, **options)


def _typed(draws: random.Random, file: h5py.File, groups: Any, item: h5py.Dataset) -> None:
    name = item.name
    del file[name]
    kind: Any = draws.choice(
        ([("a", "f8"), ("b", "S3")], h5py.vlen_dtype(np.int32), h5py.ref_dtype, "V7", ("f8", (3,)),
         h5py.enum_dtype({"a": 1, "b": 2}), h5py.string_dtype(), "S7")
    )  # fmt: skip
    if draws.random() < 0.2:
        file[name] = h5py.Empty("f8")
    else:
        file.create_dataset(name, draws.choice(((), (3,), (0,))), kind)


_EDITS: tuple[Edit, ...] = (
    *(_replace,) * 8, _remove, _link, _move, _copy, _huge, _elsewhere, _deep, _filtered, _typed,
)  # fmt: skip
