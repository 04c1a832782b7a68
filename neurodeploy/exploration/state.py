"""The file of candidates that were evaluated, with which a search goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from neurodeploy.archive import write_atomically
from neurodeploy.choices import Settings
from neurodeploy.errors import FileError
from neurodeploy.exploration.candidate import Candidate

FORMAT = "neurodeploy-exploration-1"
MAX_BYTES = 64 << 20


class State:
    """What is known about candidates: in memory and, with a path, in a file that is whole always.

    Parameters
    ----------
    digest: of everything that a candidate's figures depend on.

    Raises
    ------
    FileError
        The file is of something else, or malformed.
    """

    def __init__(self, path: Path | None, digest: str) -> None:
        self._path, self._digest = path, digest
        self._known: dict[str, Candidate] = {}
        if path is not None and path.exists():
            self._known = _read(path, digest)

    def get(self, settings: Settings) -> Candidate | None:
        """The candidate with these settings, if it was evaluated."""
        return self._known.get(_key(settings))

    def put(self, candidate: Candidate) -> None:
        """Keep a candidate."""
        self._known[_key(candidate.settings)] = candidate
        if self._path is not None:
            tree = {
                "format": FORMAT,
                "digest": self._digest,
                "candidates": [candidate.to_dict() for candidate in self._known.values()],
            }
            write_atomically(self._path, json.dumps(tree, allow_nan=False, indent=1).encode())


def _read(path: Path, digest: str) -> dict[str, Candidate]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(f"larger than {MAX_BYTES} bytes", node=str(path))
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"no state of a search ({error})", node=str(path)) from error
    if not isinstance(tree, Mapping) or tree.get("format") != FORMAT:
        raise FileError("no state of a search", node=str(path))
    if tree.get("digest") != digest:
        raise FileError(
            "it is of another model, target, data or version",
            node=str(path),
            hint="Name another state file, or delete this one.",
        )
    try:
        found = [Candidate.from_dict(data) for data in tree["candidates"]]
    except (FileError, KeyError, TypeError) as error:
        raise FileError(f"malformed: {error}", node=str(path)) from error
    return {_key(candidate.settings): candidate for candidate in found}


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=dict)
