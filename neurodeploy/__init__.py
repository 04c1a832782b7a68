"""neurodeploy: a trained spiking network becomes a verified program for a neuromorphic chip.

    graph   = nd.from_snntorch(net, sample)                   # nir.NIRGraph, semantics kept
    program = nd.compile(graph, target="loihi2", calibration=x)
    verdict = nd.verify(program, x, labels=y)                 # spike by spike
    energy  = nd.energy(program, x)                           # three lines, each with an interval

Names are loaded on first use: importing the package imports neither numba nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neurodeploy._version import __version__
from neurodeploy.semantics import Semantics, diff

if TYPE_CHECKING:
    from neurodeploy.api import (
        bundle,
        compile,
        energy,
        explore,
        load,
        network_of,
        place,
        rank,
        read_report,
        run,
        verify,
        write,
    )
    from neurodeploy.equivalence.gates import Gates
    from neurodeploy.equivalence.golden import replay
    from neurodeploy.equivalence.verdict import Verdict
    from neurodeploy.exploration import Constraints, Exploration
    from neurodeploy.frontends.comparisons import comparisons
    from neurodeploy.frontends.presets import preset
    from neurodeploy.frontends.snntorch import from_snntorch
    from neurodeploy.network import Network
    from neurodeploy.pages.html import report
    from neurodeploy.program import Program
    from neurodeploy.target import find_targets, get_target
    from neurodeploy.trace import Trace

__all__ = [
    "Constraints",
    "Exploration",
    "Gates",
    "Network",
    "Program",
    "Semantics",
    "Trace",
    "Verdict",
    "__version__",
    "bundle",
    "comparisons",
    "compile",
    "diff",
    "energy",
    "explore",
    "find_targets",
    "from_snntorch",
    "get_target",
    "load",
    "network_of",
    "place",
    "preset",
    "rank",
    "read_report",
    "replay",
    "report",
    "run",
    "verify",
    "write",
]

_HOMES = {
    "Constraints": "exploration",
    "Exploration": "exploration",
    "Gates": "equivalence.gates",
    "Network": "network",
    "Program": "program",
    "Trace": "trace",
    "Verdict": "equivalence.verdict",
    "bundle": "api",
    "comparisons": "frontends.comparisons",
    "compile": "api",
    "energy": "api",
    "explore": "api",
    "find_targets": "target",
    "from_snntorch": "frontends.snntorch",
    "get_target": "target",
    "load": "api",
    "network_of": "api",
    "place": "api",
    "preset": "frontends.presets",
    "rank": "api",
    "read_report": "api",
    "replay": "equivalence.golden",
    "report": "pages.html",
    "run": "api",
    "verify": "api",
    "write": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
