"""The published wheel, the environment without torch, and the direction of dependency.

`make test` builds the wheel (.build/dist) and installs it into an environment without torch
(.venv-core).
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurodeploy._version import __version__

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / ".venv-core"
SOURCES = ("neurodeploy", "targets", "models")

# Runs in the environment without torch.  The audit hook sees every socket that is opened, from
# Python or from C, also if the exception is swallowed.
IMPORT_PROBE = """
import json, sys, time
sockets = []
sys.addaudithook(lambda event, _: event.startswith("socket.") and sockets.append(event))
start = time.perf_counter()
import neurodeploy
seconds = time.perf_counter() - start
heavy = {"torch", "snntorch", "numba", "matplotlib", "h5py", "nir"}
print(json.dumps({
    "file": neurodeploy.__file__,
    "seconds": seconds,
    "sockets": sockets,
    "heavy": sorted(heavy & sys.modules.keys()),
}))
"""

# A file from another tool, compiled and simulated.
NIR_PROBE = """
import sys
import nir
import numpy as np
import neurodeploy as nd
path = sys.argv[1]
random = np.random.default_rng(0)
nodes = {
    "input": nir.Input(np.array([8])),
    "weights": nir.Linear(random.uniform(-1, 4, (5, 8))),
    "lif": nir.LIF(np.full(5, 0.01), np.ones(5), np.zeros(5), np.ones(5)),
    "output": nir.Output(np.array([5])),
}
edges = [("input", "weights"), ("weights", "lif"), ("lif", "output")]
nir.write(path, nir.NIRGraph(nodes, edges))
spikes = (random.random((2, 20, 8)) < 0.3).astype(np.int8)
semantics = nd.Semantics(dt=1e-3)
program = nd.compile(path, target="loihi2", calibration=spikes, semantics=semantics)
print(nd.run(program, spikes).spikes["lif"].sum())
"""


def core(program: str, *arguments: str) -> str:
    """What a program of the environment without torch prints."""
    path = CORE / "bin" / program
    if not path.exists():
        pytest.fail(f"{path} is missing; `make test` builds it", pytrace=False)
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{program} {arguments[:1]} failed:\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def wheel() -> list[str]:
    """The names of the files in the wheel."""
    found = sorted((ROOT / ".build" / "dist").glob("neurodeploy_snn-*.whl"))
    if len(found) != 1:
        pytest.fail("there is no wheel in .build/dist; `make test` builds it", pytrace=False)
    with zipfile.ZipFile(found[0]) as archive:
        return archive.namelist()


def installed_name(path: Path) -> str:
    """Where a source file lies in the wheel."""
    relative = path.relative_to(ROOT)
    return str(relative if relative.parts[0] == "neurodeploy" else "neurodeploy" / relative)


def package_of(path: Path) -> str:
    """The package that a module belongs to once installed."""
    return installed_name(path.parent).replace("/", ".")


def modules() -> list[Path]:
    return [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_wheel_installs_one_package(wheel: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"neurodeploy"}
    assert len(top) == 2


def test_the_wheel_holds_every_module(wheel: list[str]) -> None:
    expected = {installed_name(path) for path in modules()}
    assert {name for name in wheel if name.endswith(".py")} == expected


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "models/digits.pt",
        "targets/loihi/loihi1.toml",
        "targets/loihi/loihi2.toml",
        "targets/loihi/lava/requirements.txt",
        "targets/loihi/lava/worker.py",
        "targets/spinnaker2/bundle/README.md",
    ],
)
def test_the_wheel_holds(wheel: list[str], name: str) -> None:
    assert f"neurodeploy/{name}" in wheel


def test_the_wheel_holds_every_data_file(wheel: list[str]) -> None:
    data = [
        path
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix not in {".py", ".md"}
        and path.parent.name != "__pycache__"
    ]
    assert {installed_name(path) for path in data} <= set(wheel)


def test_the_wheel_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Built in two places from files of other ages, at the time that make gives to all of them."""
    assert "export SOURCE_DATE_EPOCH" in (ROOT / "Makefile").read_text("utf-8")
    built = []
    for place in ("here", "there"):
        copy = tmp_path / place
        for name in SOURCES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored, copy_function=shutil.copyfile)
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copyfile(ROOT / name, copy / name)
        os.utime(copy / "setup.py", (1e9, 1e9 + len(built) * 1e6))
        code = "import setuptools.build_meta as b; b.build_wheel('dist')"
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1500000000"}
        subprocess.run(
            [sys.executable, "-c", code], cwd=copy, env=environment, check=True, capture_output=True
        )
        (wheel,) = (copy / "dist").glob("*.whl")
        built.append(wheel.read_bytes())
    assert built[0] == built[1]


def test_every_dependency_is_needed_and_no_other() -> None:
    """What the library and its targets import is what pyproject.toml asks for."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = text.split("\ndependencies = [", 1)[1].split("\n]", 1)[0]
    names = {re.split(r"[^\w-]", line.strip().strip('"'))[0] for line in listed.strip().split("\n")}
    paths = [path for path in modules() if not path.is_relative_to(ROOT / "models")]
    found = {
        name.split(".")[0]
        for path in paths
        for _, name in imports(path.read_text("utf-8"), package_of(path))
    }
    outside = found - set(sys.stdlib_module_names) - {"neurodeploy", "tomllib"}
    extras = {"torch", "snntorch", "brevitas", "distributed"}
    with_numba, with_lava = {"llvmlite"}, {"lava", "scipy", "worker", "worker_models"}
    elsewhere = {*extras, *with_numba, *with_lava, "spinnaker2"}
    assert outside - elsewhere == names


def test_the_version_is_the_same_everywhere(wheel: list[str]) -> None:
    assert f"neurodeploy_snn-{__version__}.dist-info/METADATA" in wheel
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_import_is_light_and_silent() -> None:
    runs = [json.loads(core("python", "-I", "-c", IMPORT_PROBE)) for _ in range(3)]
    for run in runs:
        assert Path(run["file"]).is_relative_to(CORE)
        assert run["sockets"] == []
        assert run["heavy"] == []
    # A promise to users, not a benchmark: the best of three, as other processes run beside it.
    assert min(run["seconds"] for run in runs) < 0.5


def test_the_core_environment_has_no_torch() -> None:
    names = ["torch", "snntorch", "sklearn", "tqdm"]
    code = "import sys, importlib.util as u; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert core("python", "-I", "-c", code, *names).strip() == "[]"


def test_the_command_works_without_torch() -> None:
    shown = core("neurodeploy", "--help")
    assert all(command in shown for command in ("compile", "demo", "lava"))
    assert "loihi2" in core("neurodeploy", "targets")


def test_a_nir_file_is_compiled_and_simulated_without_torch(tmp_path: Path) -> None:
    assert int(core("python", "-I", "-c", NIR_PROBE, str(tmp_path / "other.nir"))) > 0


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Every import of a module in `package`: its line and full name; also those in functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: 1 - node.level or None] if node.level else []
            origin = [*base, node.module] if node.module else base
            for alias in node.names:
                yield node.lineno, ".".join([*origin, alias.name])


def offences(paths: list[Path], *banned: str) -> list[str]:
    """Every import of a banned package or of something within it."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for line, name in imports(path.read_text("utf-8"), package_of(path))
        if any(f"{name}.".startswith(f"{package}.") for package in banned)
    ]


def test_the_library_does_not_import_its_targets_or_models() -> None:
    library = [path for path in modules() if path.is_relative_to(ROOT / "neurodeploy")]
    assert library
    assert not offences(library, "neurodeploy.targets", "neurodeploy.models", "targets", "models")


def test_torch_is_imported_by_its_front_end_and_models_only() -> None:
    allowed = {*(ROOT / "neurodeploy" / "frontends").glob("*snntorch*.py")}
    allowed |= {*(ROOT / "models").rglob("*.py"), *(ROOT / "neurodeploy" / "torch").glob("*.py")}
    allowed |= {*(ROOT / "targets").glob("*/differentiable.py")}
    others = [path for path in modules() if path not in allowed]
    assert others
    assert not offences(others, "torch", "snntorch")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn", ["torch.nn"]),
        ("def f():\n    from torch import nn", ["torch.nn"]),
        ("from . import counts", ["neurodeploy.energy.counts"]),
        ("from .. import targets", ["neurodeploy.targets"]),
        ("from ..models.digits import train", ["neurodeploy.models.digits.train"]),
    ],
)
def test_imports_are_found(source: str, names: list[str]) -> None:
    assert [name for _, name in imports(source, "neurodeploy.energy")] == names


def test_every_folder_with_modules_is_a_package() -> None:
    """Otherwise setup.py does not find it."""
    folders = {path.parent for path in modules()}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
