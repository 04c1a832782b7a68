"""Some thousand damaged files of every format, each in success or an error of ours; and the watch.

docs/robustness.md shows what came of many more: `python -m tests.fuzz --count 100000`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.formats import FORMATS
from tests.pages_of_docs import FOLDER, check, row

ROOT = Path(__file__).resolve().parent.parent.parent
COUNT = 2000

WATCHED = """
import json, os, signal, sys, tempfile
from pathlib import Path
from neurodeploy.errors import FileError
from tests.fuzz import watch
from tests.fuzz.formats import Format

watch.SECONDS = 1

def read(path, draws):
    what = path.read_bytes()
    if what == b"hang":
        while True:
            pass
    if what == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == b"memory":
        bytearray(2 << 30)
    if what == b"hidden":
        try:
            bytearray(2 << 30)
        except MemoryError as error:
            raise FileError("too large") from error
    if what == b"traceback":
        raise KeyError("x")
    if what == b"left":
        Path("left").touch()
    if what == b"refused":
        raise FileError("no")

WORDS = [b"fine", b"hang", b"refused", b"crash", b"memory", b"hidden", b"traceback", b"left",
         b"fine"]
watch.made = lambda kind, seed, number: (WORDS[number], None)
kind = Format("words", ".txt", None, read)
with tempfile.TemporaryDirectory() as folder:
    found = watch.sweep(kind, 0, range(len(WORDS)), Path(folder))
print(json.dumps([found.counts, [failure[:2] for failure in found.failures]]))
"""

BESIDE = """
import json, tempfile, time
from pathlib import Path
from tests.fuzz import watch
from tests.fuzz.formats import Format

def read(path, draws):
    time.sleep(2.0 if path.read_bytes() == b"long" else 0.001)

watch.made = lambda kind, seed, number: (b"short" if number else b"long", None)
with tempfile.TemporaryDirectory() as folder:
    found = watch.sweep(Format("words", ".txt", None, read), 0, range(3000), Path(folder), jobs=2)
print(json.dumps(found.counts))
"""


def run(*arguments: str) -> str:
    """What a Python process prints; its messages where it failed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_watch_sees_whatever_goes_wrong() -> None:
    counts, failures = json.loads(run("-c", WATCHED))
    assert counts == {
        "success": 2, "refused": 1, "hang": 1, "crash": 1, "memory": 2, "traceback": 1,
        "left behind": 1,
    }  # fmt: skip
    assert [number for number, _ in failures] == [1, 3, 4, 5, 6, 7]


def test_who_takes_long_is_not_ended_because_others_are_quick() -> None:
    assert json.loads(run("-c", BESIDE)) == {"success": 3000}


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.json"
    run("-m", "tests.fuzz", "--count", str(COUNT), "--json", str(path))
    rows = json.loads(path.read_text("utf-8"))["rows"]
    assert set(rows) == set(FORMATS)
    for found in rows.values():
        assert found["inputs"] == COUNT == found["success"] + found["refused"]
        assert found["success"] > 0
        assert found["refused"] > 0


READ = {
    "nir": "NIR graphs (`.nir`)",
    "net": "lava-dl's networks (`.net`)",
    "ndp": "programs (`.ndp`)",
    "npz": "arrays (`.npy`, `.npz`)",
    "pt": "torch files (`.pt`)",
    "toml": "chip files and number formats (TOML)",
    "json": "reports, states of a search, answers of Lava's worker (JSON)",
    "events": "recorded events: N-MNIST (`.bin`), DVS Gesture (`.npy`), SHD (`.h5`)",
}


def table(found: Mapping[str, Any]) -> str:
    """The rows of the recorded run."""
    head = ("format", "inputs", "read", "refused", "anything else", "slowest", "most memory")
    lines = [row(*head), row("---", *["---:"] * (len(head) - 1))]
    for name, one in found["rows"].items():
        lines.append(
            row(
                READ[name],
                *(f"{one[key]:,}" for key in ("inputs", "success", "refused", "anything else")),
                f"{one['slowest in s']:.2f} s",
                f"{one['most memory in MiB']} MiB",
            )
        )
    return "\n".join(lines)


@pytest.fixture
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "measured" / "fuzz.json").read_text("utf-8"))
    return found


def test_the_page_shows_the_recorded_run(recorded: dict[str, Any]) -> None:
    check("robustness.md", "fuzzing", table(recorded))


def test_nothing_but_success_and_refusal_was_recorded(recorded: dict[str, Any]) -> None:
    assert set(recorded["rows"]) == set(FORMATS)
    for one in recorded["rows"].values():
        assert one["anything else"] == 0
        assert one["inputs"] == one["success"] + one["refused"]
