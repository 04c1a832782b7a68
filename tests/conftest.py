"""What all tests share: the Lava environment, and how hypothesis draws its examples."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

# The one that `make` builds, unless another is named.
LAVA_ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-lava"
os.environ.setdefault("NEURODEPLOY_LAVA_ENV", str(LAVA_ENVIRONMENT))

# Compilation and child processes make single examples slow, hence no deadline.  CI draws the same
# examples every time; at a desk they are new each time and failures are remembered.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
