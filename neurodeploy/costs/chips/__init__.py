"""Chips that are known by their energy only: nothing can be compiled for them."""

from __future__ import annotations

import importlib.resources

from neurodeploy.chip import Chip, load_chip

ENERGY_ONLY = ("spinnaker1",)


def energy_only(name: str) -> Chip:
    """The chip called `name`, one of `ENERGY_ONLY`."""
    file = importlib.resources.files(__package__).joinpath(f"{name}.toml")
    return load_chip(file.read_text("utf-8"))
