"""Training for a chip: what needs torch and snnTorch, which the extra `snntorch` installs.

    cost  = synaptic_events(net, sample)                      # what spikes cost, with a gradient
    probe = probe_gradients(net, loss)                        # is the surrogate too narrow?
    tuned = finetune(net, target="loihi2", inputs=x, labels=y, bits=4)

Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import TargetError

try:
    import snntorch as _snntorch  # noqa: F401
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise TargetError(
        f"neurodeploy.torch needs {error.name}", hint="pip install 'neurodeploy-snn[snntorch]'"
    ) from error

if TYPE_CHECKING:
    from neurodeploy.torch.chip_module import ChipModule
    from neurodeploy.torch.finetuning import Recipe, Tuned, finetune
    from neurodeploy.torch.gradients import Probe, probe_gradients
    from neurodeploy.torch.scales import WeightGrid, bake, on_grid
    from neurodeploy.torch.spike_cost import SpikeCost, recorded, spike_energy, synaptic_events

_HOMES = {
    "ChipModule": "chip_module",
    "Probe": "gradients",
    "Recipe": "finetuning",
    "SpikeCost": "spike_cost",
    "Tuned": "finetuning",
    "WeightGrid": "scales",
    "bake": "scales",
    "finetune": "finetuning",
    "on_grid": "scales",
    "probe_gradients": "gradients",
    "recorded": "spike_cost",
    "spike_energy": "spike_cost",
    "synaptic_events": "spike_cost",
}

__all__ = [
    "ChipModule",
    "Probe",
    "Recipe",
    "SpikeCost",
    "Tuned",
    "WeightGrid",
    "bake",
    "finetune",
    "on_grid",
    "probe_gradients",
    "recorded",
    "spike_energy",
    "synaptic_events",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
