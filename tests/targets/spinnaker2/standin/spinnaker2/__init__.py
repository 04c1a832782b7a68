"""A STAND-IN for py-spinnaker2, for tests: no hardware, no code of the real package.

It has the calls that `deploy.py` makes, checks every argument as far as the real ones are known,
and computes with neurodeploy's own arithmetic, tick by tick.  Environment variables:

- STANDIN_FAULT: one of `late`, `lost`, `extra`, `start` (the first start fails), `dies` (all after
  the first fail), `dead` (all fail), `old` (a version without what is needed), `untimed`,
  `impossible`;
- STANDIN_VARIANT: `spelling` (a version with `t_refract` and `measure_power`, without 48 chips);
- STANDIN_CALLS: a file that gets one JSON line for each call.
"""

from __future__ import annotations

__version__ = "0.8.0 (stand-in, no hardware)"
