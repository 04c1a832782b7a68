"""Running programs in Lava, Intel's own simulator of Loihi 2, as an independent check.

Lava 0.10.0 needs Python 3.10, so it lives in an interpreter of its own: `environment` finds or
builds that interpreter, `worker` is the stand-alone program that runs there, `job` is what is sent
and what comes back, and `runner` starts the worker, watches it and checks its answer.
"""
