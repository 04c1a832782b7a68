"""Search for the cheapest settings of a target that hold constraints."""

from neurodeploy.exploration.candidate import Candidate
from neurodeploy.exploration.exploring import Constraints, Exploration, explore

__all__ = ["Candidate", "Constraints", "Exploration", "explore"]
