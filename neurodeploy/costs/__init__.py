"""What one inference costs: exact counts of what happened, times constants of the chip."""

from __future__ import annotations

from neurodeploy.costs.counts import Counts, count
from neurodeploy.costs.estimate import EnergyReport, Line, estimate
from neurodeploy.costs.metrics import Metrics, metrics

__all__ = ["Counts", "EnergyReport", "Line", "Metrics", "count", "estimate", "metrics"]
