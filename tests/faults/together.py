"""Processes side by side: one cache of kernels, one folder of states, one tree of outputs.

    python -m tests.faults.together --processes 8 --seconds 120

Each process compiles, verifies, counts energy and writes a bundle, again and again, into the same
places, and reads back what lies there, whoever wrote it.  It begins with an empty cache of kernels,
so that all of them compile at once.  Every answer and every file must be one of those that a single
process gives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import neurodeploy as nd
from neurodeploy.archive import write_atomically
from neurodeploy.errors import FileError
from neurodeploy.program import Program
from tests.builders import spikes_for
from tests.exploration.test_explore import GRAPH

INPUTS = spikes_for(4, 40, 10, (6,))
TARGETS = ("loihi2", "cpu8", "spinnaker2")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def folder_digest(folder: Path) -> str:
    """Of all files of a folder, by their names; raises `OSError` where it is replaced meanwhile."""
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return digest(b"".join(str(name).encode() + (folder / name).read_bytes() for name in names))


def job(kind: str, target: str, place: Path) -> str:
    """Do one thing in shared places, and return a digest of what it gave."""
    path = place / f"{target}.ndp"
    if kind == "compile":
        return nd.compile(GRAPH, target=target, calibration=INPUTS).save(path)
    program = Program.load(path)
    if kind == "verify":
        found = nd.verify(program, INPUTS, vendor_samples=None, state=place / "state")
        return digest(json.dumps(found.to_dict()).encode())
    if kind == "energy":
        report = nd.energy(program, INPUTS, state=place / "state")
        return digest(json.dumps(report.to_dict()).encode())
    if kind == "bundle":
        return str(nd.bundle(program, place / "bundle"))
    return folder_digest(place / "bundle")


JOBS = (
    *(("compile", target) for target in TARGETS),
    *(("verify", target) for target in TARGETS),
    *(("energy", target) for target in TARGETS if target != "cpu8"),
    ("bundle", "spinnaker2"),
    ("read", "spinnaker2"),
)


def expected(place: Path) -> dict[str, str]:
    """What each job gives, done by one process alone."""
    return {f"{kind} {target}": job(kind, target, place) for kind, target in JOBS}


def child(place: Path, seconds: float, seed: int) -> None:
    """Jobs in random order until the time is up; says what was done, and what was wrong."""
    wanted = json.loads((place / "expected.json").read_text())
    job("compile", "loihi2", place)  # the kernels first, all processes at once
    rng, deadline = random.Random(seed), time.monotonic() + seconds
    done: Counter[str] = Counter()
    wrong: list[str] = []
    while time.monotonic() < deadline:
        kind, target = rng.choice(JOBS)
        name = f"{kind} {target}"
        try:
            found = job(kind, target, place)
        except FileNotFoundError:
            if kind != "read":
                raise
            continue  # the bundle was replaced while it was read
        except FileError as error:
            wrong.append(f"{name}: {error}")
            continue
        done[name] += 1
        if found != wanted[name] and kind != "read":
            wrong.append(f"{name}: {found}")
        elif found != wanted[name]:
            done["read, replaced meanwhile"] += 1
    sys.stdout.write(json.dumps({"done": done, "wrong": wrong}))


def run(
    processes: int, seconds: float, folder: Path, seed: int, cache: Path | None
) -> dict[str, Any]:
    """What came of so many processes, and of the files that they left.

    `cache`: a folder for kernels instead of the usual one.
    """
    alone, shared = folder / "alone", folder / "shared"
    alone.mkdir()
    shared.mkdir()
    wanted = expected(alone)
    for target in TARGETS:
        shutil.copy(alone / f"{target}.ndp", shared)
    shutil.copytree(alone / "bundle", shared / "bundle")
    (shared / "expected.json").write_text(json.dumps(wanted))
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    command = [sys.executable, "-m", "tests.faults.together", "--child", str(shared)]
    running = [
        subprocess.Popen(
            [*command, "--seconds", str(seconds), "--seed", str(seed + number)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    done: Counter[str] = Counter()
    wrong: list[str] = []
    for process in running:
        said, complaint = process.communicate()
        if process.returncode:
            wrong.append(complaint.strip().splitlines()[-1])
            continue
        answer = json.loads(said)
        done.update(answer["done"])
        wrong += answer["wrong"]
    left = [p.name for p in shared.iterdir() if p.name.startswith(".")]
    after = expected(shared)
    wrong += [f"afterwards {name}" for name in wanted if after[name] != wanted[name]]
    return {
        "processes": processes,
        "seconds": seconds,
        "done": dict(sorted(done.items())),
        "wrong": wrong,
        "left behind": left,
    }


def sentence(found: Mapping[str, Any]) -> str:
    """As the documentation says it."""
    jobs = ", ".join(f"{name} {count}" for name, count in found["done"].items())
    return (
        f"{found['processes']} processes in {found['seconds']:.0f} s: "
        f"{sum(found['done'].values()):,} jobs ({jobs}), {len(found['wrong'])} wrong, "
        f"{len(found['left behind'])} files left behind."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds, options.seed)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        found = run(options.processes, options.seconds, Path(folder), options.seed, cache)
        found["kernels in the cache"] = len(list(cache.rglob("*.nbc")))
    text = json.dumps(found, indent=1) + "\n"
    if options.json:
        write_atomically(options.json, text.encode())
    sys.stdout.write(text)
    return 1 if found["wrong"] or found["left behind"] else 0


if __name__ == "__main__":
    sys.exit(main())
