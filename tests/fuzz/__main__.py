"""Fuzzing: `python -m tests.fuzz --format nir --count 100000 --seed 0`.

Valid files of every format that is read from outside are damaged at random, each in a way that its
number and the seed decide, and read in a process with limits on time and memory.  Exit code 1 if
any of them ended in something else than success or an error of ours.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.fuzz.formats import FORMATS
from tests.fuzz.watch import GOOD, Found, described, sweep


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--format", action="append", choices=sorted(FORMATS), help="default: all")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, help="make this input again and say what comes of it")
    parser.add_argument("--json", type=Path, help="file that gets the counts of these formats")
    options = parser.parse_args(argv)
    numbers = range(options.start, options.start + options.count)
    rows: dict[str, dict[str, Any]] = {}
    good = True
    with tempfile.TemporaryDirectory(prefix="neurodeploy-fuzz-") as scratch:
        for name in options.format or sorted(FORMATS):
            kind = FORMATS[name]()
            if options.only is not None:
                found = described(kind, options.seed, options.only, Path.cwd())
                _say(f"{found['file']}: {found['result']}\n{found['text']}")
                continue
            result = sweep(kind, options.seed, numbers, Path(scratch), options.jobs)
            rows[name] = _row(result, options.seed)
            good &= not result.failures
            _say(f"{name}: {_said(result)}")
            for number, failure, text in result.failures[:20]:
                _say(f"  --format {name} --seed {options.seed} --only {number}: {failure}: {text}")
    if options.json is not None:
        _record(options.json, rows)
    return 0 if good else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _said(found: Found) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in sorted(found.counts.items()))
    return (
        f"{counts}; slowest {found.slowest:.2f} s, at most {found.most_bytes >> 20} MiB; "
        f"{found.seconds:.0f} s in all"
    )


def _row(found: Found, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "inputs": found.counts.total(),
        **{name: found.counts[name] for name in GOOD},
        "anything else": len(found.failures),
        "slowest in s": round(found.slowest, 3),
        "most memory in MiB": found.most_bytes >> 20,
    }


def _record(path: Path, rows: Mapping[str, Any]) -> None:
    """Put the rows of these formats in the place of those in a file."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {"rows": {}}
    known["rows"] = dict(sorted({**known["rows"], **rows}.items()))
    known["versions"] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
