"""Where a program goes on its chip: neurocores, tiles, resources, and what each spike reaches."""

from __future__ import annotations

from neurodeploy.mapping.connectivity import fan_out, reached
from neurodeploy.mapping.placement import Placement, choose, faults, place
from neurodeploy.mapping.resources import Resource
from neurodeploy.mapping.routing import Routes, routes
from neurodeploy.mapping.split import joined, split

__all__ = [
    "Placement",
    "Resource",
    "Routes",
    "choose",
    "fan_out",
    "faults",
    "joined",
    "place",
    "reached",
    "routes",
    "split",
]
