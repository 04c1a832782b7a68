"""Finding an interpreter of a Python that Lava can be installed into."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from neurodeploy.errors import LavaError

REFERENCE = "3.10"  # the only one that lava-nc 0.10.0 declares
PYTHONS = (REFERENCE, "3.11", "3.12", "3.13")  # the first that is found is taken
SUPPORTED = f"{PYTHONS[0]} to {PYTHONS[-1]}"
_PROBE = "import json, sys; print(json.dumps([list(sys.version_info[:3]), sys.executable]))"
_PROBE_SECONDS = 30.0


def find_python(option: str | None) -> tuple[Path, str]:
    """Find an interpreter for Lava; its path and version, such as "3.10".

    Looked at in this order: `option`, `$NEURODEPLOY_LAVA_PYTHON`, then for 3.10, 3.11, 3.12 and
    3.13 in turn `python3.X` on PATH, pyenv's versions, uv's, and the running interpreter.  A
    candidate counts only if it runs and says that it is what it was looked for as; the first two
    are what somebody asked for, so there anything unsupported is an error.

    Raises
    ------
    LavaError
        An explicitly given interpreter is none of these, or there is none at all.
    """
    for given, origin in (
        (option, "--python"),
        (os.environ.get("NEURODEPLOY_LAVA_PYTHON"), "NEURODEPLOY_LAVA_PYTHON"),
    ):
        if given:
            return _explicit_python(given, origin)
    tried: dict[str, None] = {}
    for wanted in PYTHONS:
        for origin, candidate in _candidates(wanted):
            if candidate is None:
                tried[f"{origin}: none"] = None
                continue
            found, version = _probe(candidate)
            if found is not None and version.startswith(f"{wanted}."):
                return found, wanted
            tried[f"{origin}: {candidate} is {_describe(version)}"] = None
    raise LavaError(
        f"Lava needs Python {SUPPORTED} and none was found (tried {'; '.join(tried)})",
        hint="Install Python 3.10 from your system's packages, or run `pyenv install 3.10` or "
        "`uv python install 3.10`, then `neurodeploy lava install --python PATH`",
    )


def _explicit_python(given: str, origin: str) -> tuple[Path, str]:
    """The interpreter that somebody named by a path or a command, which must be a supported one."""
    found, version = _probe(Path(shutil.which(given) or given).expanduser())
    minor = version.rpartition(".")[0]
    if found is None or minor not in PYTHONS:
        raise LavaError(
            f"{given}, given by {origin}, is {_describe(version)}; Lava needs Python {SUPPORTED}",
            hint=f"Give the path of a Python {REFERENCE}, or leave {origin} out to have one looked "
            "for",
        )
    return found, minor


def _candidates(version: str) -> Iterator[tuple[str, Path | None]]:
    """Every place to look at for a Python, in order, with the interpreter there or None."""
    on_path = shutil.which(f"python{version}")
    yield "PATH", Path(on_path) if on_path else None
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pyenv: list[Path | None] = [*sorted(root.glob(f"versions/{version}.*/bin/python"))]
    for candidate in pyenv or [None]:
        yield f"pyenv in {root}", candidate
    yield "uv", _uv_python(version)
    yield "the running interpreter", Path(sys.executable)


def _uv_python(version: str) -> Path | None:
    uv = shutil.which("uv")
    if uv is None:
        return None
    answer = _output([uv, "python", "find", version]).strip()
    return Path(answer.splitlines()[-1]) if answer else None


def _probe(candidate: Path) -> tuple[Path | None, str]:
    """Run an interpreter and ask for its own path and version; (None, "") if it does not answer.

    A path alone proves nothing: a pyenv shim exists for versions that are not active.
    """
    try:
        version, executable = json.loads(_output([str(candidate), "-I", "-c", _PROBE]))
        return Path(executable), ".".join(str(int(part)) for part in version)
    except (ValueError, TypeError):
        return None, ""


def _output(command: list[str]) -> str:
    """What a command prints, or nothing if it fails, hangs or does not exist."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout


def _describe(version: str) -> str:
    return f"Python {version}" if version else "not a working interpreter"
