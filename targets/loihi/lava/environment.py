"""The private environment in which Lava runs: build it and locate it.

Lava (lava-nc 0.10.0) declares `python >=3.10,<3.11` and `numpy <2`, so it cannot share an
environment with this library on newer Pythons.  Python 3.10 with the untouched packages is the
reference.  Where there is none, the same packages are installed into 3.11, 3.12 or 3.13 without
asking them, and the worker is started through `shim.py`.
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
from neurodeploy.targets.loihi.lava.interpreters import (
    PYTHONS,
    REFERENCE,
    SUPPORTED,
    find_python,
)

MARKER = ".neurodeploy-lava.json"
INSTALL_LOG = "install.log"
INSTALL_HINT = "Run `neurodeploy lava install`"
# Pins other than those of requirements.txt: numpy 1.26 has no wheels for Python 3.13.
OTHER_PINS = {"3.13": {"numpy": "2.2.6"}}


@dataclass(frozen=True)
class LavaEnvironment:
    """An interpreter that can import Lava.

    `python` is its executable; `versions` maps distribution names to the versions it holds, and
    `python` to the Python's, such as "3.10".
    """

    python: Path
    versions: Mapping[str, str]

    @property
    def shimmed(self) -> bool:
        """Whether Lava needs `shim.py` here: any Python but the reference."""
        return self.versions.get("python", REFERENCE) != REFERENCE

    @property
    def title(self) -> str:
        """What a report says of it."""
        lava = f"lava-nc {self.versions['lava-nc']}"
        if not self.shimmed:
            return lava
        return f"{lava} on Python {self.versions['python']} with neurodeploy's shim"


def requirements(python: str = REFERENCE) -> dict[str, str]:
    """What an environment on that Python holds: every distribution's pinned version, and `python`.

    The shim is proven for exactly these versions, by the same tests as the reference.
    """
    text = importlib.resources.files(__package__).joinpath("requirements.txt").read_text("utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    held = dict(pin.split("==") for pin in pins) | OTHER_PINS.get(python, {})
    return {"python": python if python in PYTHONS else SUPPORTED, **held}


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


def install(python: str | None, progress: Callable[[str], None]) -> LavaEnvironment:
    """Build the environment at `environment_path()`, or return the complete one that is there.

    A virtual environment cannot be moved, so it is built in place; a marker file says from the
    start whose folder it is and names the versions only at the very end, so an interrupted
    installation is recognised and done again.  A file lock keeps two installers apart.  One that
    needs the shim gives way to Python 3.10 as soon as there is one.

    Parameters
    ----------
    python:
        An interpreter of Python 3.10 to 3.13, or None to look for one (see `find_python`).
    progress:
        Called with one line of text per stage.

    Raises
    ------
    LavaError
        No suitable Python, the folder holds something else, or pip failed.
    """
    _require_posix()
    path = environment_path()
    try:
        with _lock(path, progress):
            if _is_final(path, python):
                progress(f"The Lava environment in {path} is complete.")
            else:
                interpreter, version = find_python(python)
                _clear(path)
                _write_marker(path, None)
                _build(path, interpreter, version, progress)
                _write_marker(path, requirements(version))
                progress(f"The Lava environment in {path} is ready.")
    except OSError as error:
        raise LavaError(f"cannot install Lava into {path}: {error}") from error
    return _at(path)


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
    return _at(environment_path())


def describe_difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Say which versions of `expected` are not the ones in `found`; empty if all agree."""
    return ", ".join(
        f"{name} {found.get(name, 'missing')} instead of {version}"
        for name, version in expected.items()
        if found.get(name) != version
    )


def _python_in(path: Path) -> Path:
    return path / "bin" / "python"


def _at(path: Path) -> LavaEnvironment:
    """The complete environment in `path`; raises `LavaError` with what keeps it from being used."""
    versions = _read_marker(path) or {}
    problem = _problem(path, versions)
    if problem is not None:
        raise LavaError(problem, hint=INSTALL_HINT)
    return LavaEnvironment(_python_in(path), versions)


def _problem(path: Path, versions: Mapping[str, str]) -> str | None:
    if not (path / MARKER).exists():
        return f"there is no Lava environment in {path}"
    if not versions:
        return f"the installation of the Lava environment in {path} was interrupted"
    if not _python_in(path).exists():
        return f"the Python of the Lava environment in {path} is gone"
    difference = describe_difference(versions, requirements(versions["python"]))
    if difference:
        return f"the Lava environment in {path} is of another version: {difference}"
    return None


def _is_final(path: Path, option: str | None) -> bool:
    """Whether the environment in `path` is complete and none that is wanted more can be built.

    Wanted more is the Python that somebody asks for now, or else the reference.
    """
    try:
        held = _at(path).versions["python"]
    except LavaError:
        return False
    if option is None and held == REFERENCE:
        return True
    try:
        _, version = find_python(option)
    except LavaError:
        if option is not None:
            raise
        return True
    return version == held or (option is None and version != REFERENCE)


def _running_interpreter() -> LavaEnvironment | None:
    """The running interpreter, if it holds the pinned version of Lava.

    What else Lava imports is its own affair on Python 3.10, where pip has seen to it; the shim is
    proven for the pinned versions only.
    """
    try:
        if importlib.util.find_spec("lava.proc") is None:
            return None
    except ModuleNotFoundError:
        return None
    python = ".".join(map(str, sys.version_info[:2]))
    pins = requirements(python)
    versions = {"python": python}
    for name in pins.keys() - versions.keys():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    needed = {"lava-nc": pins["lava-nc"]} if python == REFERENCE else pins
    if describe_difference(versions, needed):
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


def _build(path: Path, interpreter: Path, version: str, progress: Callable[[str], None]) -> None:
    """Make the virtual environment and fill it; -I keeps PYTHONPATH out of it.

    Nothing but the pins is installed: lava-dl asks for torch 2.3, several gigabytes that nothing
    here needs, and Lava's bounds on Python and numpy are what the shim is for.
    """
    log = path / INSTALL_LOG
    pip = [str(_python_in(path)), "-I", "-m", "pip", "install", "--no-input"]
    pip += ["--disable-pip-version-check", "--no-deps"]
    if version != REFERENCE:
        pip.append("--ignore-requires-python")
    progress(f"Making a virtual environment in {path} with {interpreter} ...")
    if version != REFERENCE:
        progress(
            f"Lava will run on Python {version} with neurodeploy's shim; {REFERENCE} needs none."
        )
    _logged([str(interpreter), "-I", "-m", "venv", str(path)], log)
    progress("Installing Lava (460 MB on disk) ...")
    pins = [f"{name}=={pin}" for name, pin in requirements(version).items() if name != "python"]
    _logged([*pip, *pins], log)


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
    """The versions in the marker file, or None if it is missing, unreadable or unfinished.

    Markers that name no Python are from a time when there was only the reference.
    """
    try:
        versions = json.loads((path / MARKER).read_text("utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"python": REFERENCE, **versions} if isinstance(versions, dict) else None


def _write_marker(path: Path, versions: Mapping[str, str] | None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / (MARKER + ".tmp")
    temporary.write_text(json.dumps({"schema": 1, "versions": versions}), "utf-8")
    os.replace(temporary, path / MARKER)
