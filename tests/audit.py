"""Known vulnerabilities of what continuous integration installs: `python -m tests.audit`.

pip-audit asks a service about every version in constraints.txt.  It exits with 0, "No known
vulnerabilities found", also where the service knew none of the packages, as behind a mirror of
PyPI that has files only; so what it did is read from its report.  Exit codes: 0 every version was
looked up and nothing is known; 1 something is known; 3 NOT RUN, which is no pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
SERVICES = ("pypi", "osv")
"""Asked in this order until one answers."""
KNOWN, NOT_RUN = 1, 3


def main() -> int:
    """Audit; returns the exit code."""
    said = []
    for service in SERVICES:
        code, text = judged(*_asked(service))
        said.append(f"{service}: {text}")
        if code != NOT_RUN:
            break
    sys.stdout.write(f"audit of {CONSTRAINTS.name}: {'; '.join(said)}\n")
    return code


def judged(report: Mapping[str, Any] | None, complaint: str) -> tuple[int, str]:
    """Exit code and one line for what pip-audit reported, or complained of."""
    if report is None:
        lines = complaint.strip().splitlines() or ["no answer"]
        return NOT_RUN, f"NOT RUN, {lines[-1][:300]}"
    packages = report["dependencies"]
    known = [
        f"{one['name']} {one['version']}: {', '.join(v['id'] for v in one['vulns'])}"
        for one in packages
        if one.get("vulns")
    ]
    if known:
        return KNOWN, f"VULNERABLE, {'; '.join(known)}"
    skipped = [str(one["name"]) for one in packages if "skip_reason" in one]
    if skipped or not packages:
        return NOT_RUN, (
            f"NOT RUN, {len(skipped)} of {len(packages)} versions are unknown to the service, the "
            f"first {', '.join(skipped[:3])}"
        )
    return 0, f"{len(packages)} versions, no known vulnerability"


def _asked(service: str) -> tuple[dict[str, Any] | None, str]:
    """pip-audit's report, or None, and what it complained of."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps",
        "--disable-pip", "--vulnerability-service", service, "--format", "json",
        "--progress-spinner", "off",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return None, done.stderr
    return (found, done.stderr) if "dependencies" in found else (None, done.stderr)


if __name__ == "__main__":
    sys.exit(main())
