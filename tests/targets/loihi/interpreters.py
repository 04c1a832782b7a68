"""Stand-ins for interpreters."""

from __future__ import annotations

import json
from pathlib import Path


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: tuple[int, ...] | None) -> Path:
    """An interpreter that says which version it is, or, like an inactive shim, fails."""
    if version is None:
        return script(path, "exit 127\n")
    return script(path, f"echo '{json.dumps([version, str(path)])}'\n")
