"""Files that were made to harm: each is refused with one line, soon, and nothing is run or left."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy import archive, arrays
from neurodeploy.cli import main
from neurodeploy.errors import FileError, ModelError
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.frontends.nir import load
from neurodeploy.models import digits
from neurodeploy.program import Program
from tests.builders import SUBTRACT, chain, lif

TERA = 10**12


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A small `.nir` file."""
    path = tmp_path / "model.nir"
    nir.write(path, chain((3,), fc=nir.Linear(np.ones((2, 3))), lif=lif([0.5, 0.5])))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line with which a command refuses."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("neurodeploy: ")
    assert captured.err.count("\n") == 1
    return captured.err


# ------------------------------------------------------------------------------ torch's .pt files


class Command:
    """What a pickle would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_a_command(tmp_path: Path, zipped: bool) -> None:
    path, marker = tmp_path / "model.pt", tmp_path / "marker"
    torch.save({"a": Command(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(FileError) as caught:
        digits.load(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


# ---------------------------------------------------------------------------------------- archives


def test_a_compressed_archive_of_terabytes(
    graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, inputs=np.zeros(100 << 20, np.uint8))
    output = tmp_path / "x.ndp"
    text = said(capsys, "compile", graph, "--target", "cpu8", "--calibration", bomb, "-o", output)
    assert f"declares {(100 << 20) + 128} bytes of data in {bomb.stat().st_size} bytes" in text
    assert not output.exists()


def test_a_header_of_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{'descr': '|u1'}")
    with pytest.raises(FileError, match="a header of 4294967295 bytes"):
        arrays.load(path)


def test_members_packed_in_a_way_that_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("inputs.npy", b"")
    with pytest.raises(FileError, match="packed in another way"):
        arrays.load(path)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "arrays/../../escaped"])
def test_an_archive_with_names_outside(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.ndp"
    archive.save(path, {"x": np.ones(3)})
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    sealed(path, {**members, name: b"harm"})
    assert f"unexpected member '{name}'" in said(capsys, "inspect", path)
    assert sorted(tmp_path.iterdir()) == [path]


def sealed(path: Path, members: dict[str, bytes]) -> None:
    """Write an archive with a check sum that fits."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)
        file.comment = bytes(archive.SEAL)
    body = buffer.getvalue()[: -archive.SEAL]
    path.write_bytes(body + archive.seal(body))


def test_an_array_that_declares_more_than_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.ndp"
    archive.save(path, {"x": np.ones(3)})
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    head = members["arrays/0.npy"].replace(b"(3,), }            ", f"({TERA},), }}".encode())
    assert len(head) == len(members["arrays/0.npy"])
    sealed(path, {**members, "arrays/0.npy": head})
    with pytest.raises(FileError, match=r"declares 8000000000000 bytes of data, 24 follow|than"):
        archive.load(path)


def own_program(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    spikes = np.ones((1, 3, 3), np.uint8)
    path = tmp_path / "x.ndp"
    nd.compile(
        chain((3,), fc=nir.Linear(np.ones((2, 3))), lif=lif([0.5, 0.5])),
        target="cpu8",
        calibration=spikes,
    ).save(path)
    return path, archive.load(path)[0]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("golden", "inputs", "input"), np.ones(3)),
        (("golden", "inputs", "input", "shape"), [1, 3, 2]),
        (("golden", "spikes", "lif", "shape"), [2, 3, 1]),
        (("golden", "spikes"), {"other": {"shape": [1, 1, 1], "bits": np.zeros(1, np.uint8)}}),
        (("ranges", 0, "limit_high"), []),
        (("ranges", 0, "proven"), 1),
        (("lowerings", 0, "how"), "somehow"),
        (("lowerings", 0, "node"), None),
    ],
)
def test_parts_of_a_program_that_do_not_fit(tmp_path: Path, where: Any, value: Any) -> None:
    """Each was found by fuzzing, or is next to one that was."""
    path, tree = own_program(tmp_path)
    branch: Any = tree
    for key in where[:-1]:
        branch = branch[key]
    branch[where[-1]] = value
    archive.save(path, tree)
    with pytest.raises(FileError):
        Program.load(path)


# -------------------------------------------------------------------------------------------- HDF5


def huge(file: h5py.File) -> None:
    del file["node/nodes/fc/weight"]
    file.create_dataset("node/nodes/fc/weight", (TERA,), "f8", chunks=(1024,), compression="gzip")


def overflowing(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 32, 1 << 32), "f8", chunks=(1, 8))


def huge_chunk(file: h5py.File) -> None:
    file.create_dataset("x", (8,), "u1", maxshape=(None,), chunks=(1 << 31,))


def cyclic(file: h5py.File) -> None:
    file["node/nodes/again"] = file["node"]


def root_again(file: h5py.File) -> None:
    file["node/x"] = file["/"]


def shared(file: h5py.File) -> None:
    file["node/x"] = file["node/nodes/fc/weight"]


def deep(file: h5py.File) -> None:
    group = file["node"]
    for _ in range(200):
        group = group.create_group("x")


def many_sizes(file: h5py.File) -> None:
    file["node/nodes/fc/input_shape"] = np.ones(1000, np.int64)


def sizes_for_a_table(file: h5py.File) -> None:
    """nir makes a Python object of each."""
    options = {"chunks": (1 << 20,), "compression": "gzip"}
    file["node/nodes/fc"].create_dataset("input_type", (1 << 24,), "u1", **options)


def plugged_in(file: h5py.File) -> None:
    file.create_dataset("x", data=np.ones(3), compression=32004, allow_unknown_filter=True)


def pointers(file: h5py.File) -> None:
    file.create_dataset("x", (3,), h5py.ref_dtype)


def repeated_text(file: h5py.File) -> None:
    """Many elements that could all be the one long text of the file."""
    file["text"] = "x" * 100_000
    file.create_dataset("x", (100_000,), h5py.string_dtype(), chunks=(1000,), compression="gzip")


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (huge, "declares more than"),
        (overflowing, "declares more than"),
        (huge_chunk, "declares more than"),
        (cyclic, "second link"),
        (root_again, "second link"),
        (shared, "second link"),
        (deep, "nested deeper than 100"),
        (many_sizes, "has 1000 sizes"),
        (sizes_for_a_table, "has 16777216 sizes"),
        (plugged_in, "filter 32004"),
        (pointers, "neither numbers nor texts"),
        (repeated_text, "declares more than"),
    ],
)
def test_an_hdf5_file_that_claims_too_much_or_goes_in_circles(
    harm: Callable[[h5py.File], None],
    text: str,
    graph: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with h5py.File(graph, "a") as file:
        harm(file)
    assert text in said(capsys, "inspect", graph)


def test_a_virtual_dataset_whose_source_would_never_answer(graph: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(graph, "a") as file:
        layout = h5py.VirtualLayout((8,), "u1")
        layout[:] = h5py.VirtualSource(tmp_path / "pipe", "x", (8,))
        file.create_virtual_dataset("x", layout)
    with pytest.raises(FileError, match="elsewhere"):
        check_hdf5(graph)


HEAPS = {
    "free space of no size": (16, 0, 0),
    "size that wraps to nothing": (16, 1, 2**64 - 16),
    "object beyond its heap": (16, 1, 1 << 40),
    "heap of no size": (0, None, 0),
    "heap beyond the file": (0, None, 1 << 40),
}
"""Byte in the heap, index of an object, size; of the first two, libhdf5 2.0 never comes back."""


@pytest.mark.parametrize("damage", HEAPS)
def test_a_damaged_heap_does_not_hang(graph: Path, damage: str) -> None:
    offset, index, size = HEAPS[damage]
    data = bytearray(graph.read_bytes())
    at = data.index(b"GCOL") + offset
    if index is not None:
        struct.pack_into("<H", data, at, index)
    struct.pack_into("<Q", data, at + 8, size)
    graph.write_bytes(data)
    with pytest.raises(FileError, match="the heap at byte"):
        check_hdf5(graph)


# ------------------------------------------------------------------------------------------ graphs


def test_paths_that_double_at_every_branch() -> None:
    nodes = {"input": nir.Input({"input": np.array([1])})}
    edges, last = [], ["input"]
    for level in range(30):
        names = [f"{level}{side}" for side in "ab"]
        nodes |= {name: nir.Scale(np.ones(1)) for name in names}
        edges += [(source, name) for source in last for name in names]
        last = names
    nodes |= {"lif": lif([0.5]), "output": nir.Output({"output": np.array([1])})}
    edges += [*((name, "lif") for name in last), ("lif", "output")]
    with pytest.raises(ModelError, match="more than 4096 paths"):
        load(nir.NIRGraph(nodes, edges, type_check=False))


def test_a_pooling_window_that_does_not_fit() -> None:
    pool = nir.AvgPool2d(np.array([1 << 24] * 2), np.array([1, 1]), np.array([0, 0]))
    with pytest.raises(ModelError, match="does not fit"):
        load(chain((1, 4, 4), pool=pool, lif=lif(0.5)))


def test_many_nodes_that_are_large_together() -> None:
    layers = {f"scale{i}": nir.Scale(np.array(1.0)) for i in range(40)}
    graph = chain((1 << 20,), **layers, lif=lif(0.5))
    with pytest.raises(ModelError, match="elements"):
        load(graph)


def test_long_chains_are_read_in_linear_time() -> None:
    layers = {f"n{i}": lif([0.5], semantics=SUBTRACT) for i in range(1500)}
    assert len(load(chain((1,), **layers)).populations) == 1500


LIMITED = """
import resource, sys
from neurodeploy.cli import main
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
code = main(["inspect", sys.argv[1]])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def test_claims_are_refused_before_memory_is_asked_for(graph: Path) -> None:
    with h5py.File(graph, "a") as file:
        huge(file)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(graph)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert int(done.stdout) <= 1 << 20  # KiB
