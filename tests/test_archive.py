"""Archives: what goes in comes out, the same bytes every time, and damage never goes unnoticed."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurodeploy import archive
from neurodeploy.errors import FileError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
ARRAYS = hnp.arrays(
    st.sampled_from(["u1", "i1", "i2", "<i8", ">i4", "f4", "f8", "?", "<U3"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
TREES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        SCALARS | ARRAYS,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=12,
    ),
    max_size=4,
)

SMALL = {
    "name": "digits",
    "list": [1, 2.5, None, True, {"deep": np.arange(6, dtype=np.int64).reshape(2, 3)}],
    "bits": np.array([1, 0, 255], np.uint8),
    "gain": np.array(0.1),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.shape == b.shape
            and a.dtype.newbyteorder("<") == b.dtype
            and a.astype(b.dtype).tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


@settings(max_examples=150)
@given(TREES)
def test_round_trip(folder: Path, tree: dict[str, Any]) -> None:
    path = folder / "tree.ndp"
    digest = archive.save(path, tree)
    loaded, found = archive.load(path)
    assert same(tree, loaded)
    assert found == digest == archive.content_hash(tree) == archive.content_hash(loaded)


def test_the_same_tree_gives_the_same_bytes(folder: Path) -> None:
    backwards = {key: SMALL[key] for key in reversed(SMALL)}
    backwards["bits"] = np.repeat(SMALL["bits"], 2)[::2]
    deep = np.asfortranarray(np.arange(6).reshape(2, 3)).astype(">i8")
    backwards["list"] = (1, 2.5, None, True, {"deep": deep})
    digests = [archive.save(folder / n, t) for n, t in (("a", SMALL), ("b", backwards))]
    assert digests[0] == digests[1]
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


def test_the_hash_is_stable() -> None:
    """A hash that changes breaks every record that names it: change VERSION with it."""
    assert archive.content_hash(SMALL) == HASH


HASH = "6187a9489f6dbf6de03df0160f144ea9513bbc18a3b503e7d9c2ecb272ae6784"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "digit"},
        {"bits": np.array([1, 0, 254], np.uint8)},
        {"bits": np.array([1, 0, 255], np.uint16)},
        {"bits": np.array([[1, 0, 255]], np.uint8)},
        {"bits": [1, 0, 255]},
        {"gain": 0.1},
        {"more": None},
    ],
)
def test_any_change_changes_the_hash(change: dict[str, Any]) -> None:
    assert archive.content_hash({**SMALL, **change}) != archive.content_hash(SMALL)


def test_every_flipped_byte_is_noticed(folder: Path) -> None:
    """Exhaustive over the bytes: the lowest, the highest and all bits of each."""
    path = folder / "flipped.ndp"
    archive.save(path, SMALL)
    content = path.read_bytes()
    for position in range(len(content)):
        for flip in (1, 128, 255):
            changed = bytearray(content)
            changed[position] ^= flip
            path.write_bytes(changed)
            with pytest.raises(FileError):
                archive.load(path)


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated(folder: Path, share: float) -> None:
    archive.save(folder / "whole.ndp", SMALL)
    content = (folder / "whole.ndp").read_bytes()
    (folder / "cut.ndp").write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileError, match=r"not a complete neurodeploy archive|was altered"):
        archive.load(folder / "cut.ndp")


# --- hostile archives ----------------------------------------------------------------------------


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def members(tree: Any, *arrays: bytes, **changes: Any) -> dict[str, bytes]:
    """Members of an archive with a right hash, of anything."""
    plain = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(plain.encode() + b"".join(arrays)).hexdigest()
    header = {"format": archive.FORMAT, "version": archive.VERSION, "hash": digest, "tree": tree}
    text = json.dumps({**header, **changes})
    return {
        "tree.json": text.encode(),
        **{f"arrays/{i}.npy": array for i, array in enumerate(arrays)},
    }


def write(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive with a right seal, of anything."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
        file.comment = b"0" * 64
    body = path.read_bytes()[:-64]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(FileError) as caught:
        archive.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_helper_writes_what_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "a", members({"x": {"$array": 0}}, npy([1, 2])))
    assert archive.load(path)[0]["x"].tolist() == [1, 2]


class Exploit:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_pickled_members_are_refused_and_not_run(tmp_path: Path) -> None:
    objects = np.array([Exploit(tmp_path / "ran")], object)
    for data in (npy(objects, allow_pickle=True), pickle.dumps(objects)):
        refused(write(tmp_path / "a", members({"x": {"$array": 0}}, data)))
    assert not (tmp_path / "ran").exists()


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", members({"x": {"$array": 0}}, npy([1])), zipfile.ZIP_DEFLATED)
    assert "unexpected member" in refused(path)


@pytest.mark.parametrize("name", ["../x.npy", "/x", "arrays/x.npy", "arrays/0.npy.txt", "a/", "x"])
def test_unexpected_members_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a", {**members({"x": 1}), name: b""})
    assert "unexpected member" in refused(path)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    data = npy(np.zeros(4)).replace(b"(4,)", b"(4000000000,)")
    refused(write(tmp_path / "a", members({"x": {"$array": 0}}, data)))


@pytest.mark.parametrize(
    "content",
    [
        members([1, 2]),
        members("text"),
        members({"x": {"$array": 1}}, npy([1])),
        members({"x": {"$array": -1}}, npy([1])),
        members({"x": {"$array": "0"}}, npy([1])),
        members({"x": {"$array": True}}, npy([1]), npy([2])),
        members({"x": float("nan")}),
        members({"x": float("inf")}),
        members({"x": 1}, hash="0" * 64),
        members({"x": 1}, version=1),
        members({"x": 1}, format="other"),
        {"tree.json": b"[]"},
        {"tree.json": b"\xff"},
        {"tree.json": b'{"x":' * 5000},
        {"arrays/0.npy": npy([1])},
        {},
    ],
)
def test_archives_of_something_else_are_refused(tmp_path: Path, content: dict[str, bytes]) -> None:
    refused(write(tmp_path / "a", content))


@pytest.mark.parametrize("depth", [100, 300, 480, 600, 900, 2000])
def test_deep_trees_are_loaded_or_refused(tmp_path: Path, depth: int) -> None:
    content = members({"x": 1})
    plain = '{"x":' + "[" * depth + "]" * depth + "}"
    digest = hashlib.sha256(plain.encode()).hexdigest()
    head = f'{{"format":"{archive.FORMAT}","version":{archive.VERSION},"hash":"{digest}","tree":'
    content["tree.json"] = (head + plain + "}").encode()
    path = write(tmp_path / "a", content)
    try:
        tree, _ = archive.load(path)
    except FileError:
        assert depth >= 100
    else:
        assert list(tree) == ["x"]


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", bytes(100)])
def test_files_that_are_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a")


def test_missing_and_oversized_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such file" in refused(tmp_path / "absent")
    assert "no such file" in refused(tmp_path)
    archive.save(tmp_path / "a", SMALL)
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    assert "larger than 100 bytes" in refused(tmp_path / "a")
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    assert "more than 2 members" in refused(tmp_path / "a")


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leaf", [b"bytes", np.array(["a", None], object), float("nan"), {1, 2}, 1j, Path("x")]
)
def test_what_cannot_be_kept_is_refused_before_writing(tmp_path: Path, leaf: Any) -> None:
    with pytest.raises(FileError):
        archive.save(tmp_path / "a", {"x": leaf})
    assert list(tmp_path.iterdir()) == []


def test_a_branch_is_not_mistaken_for_an_array(tmp_path: Path) -> None:
    """A branch may have any key, also the one that marks arrays."""
    tree = {"a": {"$array": 0}, "b": np.arange(3)}
    try:
        archive.save(tmp_path / "a", tree)
    except FileError:
        return
    assert same(tree, archive.load(tmp_path / "a")[0])


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ndp"
    archive.save(path, {"x": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archive.os, "replace", full)
        with pytest.raises(FileError, match="No space left"):
            archive.save(path, {"x": 2})
    assert archive.load(path)[0] == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.ndp"]
    with pytest.raises(FileError, match="cannot be written"):
        archive.save(tmp_path / "absent" / "a.ndp", {"x": 1})


def test_a_written_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    archive.save(tmp_path / "a", SMALL)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "ordinary")}
    assert len(modes) == 1
