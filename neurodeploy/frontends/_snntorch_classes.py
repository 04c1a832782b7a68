"""Which neuron classes of snnTorch are supported, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import snntorch as snn
import torch
from torch import nn

from neurodeploy.semantics import Reset

# The state tensors of a class in the order in which its forward takes them after the input.
STATES: Mapping[type[nn.Module], tuple[str, ...]] = {
    snn.Leaky: ("mem",),
    snn.Synaptic: ("syn", "mem"),
    snn.Lapicque: ("mem",),
    snn.RLeaky: ("spk", "mem"),
    snn.RSynaptic: ("spk", "syn", "mem"),
    snn.Alpha: ("syn_exc", "syn_inh", "mem"),
}
NEURONS = tuple(STATES)
WITH_CURRENT = (snn.Synaptic, snn.RSynaptic)
RECURRENT = (snn.RLeaky, snn.RSynaptic)
TERMS = {
    "mem": "membrane potential",
    "syn": "synaptic current",
    "syn_exc": "excitatory current",
    "syn_inh": "inhibitory current",
    "spk": "last output",
}


_RESETS: Mapping[str, Reset] = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}


@dataclass(frozen=True)
class Refusal:
    """Why something has no exact form, and what to use instead."""

    reason: str
    hint: str


_PARALLEL = "Train with snn.Leaky, which computes step by step, or copy the weights to one."
_GATES = "the gates of an LSTM multiply states, which no NIR node does"
_AT_ONCE = "it computes all steps at once, with decay exp(beta - 1) in place of beta"

# What has no exact form here: classes of snnTorch, and options of those that have.
REFUSALS: Mapping[str, Refusal] = {
    "SLSTM": Refusal(_GATES, "Use snn.RSynaptic."),
    "SConv2dLSTM": Refusal(_GATES, "Use snn.RSynaptic with conv2d_channels and kernel_size."),
    "LeakyParallel": Refusal(
        "it holds the time loop, rectifies its membrane potential and has weights of its own",
        _PARALLEL,
    ),
    "StateLeaky": Refusal(_AT_ONCE, _PARALLEL),
    "LinearLeaky": Refusal(
        _AT_ONCE, "Train with nn.Linear and snn.Leaky, which compute step by step."
    ),
    "AssociativeLeaky": Refusal(
        "its state is a matrix whose decay depends on the input, which no NIR neuron has",
        "Use snn.Leaky or snn.RLeaky.",
    ),
    "DeltaLeaky": Refusal(
        "it fires on the change of its membrane potential, which no NIR neuron does",
        "Use snn.Leaky, or encode the input as changes outside the model.",
    ),
    "GradedSpikes": Refusal(
        "its weights of shape (size, 1) scale the axis before the last, which of (batch, neurons) "
        "is the batch",
        "Use graded_spikes_factor of snn.Leaky, one value per neuron.",
    ),
    "Alpha with a reset": Refusal(
        "its reset changes two currents after they took the input of the step, which no NIR node "
        "does",
        'Use reset_mechanism="none", or snn.Synaptic, whose response to a spike also rises before '
        "it decays.",
    ),
    "RSynaptic with reset_delay=False": Refusal(
        "with reset_delay=False it does not reset in snnTorch 1.0.0, or fails",
        "Use reset_delay=True, or snn.RLeaky.",
    ),
    "inhibition=True": Refusal(
        "with inhibition=True only the neuron with the highest potential fires, a comparison "
        "between neurons that no NIR node makes",
        "Train without it, or with inhibitory weights (snn.RLeaky).",
    ),
    "state_quant": Refusal(
        "with state_quant its states are rounded in every step, which no NIR neuron does",
        "Train without it; a compiled program rounds as its chip does.",
    ),
    "spike_grad that is no step": Refusal(
        "its spike_grad is not a step at zero in the forward direction",
        "Use a surrogate of snntorch.surrogate.",
    ),
}


def reset_of(module: Any) -> Reset | None:
    """The reset that a neuron computes, by its bound update function; None where that is foreign.

    `reset_mechanism` and a loaded state_dict do not change the update of an existing module.
    """
    update = module.state_function
    own = getattr(update, "__self__", None) is module
    return _RESETS.get(getattr(update, "__name__", "")) if own else None


def refusal(module: Any) -> Refusal | None:
    """Why a module of snnTorch, or a subclass of one, is refused; None where nothing is known."""
    names = [c.__name__ for c in type(module).__mro__ if c.__module__.split(".")[0] == "snntorch"]
    key = next((name for name in names if name in REFUSALS), None)
    if isinstance(module, NEURONS):
        if isinstance(module, snn.RSynaptic) and not module.reset_delay:
            key = "RSynaptic with reset_delay=False"
        elif isinstance(module, snn.Alpha) and reset_of(module) not in (None, "none"):
            key = "Alpha with a reset"
        elif module.inhibition:
            key = "inhibition=True"
        elif module.state_quant:
            key = "state_quant"
        elif not _is_step(module.spike_grad):
            key = "spike_grad that is no step"
    return REFUSALS[key] if key is not None else None


def _is_step(spike_grad: Any) -> bool:
    """Whether a surrogate's forward is 1 above zero and 0 else, probed at a few values."""
    tiny = torch.finfo(torch.float32).tiny
    probe = torch.tensor([-1e30, -1.0, -tiny, -0.0, 0.0, tiny, 1e-3, 1.0, 1e30])
    return torch.equal(spike_grad(probe).detach().cpu(), (probe > 0).float())


def states(module: nn.Module) -> tuple[str, ...]:
    """Names of a neuron's state tensors; none where the module is no supported neuron."""
    return STATES.get(type(module), ())
