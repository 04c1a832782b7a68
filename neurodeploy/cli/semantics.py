"""The options that say what a time step means, for files that do not."""

from __future__ import annotations

import argparse
from typing import get_args

from neurodeploy.frontends.presets import PRESETS, Preset, preset
from neurodeploy.semantics import Comparison, Integrator, Reset, ResetTiming


def semantics_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for files whose neurons do not say what a time step means."""
    group = parser.add_argument_group(
        "semantics, for files that do not say theirs",
        "A tool's by name, and single fields instead of that tool's (without a name, euler's).",
    )
    group.add_argument("--semantics", choices=tuple(PRESETS), help="see docs/nir.md")
    group.add_argument("--dt", type=float, help="length of a time step in s")
    group.add_argument("--integrator", choices=get_args(Integrator))
    group.add_argument("--reset", choices=get_args(Reset))
    group.add_argument("--reset-timing", choices=get_args(ResetTiming))
    group.add_argument("--comparison", choices=get_args(Comparison))


def chosen_semantics(arguments: argparse.Namespace) -> Preset | None:
    """What these options say, if anything."""
    fields = ("dt", "integrator", "reset", "reset_timing", "comparison")
    chosen = {name: value for name in fields if (value := getattr(arguments, name)) is not None}
    if arguments.semantics is None and not chosen:
        return None
    return preset(arguments.semantics or "euler", **chosen)
