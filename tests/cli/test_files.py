"""Arrays from files that a user names."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import arrays
from neurodeploy.cli.files import load_inputs, load_labels
from neurodeploy.errors import FileError

SPIKES = np.eye(6, dtype=np.uint8).reshape(2, 3, 6)
LABELS = np.array([3, 1])


def refused(read: Callable[[str], Any], path: Path) -> str:
    with pytest.raises(FileError) as caught:
        read(str(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("dtype", ["u1", "?", "f4", ">i8"])
def test_one_array(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "x.npy", SPIKES.astype(dtype))
    loaded = load_inputs(str(tmp_path / "x.npy"))
    assert isinstance(loaded, np.ndarray)
    assert np.array_equal(loaded, SPIKES)


def test_inputs_and_labels_in_one_file(tmp_path: Path) -> None:
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", inputs=SPIKES, labels=LABELS)
        assert np.array_equal(load_inputs(str(tmp_path / "x.npz")), SPIKES)
        assert np.array_equal(load_labels(str(tmp_path / "x.npz")), LABELS)
    np.savez(tmp_path / "y.npz", inputs=SPIKES)
    assert np.array_equal(load_inputs(str(tmp_path / "y.npz")), SPIKES)
    assert "no member 'labels'" in refused(load_labels, tmp_path / "y.npz")
    np.save(tmp_path / "labels.npy", LABELS)
    assert np.array_equal(load_labels(str(tmp_path / "labels.npy")), LABELS)


def test_several_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", left=SPIKES, right=1 - SPIKES, labels=LABELS)
    loaded = load_inputs(str(tmp_path / "x.npz"))
    assert isinstance(loaded, dict)
    assert set(loaded) == {"left", "right"}
    assert np.array_equal(loaded["right"], 1 - SPIKES)


def test_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.npy", tmp_path):
        assert "no such file" in refused(load_inputs, path)


@pytest.mark.parametrize("content", [b"", b"0 1 0\n", b"\x93NUMPY", b"PK\x03\x04", bytes(200)])
def test_neither_npy_nor_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    refused(load_inputs, tmp_path / "x.npy")


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), zipped=st.booleans())
def test_truncated(tmp_path_factory: pytest.TempPathFactory, share: float, zipped: bool) -> None:
    folder = tmp_path_factory.mktemp("cut")
    if zipped:
        np.savez(folder / "x.npz", inputs=SPIKES, labels=LABELS)
    else:
        np.save(folder / "x.npy", SPIKES)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(load_inputs, path)


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", inputs=objects)
    fields = np.zeros(2, [("a", object), ("b", "i8")])
    np.save(tmp_path / "y.npy", fields, allow_pickle=True)
    for name in ("x.npy", "x.npz", "y.npy"):
        assert "Python objects, which are never loaded" in refused(load_inputs, tmp_path / name)
    import pickle

    (tmp_path / "z.npy").write_bytes(pickle.dumps(SPIKES))
    refused(load_inputs, tmp_path / "z.npy")


def header(shape: str, descr: str = "|u1") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("shape", "descr"),
    [("(1099511627776,)", "|u1"), ("(4194304, 4194304)", "<f8"), (f"({2**62}, 4)", "<f8")],
)
def test_sizes_are_bounded_before_allocation(tmp_path: Path, shape: str, descr: str) -> None:
    (tmp_path / "x.npy").write_bytes(header(shape, descr))
    assert "declares more than" in refused(load_inputs, tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("inputs.npy", header(shape, descr))
    assert "declares more than" in refused(load_inputs, tmp_path / "x.npz")


@pytest.mark.parametrize("shape", ["(-1,)", "(1.5,)", "7", "('a',)", "(" * 300 + ")" * 300])
def test_impossible_headers(tmp_path: Path, shape: str) -> None:
    (tmp_path / "x.npy").write_bytes(header(shape))
    refused(load_inputs, tmp_path / "x.npy")


def test_compression_bombs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", inputs=np.zeros((64, 1024), np.uint8))
    monkeypatch.setattr(arrays, "MAX_BYTES", 50_000)
    assert "declares more than 50000 bytes" in refused(load_inputs, tmp_path / "x.npz")


def test_an_array_followed_by_an_archive_is_not_half_checked(tmp_path: Path) -> None:
    """Read as an archive its members are small; read as an array it is huge."""
    buffer = io.BytesIO()
    np.savez(buffer, inputs=SPIKES)
    (tmp_path / "x.npy").write_bytes(header("(1099511627776,)", "|u1") + buffer.getvalue())
    refused(load_inputs, tmp_path / "x.npy")


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("inputs.npy", b"hello")
    refused(load_inputs, tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("README", b"hello")
    refused(load_inputs, tmp_path / "y.npz")


def test_an_empty_archive_has_no_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", labels=LABELS)
    refused(load_inputs, tmp_path / "x.npz")
    zipfile.ZipFile(tmp_path / "y.npz", "w").close()
    refused(load_inputs, tmp_path / "y.npz")
