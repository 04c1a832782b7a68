"""The stand-alone program that looks for Intel's lava-loihi: `python loihi_worker.py JOB_DIR`.

It needs lava-nc and nothing of neurodeploy, and answers with `JOB_DIR/result.json` (layout: see
`job.py`), in which `lava-loihi` says whether Lava itself takes that package as installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from pathlib import Path

from lava.utils.loihi import is_installed


def main(job: Path) -> None:
    versions = {
        "python": platform.python_version(),
        "lava-nc": importlib.metadata.version("lava-nc"),
    }
    answer = {"schema": 1, "status": "ok", "versions": versions, "lava-loihi": is_installed()}
    (job / "result.json").write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
