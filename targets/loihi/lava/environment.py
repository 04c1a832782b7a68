"""The private Python 3.10 environment in which Lava runs: find an interpreter, build it, locate it.

Lava (lava-nc 0.10.0) declares `python >=3.10,<3.11` and `numpy <2`, so it cannot share an
environment with this library on newer Pythons.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.resources
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from neurodeploy.errors import LavaError

PYTHON_VERSION = (3, 10)
MARKER = ".neurodeploy-lava.json"
INSTALL_LOG = "install.log"
INSTALL_HINT = "Run `neurodeploy lava install`"
# Installed without its dependencies: it pins torch 2.3, several gigabytes that nothing here needs.
LAVA_DL = "lava-dl==0.6.0"
_PROBE = "import json, sys; print(json.dumps([list(sys.version_info[:3]), sys.executable]))"
_PROBE_SECONDS = 30.0


@dataclass(frozen=True)
class LavaEnvironment:
    """An interpreter that can import Lava.

    `python` is its executable; `versions` maps distribution names to the versions it holds.
    """

    python: Path
    versions: Mapping[str, str]


def requirements() -> dict[str, str]:
    """The pinned version of every distribution of the environment, by name."""
    text = importlib.resources.files(__package__).joinpath("requirements.txt").read_text("utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(pin.split("==") for pin in [*pins, LAVA_DL])


def environment_path() -> Path:
    """Where the environment is or will be.

    `$NEURODEPLOY_LAVA_ENV` if set, else `neurodeploy/lava-0.10.0` in `$XDG_DATA_HOME` or
    `~/.local/share`.
    """
    chosen = os.environ.get("NEURODEPLOY_LAVA_ENV")
    if chosen:
        return Path(chosen).expanduser().absolute()
    data_home = os.environ.get("XDG_DATA_HOME")
    base = Path(data_home) if data_home else Path.home() / ".local" / "share"
    return base / "neurodeploy" / f"lava-{requirements()['lava-nc']}"


def find_python(option: str | None) -> Path:
    """Find an interpreter of Python 3.10.

    Looked at in this order: `option`, `$NEURODEPLOY_LAVA_PYTHON`, `python3.10` on PATH, pyenv's
    versions, uv's, and the running interpreter.  A candidate counts only if it runs and says that
    it is 3.10; the first two are what somebody asked for, so there anything else is an error.

    Raises
    ------
    LavaError
        An explicitly given interpreter is not Python 3.10, or there is none at all.
    """
    for given, origin in (
        (option, "--python"),
        (os.environ.get("NEURODEPLOY_LAVA_PYTHON"), "NEURODEPLOY_LAVA_PYTHON"),
    ):
        if given:
            return _explicit_python(given, origin)
    tried = []
    for origin, candidate in _candidates():
        if candidate is None:
            tried.append(f"{origin}: none")
            continue
        found, version = _probe(candidate)
        if found is not None and version[:2] == PYTHON_VERSION:
            return found
        tried.append(f"{origin}: {candidate} is {_describe(version)}")
    raise LavaError(
        f"Lava needs Python 3.10 and none was found (tried {'; '.join(tried)})",
        hint="Install Python 3.10 from your system's packages, or run `pyenv install 3.10` or "
        "`uv python install 3.10`, then `neurodeploy lava install --python PATH`",
    )


def install(python: str | None, progress: Callable[[str], None]) -> LavaEnvironment:
    """Build the environment at `environment_path()`, or return the complete one that is there.

    A virtual environment cannot be moved, so it is built in place; a marker file says from the
    start whose folder it is and names the versions only at the very end, so an interrupted
    installation is recognised and done again.  A file lock keeps two installers apart.

    Parameters
    ----------
    python:
        A Python 3.10 interpreter, or None to look for one (see `find_python`).
    progress:
        Called with one line of text per stage.

    Raises
    ------
    LavaError
        No Python 3.10, the folder holds something else, or pip failed.
    """
    _require_posix()
    path = environment_path()
    try:
        with _lock(path, progress):
            if _problem(path) is None:
                progress(f"The Lava environment in {path} is complete.")
            else:
                interpreter = find_python(python)
                _clear(path)
                _write_marker(path, None)
                _build(path, interpreter, progress)
                _write_marker(path, requirements())
                progress(f"The Lava environment in {path} is ready.")
    except OSError as error:
        raise LavaError(f"cannot install Lava into {path}: {error}") from error
    return LavaEnvironment(_python_in(path), requirements())


def locate() -> LavaEnvironment:
    """Find the environment to run Lava in.

    Unless `$NEURODEPLOY_LAVA_ENV` names one, the running interpreter serves if it holds the pinned
    version of Lava itself; otherwise it is the one at `environment_path()`.

    Raises
    ------
    LavaError
        There is none, its installation was interrupted, or its versions are not the pinned ones.
    """
    _require_posix()
    if not os.environ.get("NEURODEPLOY_LAVA_ENV"):
        here = _running_interpreter()
        if here is not None:
            return here
    path = environment_path()
    problem = _problem(path)
    if problem is not None:
        raise LavaError(problem, hint=INSTALL_HINT)
    return LavaEnvironment(_python_in(path), requirements())


def describe_difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Say which versions of `expected` are not the ones in `found`; empty if all agree."""
    return ", ".join(
        f"{name} {found.get(name, 'missing')} instead of {version}"
        for name, version in expected.items()
        if found.get(name) != version
    )


def _python_in(path: Path) -> Path:
    return path / "bin" / "python"


def _problem(path: Path) -> str | None:
    """What keeps the environment in `path` from being used, or None."""
    if not (path / MARKER).exists():
        return f"there is no Lava environment in {path}"
    versions = _read_marker(path)
    if versions is None:
        return f"the installation of the Lava environment in {path} was interrupted"
    if not _python_in(path).exists():
        return f"the Python of the Lava environment in {path} is gone"
    difference = describe_difference(versions, requirements())
    if difference:
        return f"the Lava environment in {path} is of another version: {difference}"
    return None


def _explicit_python(given: str, origin: str) -> Path:
    """The interpreter that somebody named by a path or a command, which must be Python 3.10."""
    found, version = _probe(Path(shutil.which(given) or given).expanduser())
    if found is None or version[:2] != PYTHON_VERSION:
        raise LavaError(
            f"{given}, given by {origin}, is {_describe(version)}; Lava needs Python 3.10",
            hint=f"Give the path of a Python 3.10, or leave {origin} out to have one looked for",
        )
    return found


def _candidates() -> Iterator[tuple[str, Path | None]]:
    """Every place to look at, in order, with the interpreter there or None."""
    on_path = shutil.which("python3.10")
    yield "PATH", Path(on_path) if on_path else None
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pyenv: list[Path | None] = [*sorted(root.glob("versions/3.10.*/bin/python"))]
    for candidate in pyenv or [None]:
        yield f"pyenv in {root}", candidate
    yield "uv", _uv_python()
    yield "the running interpreter", Path(sys.executable)


def _uv_python() -> Path | None:
    uv = shutil.which("uv")
    if uv is None:
        return None
    answer = _output([uv, "python", "find", "3.10"]).strip()
    return Path(answer.splitlines()[-1]) if answer else None


def _probe(candidate: Path) -> tuple[Path | None, tuple[int, ...]]:
    """Run an interpreter and ask for its own path and version; (None, ()) if it does not answer.

    A path alone proves nothing: a pyenv shim exists for versions that are not active.
    """
    try:
        version, executable = json.loads(_output([str(candidate), "-I", "-c", _PROBE]))
        return Path(executable), tuple(int(part) for part in version)
    except (ValueError, TypeError):
        return None, ()


def _output(command: list[str]) -> str:
    """What a command prints, or nothing if it fails, hangs or does not exist."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout


def _describe(version: tuple[int, ...]) -> str:
    return "Python " + ".".join(map(str, version)) if version else "not a working interpreter"


def _running_interpreter() -> LavaEnvironment | None:
    """The running interpreter, if it can import the pinned version of Lava."""
    try:
        if importlib.util.find_spec("lava.proc") is None:
            return None
    except ModuleNotFoundError:
        return None
    versions = {}
    for name in requirements():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    if versions.get("lava-nc") != requirements()["lava-nc"]:
        return None
    return LavaEnvironment(Path(sys.executable), versions)


def _require_posix() -> None:
    if os.name != "posix":
        raise LavaError("Lava's simulator starts its processes by fork; it runs on Linux and macOS")


@contextlib.contextmanager
def _lock(path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the installation lock of `path`; the system lets go of it if the process dies."""
    import fcntl  # exists on POSIX systems only

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"Waiting for another installation into {path} ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clear(path: Path) -> None:
    """Remove an old or interrupted environment, but never a folder that is somebody else's."""
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / MARKER).exists()):
        raise LavaError(
            f"{path} exists and is not a Lava environment made by `neurodeploy lava install`",
            hint="Move it away or set NEURODEPLOY_LAVA_ENV to another folder",
        )
    shutil.rmtree(path)


def _build(path: Path, interpreter: Path, progress: Callable[[str], None]) -> None:
    """Make the virtual environment and fill it; -I keeps PYTHONPATH out of it."""
    log = path / INSTALL_LOG
    pip = [str(_python_in(path)), "-I", "-m", "pip", "install", "--no-input"]
    pip.append("--disable-pip-version-check")
    progress(f"Making a virtual environment in {path} with {interpreter} ...")
    _logged([str(interpreter), "-I", "-m", "venv", str(path)], log)
    progress("Installing Lava (460 MB on disk) ...")
    source = importlib.resources.files(__package__).joinpath("requirements.txt")
    with importlib.resources.as_file(source) as file:
        _logged([*pip, "--requirement", str(file)], log)
    _logged([*pip, "--no-deps", LAVA_DL], log)


def _logged(command: list[str], log: Path) -> None:
    """Run a command with its output appended to `log`; show the end of it if the command fails."""
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code != 0:
        raise LavaError(
            f"`python {' '.join(command[2:5])}` failed with exit code {code}: {tail(log)}",
            hint=f"The whole output is in {log}",
        )


def tail(log: Path, lines: int = 4) -> str:
    """The last lines of a log that say anything, joined by ` | `."""
    text = log.read_text("utf-8", errors="replace") if log.exists() else ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(said[-lines:]) or "no output"


def _read_marker(path: Path) -> dict[str, str] | None:
    """The versions in the marker file, or None if it is missing, unreadable or unfinished."""
    try:
        versions = json.loads((path / MARKER).read_text("utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return versions if isinstance(versions, dict) else None


def _write_marker(path: Path, versions: Mapping[str, str] | None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / (MARKER + ".tmp")
    temporary.write_text(json.dumps({"schema": 1, "versions": versions}), "utf-8")
    os.replace(temporary, path / MARKER)
