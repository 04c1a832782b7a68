"""What goes wrong in real life, done to the real worker while it runs real Lava.

What a worker may answer wrongly, and what no machine can be made to do, is in
`test_lava_runner.py`, with stand-ins.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import LavaError
from neurodeploy.targets.loihi.lava import environment, runner
from neurodeploy.targets.loihi.lava.environment import LavaEnvironment
from neurodeploy.targets.loihi.lava.runner import LavaInput, LavaNetwork, LavaPopulation
from tests.targets.loihi.interpreters import script

ENDLESS = 10**8


def network(steps: int, size: int = 1, record: tuple[Any, ...] = ()) -> LavaNetwork:
    """Neurons that spike by their bias in every step."""
    values = {"du": 4095, "dv": 4096, "vth": 0, "bias_mant": 1, "bias_exp": 0, "u0": 0, "v0": 0}
    registers = {name: np.array([value]) for name, value in values.items()}
    neurons = LavaPopulation("out", (size,), registers, record=record)
    return LavaNetwork("network", steps, (), (neurons,), ())


@pytest.fixture(scope="module")
def lava() -> LavaEnvironment:
    return environment.locate()


@pytest.fixture
def started(lava: LavaEnvironment, tmp_path: Path) -> Callable[[str], LavaEnvironment]:
    """Make an interpreter that leaves its process id behind, obeys `before` and is Lava's."""

    def make(before: str = "") -> LavaEnvironment:
        text = f'echo $$ >"{tmp_path}/pid"\n{before}\nexec "{lava.python}" "$@"\n'
        return replace(lava, python=script(tmp_path / "python", text))

    return make


def error_of(
    environment: LavaEnvironment, network: LavaNetwork, timeout: float = 120.0, **options: Path
) -> str:
    with pytest.raises(LavaError) as caught:
        runner.run([network], environment=environment, timeout=timeout, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def processes() -> dict[int, int]:
    """Parent of each process that is not merely waiting to be buried."""
    said = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in said.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def children(worker: int) -> list[int]:
    return [pid for pid, parent in processes().items() if parent == worker]


@pytest.fixture
def midway(tmp_path: Path) -> Callable[[Callable[[int, list[int]], None]], threading.Thread]:
    """Does something once all of Lava's processes run; the thread's end is to be waited for."""

    def begin(act: Callable[[int, list[int]], None]) -> threading.Thread:
        def watch() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                time.sleep(0.2)
                if not (tmp_path / "pid").exists():
                    continue
                worker = int((tmp_path / "pid").read_text())
                its = children(worker)
                if len(its) >= 4:  # tracker, memory manager, runtime service, neurons
                    act(worker, its)
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        return thread

    return begin


def test_an_interpreter_without_lava() -> None:
    said = error_of(LavaEnvironment(Path(sys.executable), {}), network(1))
    assert "ended with exit code 1 and left no result" in said
    assert "No module named 'lava'" in said


def test_an_environment_that_was_changed_by_hand(lava: LavaEnvironment) -> None:
    other = replace(lava, versions={**lava.versions, "numpy": "1.0.0"})
    said = error_of(other, network(3))
    assert f"numpy {lava.versions['numpy']} instead of 1.0.0" in said
    assert said.endswith(environment.INSTALL_HINT)


def test_lava_that_does_not_end(started: Callable[[str], LavaEnvironment], tmp_path: Path) -> None:
    said = error_of(started(""), network(ENDLESS), timeout=6)
    assert "did not finish within the time limit of 6 s" in said
    # The worker leads the group of all that it forked.
    command = ["ps", "-A", "-o", "pgid=,stat="]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    groups = {int(group) for group, state in map(str.split, shown.splitlines()) if state[0] != "Z"}
    assert int((tmp_path / "pid").read_text()) not in groups
    assert os.getpgid(0) in groups


def test_a_worker_that_is_killed(
    started: Callable[[str], LavaEnvironment],
    midway: Callable[[Callable[[int, list[int]], None]], threading.Thread],
) -> None:
    seen: list[int] = []

    def kill(worker: int, its: list[int]) -> None:
        seen.extend(its)
        os.kill(worker, signal.SIGKILL)

    watcher = midway(kill)
    assert "ended with signal 9 and left no result" in error_of(started(""), network(ENDLESS))
    watcher.join()
    assert seen
    assert not set(seen) & set(processes())


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ('{"schema": 1, "status": "ok"}', -9, "ended with signal 9 after it left a result"),
        ('{"schema": 1, "status": "ok"}', 3, "ended with exit code 3 after it left a result"),
        ('{"schema": 1, "sta', -9, "answered garbage: result.json, signal 9"),
        ('{"schema": 2, "status": "ok"}', 0, "answered garbage: result.json, exit code 0"),
    ],
)
def test_a_worker_that_ends_late(answer: str, code: int, text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(answer)
    (tmp_path / "log").write_text("the last line\n")
    with pytest.raises(LavaError, match=text) as caught:
        runner._read_answer([], tmp_path, code)
    assert "the last line" in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="Python has no waitid on this system")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_of_lava_that_is_killed(
    started: Callable[[str], LavaEnvironment],
    midway: Callable[[Callable[[int, list[int]], None]], threading.Thread],
    number: signal.Signals,
) -> None:
    """As the system does when memory runs out; Lava alone would wait for it for ever."""
    watcher = midway(lambda worker, its: os.kill(its[-1], number))
    said = error_of(started(""), network(ENDLESS))
    watcher.join()
    assert f"a process of Lava was killed by signal {int(number)}" in said


def test_memory_that_does_not_suffice(started: Callable[[str], LavaEnvironment]) -> None:
    said = error_of(started("ulimit -v 6000000"), network(2 * 10**9, record=("v",)))
    assert "Unable to allocate 7.45 GiB" in said


def test_a_disk_that_is_full_for_the_worker(started: Callable[[str], LavaEnvironment]) -> None:
    said = error_of(started("ulimit -f 100"), network(30, 1000, ("v",)))
    assert "signal 15" in said
    assert "File too large" in said or "requested and" in said


def test_a_disk_that_is_full_for_the_job(lava: LavaEnvironment) -> None:
    source = LavaInput("in", (1,), np.zeros((10**5, 1), np.int64))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        said = error_of(lava, replace(network(10**5), inputs=(source,)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot exchange files with the Lava worker" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_full_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bare = LavaEnvironment(Path(sys.executable), {})
    assert "No module named 'lava'" in error_of(bare, network(1), log=Path("/dev/full"))
    assert "cannot keep the worker's log in /dev/full" in caplog.text
    assert "No space left on device" in caplog.text
