"""How packets are routed."""

from __future__ import annotations

import enum


class ROUTING(enum.Enum):
    MC = 0
    C2C = 1


class BackendSettings:
    """Options of a run."""

    routing_type = ROUTING.MC
