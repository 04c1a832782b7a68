"""Ctrl-C at any moment: one line, exit code 130, nothing half-written, no process left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.kill import LIMIT, descendants, works

MOMENTS = 6
ENDED = {(130, "interrupted\n"), (-signal.SIGINT, "interrupted\n")}
"""Where code that is a text was interrupted, Python ends by the signal: 130 to a shell, too."""
EARLY = (-signal.SIGINT, "")
"""Python had not begun with the package: on a busy machine that takes longer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("works")
    works(path)
    return path


def started(command: list[str]) -> subprocess.Popen[str]:
    """A command that hears SIGINT, even if these tests run in the background, where nobody does."""
    return subprocess.Popen(
        [sys.executable, "-m", "neurodeploy", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return bool(said) and not said.startswith("Z")


def interrupted(command: list[str], seconds: float) -> tuple[int, str, list[int]]:
    """Exit code and complaints of a command that got SIGINT after a while, and its processes."""
    process = started(command)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    its = descendants(process.pid)
    _, said = process.communicate(timeout=LIMIT)
    return process.returncode, said, its


def test_a_verification_ends_at_once(folder: Path, tmp_path: Path) -> None:
    """From the moment on at which Python runs the package's first line."""
    page, state = tmp_path / "page.html", tmp_path / "state"
    command = [
        "verify", str(folder / "model.ndp"), "--inputs", str(folder / "x.npy"), "--no-vendor",
        "--page", str(page), "--state", str(state),
    ]  # fmt: skip
    rng, ended = random.Random(3), 0
    for _ in range(MOMENTS):
        code, said, _ = interrupted(command, rng.uniform(0.3, 4.0))
        if code in (0, 1) or (code, said) == EARLY:
            continue
        ended += 1
        assert (code, said) in ENDED
        assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]
        assert not page.exists() or page.read_text("utf-8").rstrip().endswith("</html>")
    assert ended


def test_lava_is_ended_too(folder: Path, tmp_path: Path) -> None:
    command = [
        "verify", str(folder / "model.ndp"), "--inputs", str(folder / "few.npy"),
        "--vendor-samples", "200",
    ]  # fmt: skip
    process = started(command)
    its: list[int] = []
    while not its and process.poll() is None:
        time.sleep(0.1)
        its = descendants(process.pid)
    time.sleep(1.0)
    its = descendants(process.pid) or its
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT)
    assert (process.returncode, said) in ENDED
    assert its
    deadline = time.monotonic() + LIMIT
    while any(map(running, its)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(running, its))
