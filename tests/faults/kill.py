"""SIGKILL at random moments: what goes on afterwards must end as if nothing had happened.

    python -m tests.faults.kill --count 42 --seed 1 --json docs/measured/kills.json

kills the main process of `verify`, `energy`, `explore`, `train` and `finetune`, a Dask worker and a
process of Lava.  The same command then runs again, until it ends, and its result is compared with
that of an undisturbed run, byte by byte: the JSON that it prints, or the trained parameters.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np

import neurodeploy as nd
from neurodeploy.archive import write_atomically
from tests.builders import SUBTRACT, chain, lif

CLI = (sys.executable, "-m", "neurodeploy")
TRAIN = (
    sys.executable,
    "-c",
    "import argparse, sys; from neurodeploy.cli.output import Output; "
    "from neurodeploy.models.train_command import command; "
    "p = argparse.ArgumentParser(); command.arguments(p); "
    "sys.exit(command.run(p.parse_args(), Output(as_json=True)))",
)
WORKS = ("verify", "energy", "explore", "train", "finetune", "cluster", "lava")
LIMIT = 600.0
"""Seconds that a run may take."""


@dataclass(frozen=True)
class Work:
    """A command that can go on, and what it results in; `{state}` is where it keeps its state."""

    command: tuple[str, ...]
    result: Callable[[str, Path], str] = lambda said, state: said


@dataclass(frozen=True)
class Row:
    """What came of the kills of one kind of process.

    Attributes
    ----------
    kills: processes that were ended while they worked.
    equal: resumed runs with the result of the undisturbed one, of `runs`.
    kept: results that were there when a run went on, summed over these.
    """

    work: str
    killed: str
    kills: int
    runs: int
    equal: int
    kept: int


def works(folder: Path) -> dict[str, Work]:
    """The commands, on a small network of three layers."""
    rng = np.random.default_rng(7)
    graph = chain(
        (40,),
        fc1=nir.Linear(rng.normal(0.1, 0.3, (120, 40))),
        lif1=lif(np.full(120, 0.8), semantics=SUBTRACT),
        fc2=nir.Linear(rng.normal(0.0, 0.2, (60, 120))),
        lif2=lif(np.full(60, 0.9), semantics=SUBTRACT),
        fc3=nir.Linear(rng.normal(0.0, 0.3, (10, 60))),
        lif3=lif(np.full(10, 0.9), semantics=SUBTRACT),
    )
    inputs = (rng.random((3072, 20, 40)) < 0.2).astype(np.uint8)
    np.save(folder / "x.npy", inputs)
    np.save(folder / "many.npy", np.concatenate([inputs, inputs[::-1]] * 2))
    np.save(folder / "few.npy", inputs[:200])
    np.save(folder / "labels.npy", np.arange(200) % 10)
    nir.write(str(folder / "model.nir"), graph)
    nd.compile(graph, target="loihi2", calibration=inputs[:64]).save(folder / "model.ndp")

    def neurodeploy(command: str, inputs: str, *options: str) -> Work:
        files = (str(folder / command.split()[1]), "--inputs", str(folder / inputs))
        return Work((*CLI, command.split()[0], *files, "--json", *options))

    state = ("--state", "{state}")
    samples = ["--train-samples", "120", "--test-samples", "22", "--epochs", "6"]
    train = ["baseline", "--data", "gestures", *samples]
    tune = ["--target", "loihi2", "--bits", "4", "--epochs", "8"]
    tune += ["--checkpoint", "{state}/tuning.pt", "-o", "{state}/tuned.ndp"]
    return {
        "verify": neurodeploy("verify model.ndp", "x.npy", "--no-vendor", *state),
        "energy": neurodeploy("energy model.ndp", "many.npy", *state),
        "explore": neurodeploy(
            "explore model.nir", "few.npy", "--target", "loihi2", "--budget", "16", *state
        ),
        "train": Work((*TRAIN, *train, "-o", "{state}"), trained),
        "finetune": replace(
            neurodeploy(
                "finetune model.nir", "few.npy", "--labels", str(folder / "labels.npy"), *tune
            ),
            result=tuned,
        ),
        "cluster": neurodeploy("verify model.ndp", "x.npy", "--no-vendor", *state),
        "lava": neurodeploy("verify model.ndp", "few.npy", "--vendor-samples", "6", *state),
    }


def trained(said: str, state: Path) -> str:
    """The trained parameters and the model card."""
    parts = [(state / name).read_bytes() for name in ("baseline.pt", "card.json")]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def tuned(said: str, state: Path) -> str:
    """The program that was fine-tuned."""
    return hashlib.sha256((state / "tuned.ndp").read_bytes()).hexdigest()


def start(work: Work, state: Path, *options: str) -> subprocess.Popen[str]:
    state.mkdir(exist_ok=True)
    command = [part.format(state=state) for part in work.command]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str], work: Work, state: Path) -> str:
    """The result of a run that ends by itself."""
    said, complaint = process.communicate(timeout=LIMIT)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"exit code {process.returncode}: {complaint}")
    return work.result(said, state)


def kept(state: Path) -> int:
    return len([p for p in state.glob("*") if not p.name.startswith(".")]) if state.exists() else 0


def kill_main(name: str, work: Work, kills: int, folder: Path, rng: random.Random) -> Row:
    """Kill the process itself, some times one run after another, and let it go on."""
    begun = time.monotonic()
    expected = ended(start(work, folder / "whole"), work, folder / "whole")
    seconds = time.monotonic() - begun
    done = runs = equal = found = 0
    while done < kills:
        state = folder / f"state-{runs}"
        for _ in range(min(rng.choice((1, 2, 3)), kills - done)):
            begun = time.monotonic()
            process = start(work, state)
            try:
                process.wait(rng.uniform(0.2, 1.0) * seconds)
                seconds = min(seconds, time.monotonic() - begun)  # the machine is quicker now
            except subprocess.TimeoutExpired:
                process.kill()
                done += 1
            process.communicate()
        found += kept(state)
        equal += ended(start(work, state), work, state) == expected
        runs += 1
    return Row(name, "the main process", done, runs, equal, found)


def kill_worker(work: Work, kills: int, folder: Path, rng: random.Random) -> Row:
    """Kill a worker of a cluster of two; the run goes on by itself."""
    from distributed import LocalCluster

    expected = ended(start(work, folder / "whole"), work, folder / "whole")
    done = equal = found = 0
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = ("--scheduler", cluster.scheduler_address)
        while done < kills:
            state = folder / f"state-{done}"
            process = start(work, state, *address)
            first = 1 + rng.randrange(8)
            while kept(state) < first and process.poll() is None:
                time.sleep(0.05)
            victim = rng.choice(list(cluster.workers.values())).pid
            if process.poll() is None and victim is not None:
                found += kept(state)
                os.kill(victim, signal.SIGKILL)
                done += 1
                equal += ended(process, work, state) == expected
            else:
                process.communicate()
                raise RuntimeError("the run was over before a worker could be killed")
    return Row("verify", "a Dask worker", done, done, equal, found)


def kill_lava(work: Work, kills: int, folder: Path, rng: random.Random) -> Row:
    """Kill Lava's worker, or one of the processes that it forked: `verify` says so, and goes on."""
    expected = ended(start(work, folder / "whole"), work, folder / "whole")
    attempts = done = equal = found = 0
    while done < kills:
        state = folder / f"state-{attempts}"
        process = start(work, state)
        attempts += 1
        while not descendants(process.pid) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(rng.uniform(0.0, 2.0))
        victims = descendants(process.pid)
        with contextlib.suppress(ProcessLookupError, IndexError):  # they had ended by themselves
            os.kill(rng.choice(victims), signal.SIGKILL)
        verdict = json.loads(process.communicate(timeout=LIMIT)[0])
        stage = next(s for s in verdict["stages"] if s["name"] == "vendor")
        if stage["status"] == "passed":  # a process that had done its part already
            continue
        if "killed" not in stage["text"] and "signal" not in stage["text"]:
            raise RuntimeError(f"the vendor's stage says {stage['text']!r}")
        done += 1
        found += kept(state)
        equal += ended(start(work, state), work, state) == expected
    return Row("verify", "a process of Lava", done, done, equal, found)


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that these did, but for resource trackers."""
    said = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in said.stdout.splitlines()]
    found: list[int] = []
    parents = {pid}
    while parents:
        children = [(int(p), args) for p, parent, args in rows if int(parent) in parents]
        found += [p for p, args in children if "worker" in args and "import main" not in args]
        parents = {p for p, _ in children}
    return found


def run(shares: Mapping[str, int], folder: Path, seed: int) -> Iterator[Row]:
    """Kill so many processes of each kind of work, in folders of their own."""
    every = works(folder)
    for name, kills in shares.items():
        own = folder / name
        own.mkdir()
        rng = random.Random(f"{seed}/{name}")
        if name == "cluster":
            yield kill_worker(every[name], kills, own, rng)
        elif name == "lava":
            yield kill_lava(every[name], kills, own, rng)
        else:
            yield kill_main(name, every[name], kills, own, rng)


def shares(count: int, only: Sequence[str]) -> dict[str, int]:
    """`count` kills, as evenly as can be."""
    each, rest = divmod(count, len(only))
    return {name: each + (index < rest) for index, name in enumerate(only)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """As the documentation shows it."""
    lines = [
        "| work | killed | kills | results equal to an undisturbed run | kept, when it went on |"
    ]
    lines.append("| --- | --- | --- | --- | --- |")
    lines += [
        f"| `{r['work']}` | {r['killed']} | {r['kills']} | {r['equal']} of {r['runs']} | "
        f"{r['kept']} |"
        for r in rows
    ]
    total, equal, runs = (sum(r[key] for r in rows) for key in ("kills", "equal", "runs"))
    return "\n".join([*lines, f"| all | | {total} | {equal} of {runs} | |"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=42)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--json", type=Path, help="file of which these rows become a part")
    options = parser.parse_args()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    if options.json and options.json.exists():
        known = json.loads(options.json.read_text("utf-8"))["rows"]
        found = {(row["work"], row["killed"]): row for row in known}
    with tempfile.TemporaryDirectory() as folder:
        for row in run(shares(options.count, options.only or WORKS), Path(folder), options.seed):
            found[row.work, row.killed] = {**vars(row), "seed": options.seed}
            sys.stderr.write(f"{row}\n")
            if options.json:
                text = json.dumps({"rows": list(found.values())}, indent=1)
                write_atomically(options.json, f"{text}\n".encode())
    sys.stdout.write(table(list(found.values())) + "\n")
    return 0 if all(row["equal"] == row["runs"] for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
