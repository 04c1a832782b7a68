"""Disks that are full, places that cannot be written, writers side by side: whole files or none."""

from __future__ import annotations

import ast
import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy import archive
from neurodeploy.cli import main
from neurodeploy.errors import FileError
from tests.builders import SUBTRACT, chain, lif, spikes_for

ROOT = Path(__file__).resolve().parents[2]

WRITERS = {
    "compile": "compile model.nir --target loihi2 --calibration x.npy -o {place}",
    "convert": "convert model.nir -o {place}",
    "run": "run model.ndp --inputs x.npy -o {place}",
    "verify page": "verify model.ndp --inputs x.npy --no-vendor --page {place}",
    "verify junit": "verify model.ndp --inputs x.npy --no-vendor --junit {place}",
    "report": "report model.ndp --inputs x.npy --no-vendor -o {place}",
    "export-c": "export-c fixed.ndp -o {place}",
    "bundle": "bundle spinnaker.ndp -o {place}",
    "explore": "explore model.nir --target cpu8 --inputs x.npy --accuracy 0 --budget 1 -o {place}",
    "energy": "energy model.ndp --inputs x.npy --state {place}",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs for three targets, their model and inputs."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    graph = chain(
        (6,),
        fc=nir.Linear(rng.normal(0.3, 0.4, (40, 6))),
        lif=lif(np.full(40, 0.9), semantics=SUBTRACT),
    )
    inputs = spikes_for(1, 8, 12, (6,))
    np.save(folder / "x.npy", inputs)
    nir.write(str(folder / "model.nir"), graph)
    for name, target in (("model", "loihi2"), ("fixed", "cpu8"), ("spinnaker", "spinnaker2")):
        nd.compile(graph, target=target, calibration=inputs).save(folder / f"{name}.ndp")
    return folder


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a disk on which there is no more room: the system refuses to write on."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_everything_as_it_was(
    writer: str,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With nothing in the place, and with what was written there before."""
    monkeypatch.chdir(files)
    place = tmp_path / "out" / "place"
    place.parent.mkdir()
    command = WRITERS[writer].format(place=place).split()
    for _ in range(1 if writer == "energy" else 2):  # a second time it has nothing to write
        before = tree(tmp_path)
        capsys.readouterr()
        with largest_file(200):
            assert main(command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "written (File too large)" in said
        found = tree(tmp_path)
        assert {name: found[name] for name in before} == before
        assert not [name for name in set(found) - set(before) if found[name] is not None]
        assert main(command) in (0, 1)  # there is room again
    assert writer == "energy" or tree(tmp_path) == before


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="no /sys on this system")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_place_where_nothing_can_be_written(
    writer: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    for place in ("/sys/place", "no/such/folder/place", "x.npy/place"):
        if writer in ("bundle", "energy") and place.startswith("no"):
            continue  # these make folders
        assert main(WRITERS[writer].format(place=place).split()) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "cannot be" in said


def test_what_is_no_file_is_written_as_it_comes(tmp_path: Path) -> None:
    archive.write_atomically(Path("/dev/null"), b"x")
    assert not Path("/dev/null").is_file()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    archive.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    with pytest.raises(FileError, match="Is a directory"):
        archive.write_atomically(tmp_path, b"x")


@pytest.mark.parametrize("step", ["open", "rename", "replace", "mkdir", "write", "copy"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_every_step_may_fail(
    step: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write_atomically(tmp_path / "file", b"old")
    archive.write_folder(tmp_path / "folder", {"a": b"old", "b/c": b"old"})
    (tmp_path / "folder" / "mine").write_bytes(b"mine")
    before = tree(tmp_path)

    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    steps: dict[str, Callable[[], None]] = {
        "open": lambda: monkeypatch.setattr(os, "open", fail),
        "rename": lambda: monkeypatch.setattr(os, "rename", fail),
        "replace": lambda: monkeypatch.setattr(os, "replace", fail),
        "mkdir": lambda: monkeypatch.setattr(Path, "mkdir", fail),
        "write": lambda: monkeypatch.setattr(os, "fdopen", fail),
        "copy": lambda: monkeypatch.setattr(shutil, "copytree", fail),
    }
    steps[step]()
    file, folder = tmp_path / "file", tmp_path / "folder"
    for write, used in (
        (lambda: archive.write_atomically(file, b"new"), ("open", "replace", "write")),
        (lambda: archive.write_folder(folder, {"a": b"new"}), ("rename", "mkdir", "copy")),
    ):
        if step in used:
            with pytest.raises(FileError, match=os.strerror(number)):
                write()
    monkeypatch.undo()
    assert tree(tmp_path) == before


def test_a_folder_is_replaced_and_others_files_are_kept(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    archive.write_folder(place, {"a": b"1", "b/c": b"1"})
    (place / "b" / "mine").write_bytes(b"mine")
    (place / "b" / "link").symlink_to("mine")
    (place / "empty").mkdir()
    archive.write_folder(place, {"a": b"2", "b/c": b"2"})
    assert tree(tmp_path) == {
        "folder": None, "folder/a": b"2", "folder/b": None, "folder/b/c": b"2",
        "folder/b/mine": b"mine", "folder/b/link": b"mine", "folder/empty": None,
    }  # fmt: skip
    assert (place / "b" / "link").is_symlink()
    archive.write_folder(place, {"a/c": b"3", "b": b"3"})  # a file becomes a folder, and back
    assert tree(tmp_path) == {
        "folder": None, "folder/a": None, "folder/a/c": b"3", "folder/b": b"3",
        "folder/empty": None,
    }  # fmt: skip


def test_folders_written_at_once_are_never_mixed(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    names = [f"{i}/{j}" for i in range(4) for j in range(4)]

    def write(number: int) -> None:
        archive.write_folder(place, {name: str(number).encode() for name in names})

    archive.write_folder(place, {"mine": b"mine"})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    assert (place / "mine").read_bytes() == b"mine"
    assert len({(place / name).read_bytes() for name in names}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


PRIVATE = {
    "neurodeploy/archive.py": "the writers themselves",
    "neurodeploy/cli/commands.py": "into memory",
    "neurodeploy/frontends/nir_write.py": "into memory, and a draft in a folder of its own",
    "neurodeploy/torch/tensor_file.py": "into memory",
    "targets/cpu/vendor.py": "a folder of its own",
    "targets/loihi/lava/environment.py": "a lock, a log, and a marker that is renamed",
    "targets/loihi/lava/job.py": "a folder of its own",
    "targets/loihi/lava/runner.py": "a folder of its own, and a copy of the log",
    "targets/loihi/lava/worker.py": "a folder of its own, renamed",
    "targets/loihi/lava/worker_models.py": "a folder of its own",
    "targets/loihi/netx/running.py": "a folder of its own",
    "targets/loihi/netx/writing.py": "into memory",
    "targets/spinnaker2/bundle/deploy.py": "runs without this package; renamed",
}
"""Files of ours that may write in another way than `archive`, and why that is safe."""


def test_everything_else_writes_through_one_writer() -> None:
    methods = {"write_text", "write_bytes", "savez", "savez_compressed", "tofile", "to_file"}
    functions = {"np.save", "nir.write", "torch.save", "json.dump", "shutil.copyfile"}
    found = set()
    for folder in ("neurodeploy", "targets", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name, modes = ast.unparse(node.func), [ast.unparse(one) for one in node.args]
                opens = name.endswith("open") or name == "h5py.File"
                writes = opens and any(m in ("'w'", "'wb'", "'ab'") for m in modes)
                if writes or name in functions or name.rpartition(".")[2] in methods:
                    found.add(str(path.relative_to(ROOT)))
    assert found <= PRIVATE.keys(), found - PRIVATE.keys()
