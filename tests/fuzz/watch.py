"""Reads damaged inputs in watched processes and counts what came of it."""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurodeploy.errors import NeurodeployError
from tests.fuzz.formats import Format

SECONDS = 5
"""Of processor time for one input, after which its process is ended."""
MEMORY = 1 << 30
"""Bytes of address space beyond what a process has when it starts."""
IDLE = 120
"""Seconds of waiting without an answer, after which a process is ended that does not compute."""
BATCH = 1000
"""Inputs of a process; a new one starts for the next."""
GOOD = ("success", "refused")


@dataclass
class Found:
    """What came of the inputs of a format; `failures` are (number of the input, kind, text)."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    slowest: float = 0.0
    most_bytes: int = 0
    seconds: float = 0.0


def made(kind: Format, seed: int, number: int) -> tuple[bytes, random.Random]:
    """Input `number`, and the draws that go on with it."""
    draws = random.Random(f"{seed}/{kind.name}/{number}")
    return kind.mutate(draws), draws


def sweep(kind: Format, seed: int, numbers: range, folder: Path, jobs: int = 1) -> Found:
    """Read the inputs `numbers` of a format, in `jobs` processes at a time."""
    found, started = Found(), time.monotonic()
    waiting = [numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH)]
    running: dict[int, _Worker] = {}
    looked = started
    while waiting or running:
        while waiting and len(running) < jobs:
            worker = _Worker(kind, seed, waiting.pop(0), folder)
            running[worker.pipe] = worker
        ready, _, _ = select.select(list(running), [], [], 1.0)
        passed, looked = min(time.monotonic() - looked, 2.0), time.monotonic()  # without sleep
        for pipe, worker in list(running.items()):
            if pipe in ready:
                if worker.read(found):
                    continue
            elif not worker.idle(passed):
                continue
            del running[pipe]
            rest = worker.finish(found)
            if rest:
                waiting.insert(0, rest)
    found.seconds = time.monotonic() - started
    return found


class _Worker:
    """A process that reads some inputs one after another and says what came of each."""

    def __init__(self, kind: Format, seed: int, numbers: range, folder: Path) -> None:
        self.numbers, self.done, self.quiet = numbers, 0, 0.0
        self.buffer = b""
        self.pipe, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self.pipe)
                _work(kind, seed, numbers, folder / str(os.getpid()), writing)
            finally:  # whatever happens, nothing of the parent's is done twice
                os._exit(0)
        os.close(writing)

    def read(self, found: Found) -> bool:
        """Take over what it said; whether there may be more."""
        data = os.read(self.pipe, 1 << 16)
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            result, text, seconds, size = json.loads(line)
            found.counts[result] += 1
            found.slowest = max(found.slowest, seconds)
            found.most_bytes = max(found.most_bytes, size)
            if result not in GOOD:
                found.failures.append((self.numbers[self.done], result, text))
            self.done += 1
        self.quiet = 0.0
        return bool(data)

    def idle(self, passed: float) -> bool:
        """Whether it has said nothing for too long, `passed` seconds more; then it is ended."""
        self.quiet += passed
        if self.quiet < IDLE:
            return False
        os.kill(self.pid, signal.SIGKILL)
        return True

    def finish(self, found: Found) -> range:
        """Count the input that ended the process, if one did; the inputs that are left."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pipe)
        if self.done == len(self.numbers):
            return range(0)
        ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit"
        result = "hang" if ended in ("SIGPROF", "SIGKILL") else "crash"
        found.counts[result] += 1
        found.failures.append((self.numbers[self.done], result, ended))
        return self.numbers[self.done + 1 :]


def _work(kind: Format, seed: int, numbers: range, folder: Path, pipe: int) -> None:
    """Read all inputs of a process; the work of a child."""
    folder.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    os.chdir(folder)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    path = folder / f"input{kind.suffix}"
    for number in numbers:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        content, draws = made(kind, seed, number)
        path.write_bytes(content)
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
        before = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        result, text = _outcome(kind, path, draws)
        signal.setitimer(signal.ITIMER_PROF, 0)
        left = sorted(str(item.relative_to(folder)) for item in folder.rglob("*") if item != path)
        if left:
            result, text = "left behind", ", ".join(left)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        line = json.dumps([result, text[-2000:], time.process_time() - before, most])
        os.write(pipe, line.encode() + b"\n")
        for item in left:  # folders before what is in them, which goes with them
            shutil.rmtree(folder / item, ignore_errors=True)
            (folder / item).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    folder.rmdir()


def _outcome(kind: Format, path: Path, draws: random.Random) -> tuple[str, str]:
    try:
        kind.read(path, draws)
    except NeurodeployError as error:
        if "\n" in str(error):
            return "traceback", f"more than one line: {error}"
        hidden = any(map(_of_memory, _causes(error)))
        return ("memory", str(error)) if hidden else ("refused", str(error)[:200])
    except MemoryError:
        return "memory", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    return "success", ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_memory(error: BaseException) -> bool:
    """Whether memory was not enough; Python's parser says so of text that is nested too deep."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, MemoryError) and not (frames and frames[-1].name == "parse")


def described(kind: Format, seed: int, number: int, folder: Path) -> dict[str, Any]:
    """Make one input again, in this process, and say what comes of it."""
    content, draws = made(kind, seed, number)
    path = folder / f"{kind.name}-{seed}-{number}{kind.suffix}"
    path.write_bytes(content)
    result, text = _outcome(kind, path, draws)
    sys.stdout.flush()
    return {"file": str(path), "result": result, "text": text}
