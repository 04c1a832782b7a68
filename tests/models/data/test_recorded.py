"""Real event data: small files in the formats of N-MNIST, DVS Gesture and SHD, read by tonic."""

from __future__ import annotations

import builtins
import socket
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.frontends import hdf5
from neurodeploy.models.data import load


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def nmnist_bytes(events: list[tuple[int, int, int, int]]) -> bytes:
    """Five bytes per event: x, y, polarity and 23 bits of time; y = 240 adds 2^13 µs from there."""
    out = bytearray()
    wraps = 0
    for x, y, p, t in events:
        while t - wraps * 2**13 >= 2**13:
            out += bytes([0, 240, 0, 0, 0])
            wraps += 1
        rest = t - wraps * 2**13
        out += bytes([x, y, p << 7 | rest >> 16, rest >> 8 & 255, rest & 255])
    return bytes(out)


def nmnist(root: Path) -> Path:
    for part in ("Train", "Test"):
        for label in (3, 7):
            folder = root / "NMNIST" / part / str(label)
            folder.mkdir(parents=True)
            for index in range(2):
                events = [
                    (label, 5, 1, 14_999),
                    (33, 33, 0, 15_000 + index),
                    (0, 1, 1, 299_999),
                    (2, 2, 1, 300_000),
                ]
                (folder / f"{index:05}.bin").write_bytes(nmnist_bytes(events))
    return root


def dvsgesture(root: Path) -> Path:
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        folder = root / "DVSGesture" / part / "user03_fluorescent_led"
        folder.mkdir(parents=True)
        for label in (0, 10):
            events = [[127, 4 * label + 3, 1, 39], [4, 0, 0, 40], [0, 0, 0, 1600]]
            np.save(folder / f"{label}.npy", np.array(events, np.float64))
    return root


def shd(root: Path) -> Path:
    folder = root / "SHD"
    folder.mkdir()
    times = h5py.vlen_dtype(np.float16)
    units = h5py.vlen_dtype(np.uint16)
    for part in ("train", "test"):
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            spikes = file.create_group("spikes")
            spikes.create_dataset("times", (3,), times)
            spikes.create_dataset("units", (3,), units)
            for index in range(3):
                file["spikes/times"][index] = np.array([0.0, 0.03, 1.2], np.float16)
                file["spikes/units"][index] = np.array([index, 699, 5], np.uint16)
            file["labels"] = np.array([4, 0, 19], np.uint16)
            file["extra/keys"] = np.array([b"null", b"eins"])
            file["extra/speaker"] = np.zeros(3, np.uint16)
    return root


def test_nmnist(tmp_path: Path) -> None:
    data = load("nmnist", nmnist(tmp_path), train=4, test=2)
    assert data.train_x.shape == (4, 20, 2, 34, 34)
    assert sorted(data.train_y) == [3, 3, 7, 7]
    for frames, label in zip(data.train_x, data.train_y, strict=True):
        expected = np.zeros((20, 2, 34, 34))
        expected[0, 1, 5, label] = expected[1, 0, 33, 33] = expected[19, 1, 1, 0] = 1
        assert np.array_equal(frames, expected)
    assert len(data.test_y) == 2
    assert not data.synthetic


def test_dvs_gesture(tmp_path: Path) -> None:
    data = load("dvsgesture", dvsgesture(tmp_path), train=2, test=1)
    assert data.train_x.shape == (2, 40, 2, 32, 32)
    assert sorted(data.train_y) == [0, 10]
    for frames, label in zip(data.train_x, data.train_y, strict=True):
        expected = np.zeros((40, 2, 32, 32))
        expected[0, 1, label, 31] = expected[1, 0, 0, 1] = 1
        assert np.array_equal(frames, expected)


def test_spiking_heidelberg_digits(tmp_path: Path) -> None:
    data = load("shd", shd(tmp_path), train=3, test=3)
    assert data.train_x.shape == (3, 50, 1, 1, 700)
    for frames, label in zip(data.train_x, data.train_y, strict=True):
        expected = np.zeros((50, 700))
        expected[0, [4, 0, 19].index(label)] = expected[1, 699] = 1
        assert np.array_equal(frames[:, 0, 0], expected)


def test_the_seed_chooses_among_more_samples(tmp_path: Path) -> None:
    nmnist(tmp_path)
    chosen = {tuple(load("nmnist", tmp_path, seed, train=3, test=1).train_y) for seed in range(8)}
    assert len(chosen) > 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "nothing is downloaded"),
        ({"root": "."}, FileError, "nothing is downloaded"),
        ({"root": "data", "train": 5}, InputError, "5 training samples, but there are 4"),
        ({"root": "data", "test": 0}, InputError, "at least 1"),
        ({"root": "data", "train": 10**7}, InputError, "at most"),
    ],
)
def test_what_cannot_be_had_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict,
    error: type[Exception],
    message: str,
) -> None:
    nmnist(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=rf"(?i){message}"):
        load("nmnist", **({"train": 4, "test": 4} | options))


def test_a_missing_part_is_not_fetched(tmp_path: Path) -> None:
    nmnist(tmp_path)
    for file in (tmp_path / "NMNIST" / "Test").rglob("*.bin"):
        file.unlink()
    with pytest.raises(FileError, match="Test"):
        load("nmnist", tmp_path, train=1, test=1)


def _file(folder: Path, pattern: str) -> Path:
    return next(iter(sorted(folder.rglob(pattern))))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    nmnist(tmp_path)
    dvsgesture(tmp_path)
    shd(tmp_path)
    sizes = {"train": 2, "test": 1}
    file = _file(tmp_path / "NMNIST" / "Train", "*.bin")
    file.write_bytes(nmnist_bytes([(34, 0, 0, 0)]))
    with pytest.raises(FileError, match="outside of the sensor: x"):
        load("nmnist", tmp_path, train=4, test=1)
    file.write_bytes(b"1234567")
    with pytest.raises(FileError, match="NMNIST"):
        load("nmnist", tmp_path, train=4, test=1)
    file = _file(tmp_path / "DVSGesture" / "ibmGestureTrain", "*.npy")
    whole = file.read_bytes()
    for damaged in (b"", b"\x93NUMPY", whole[:-9]):
        file.write_bytes(damaged)
        with pytest.raises(FileError):
            load("dvsgesture", tmp_path, **sizes)
    np.save(file, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(FileError):
        load("dvsgesture", tmp_path, **sizes)
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 4)))
    with file.open("wb") as stream:  # declares a terabyte
        np.lib.format.write_array_header_1_0(stream, header | {"shape": (1 << 35, 4)})
    with pytest.raises(FileError, match="declares"):
        load("dvsgesture", tmp_path, **sizes)
    file.write_bytes(whole)
    file.rename(file.with_name("11.npy"))  # the name is the label
    with pytest.raises(FileError, match="label 11 of 11 classes"):
        load("dvsgesture", tmp_path, **sizes)
    file = tmp_path / "SHD" / "shd_train.h5"
    content = file.read_bytes()
    for damaged in (b"", content[: len(content) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(FileError):
            load("shd", tmp_path, **sizes)
    with h5py.File(file, "w") as made:
        made["labels"] = h5py.ExternalLink("elsewhere.h5", "labels")
    with pytest.raises(FileError, match="link"):
        load("shd", tmp_path, **sizes)


def test_a_file_on_which_libhdf5_dies_ends_no_process_but_its_own(tmp_path: Path) -> None:
    """Arrays of any length whose type says that they are neither arrays nor texts."""
    file = shd(tmp_path) / "SHD" / "shd_train.h5"
    content = file.read_bytes()
    kind = content.index(bytes.fromhex("19000000100000001000000002000000"))
    file.write_bytes(content[: kind + 1] + b"\x07" + content[kind + 2 :])
    with pytest.raises(FileError, match="not a complete HDF5 file"):
        load("shd", tmp_path, train=2, test=1)


def test_a_file_that_is_never_read_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "_read_all", lambda path: time.sleep(600))
    with pytest.raises(FileError, match=r"not read within 0\.2 s"):
        hdf5.try_reading(tmp_path, 0.2)


def test_without_tonic_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nmnist(tmp_path)
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("tonic"):
            raise ImportError("no", name="tonic")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"needs tonic.*neurodeploy-snn\[data\]"):
        load("nmnist", tmp_path, train=1, test=1)
