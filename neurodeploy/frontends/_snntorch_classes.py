"""Which neuron classes of snnTorch are supported, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import snntorch as snn
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

_REFUSED: Mapping[str, Refusal] = {
    "SLSTM": Refusal(
        "the gates of an LSTM multiply states, which no NIR node does", "Use snn.RSynaptic."
    ),
    "SConv2dLSTM": Refusal(
        "the gates of an LSTM multiply states, which no NIR node does",
        "Use snn.RSynaptic with conv2d_channels and kernel_size.",
    ),
    "LeakyParallel": Refusal(
        "it holds the time loop, rectifies its membrane potential and has weights of its own",
        _PARALLEL,
    ),
    "StateLeaky": Refusal(
        "it computes all steps at once, with decay exp(beta - 1) in place of beta", _PARALLEL
    ),
    "LinearLeaky": Refusal(
        "it computes all steps at once, with decay exp(beta - 1) in place of beta",
        "Train with nn.Linear and snn.Leaky, which compute step by step.",
    ),
    "AssociativeLeaky": Refusal(
        "its state is a matrix whose decay depends on the input, which no NIR neuron has",
        "Use snn.Leaky or snn.RLeaky.",
    ),
    "DeltaLeaky": Refusal(
        "it fires on the change of its membrane potential, which no NIR neuron does",
        "Use snn.Leaky, or encode the input as changes outside the model.",
    ),
}
_DELAYED_ONLY = Refusal(
    "with reset_delay=False it does not reset in snnTorch 1.0.0, or fails",
    "Use reset_delay=True, or snn.RLeaky.",
)


_RESETTING_ALPHA = Refusal(
    "its reset changes two currents after they took the input of the step, which no NIR node does",
    'Use reset_mechanism="none", or snn.Synaptic, whose response to a spike also rises before it '
    "decays.",
)


def reset_of(module: Any) -> Reset | None:
    """The reset that a neuron computes, by its bound update function; None where that is foreign.

    `reset_mechanism` and a loaded state_dict do not change the update of an existing module.
    """
    update = module.state_function
    own = getattr(update, "__self__", None) is module
    return _RESETS.get(getattr(update, "__name__", "")) if own else None


def refusal(module: nn.Module) -> Refusal | None:
    """Why a neuron of snnTorch is refused; None where nothing is known against it."""
    if isinstance(module, snn.RSynaptic) and not module.reset_delay:
        return _DELAYED_ONLY
    if isinstance(module, snn.Alpha) and reset_of(module) not in (None, "none"):
        return _RESETTING_ALPHA
    own = type(module).__module__.split(".")[0] == "snntorch"
    return _REFUSED.get(type(module).__name__) if own else None


def states(module: nn.Module) -> tuple[str, ...]:
    """Names of a neuron's state tensors; none where the module is no supported neuron."""
    return STATES.get(type(module), ())
