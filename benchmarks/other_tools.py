"""Norse and SpikingJelly on a workload's network, with the weights of the snnTorch network.

Both need neurons that reset to zero at once; a workload with others is not theirs to run.  Their
environment is made by `make nir`.
"""

from __future__ import annotations

import copy
from typing import Any

import norse.torch as norse
import snntorch as snn
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from benchmarks.contestants import Forward
from benchmarks.workloads import Workload

DT = 0.001
NEURONS = (snn.Leaky, snn.Synaptic, snn.RSynaptic)
LIKE = {nn.Linear: layer.Linear, nn.Conv2d: layer.Conv2d, nn.AvgPool2d: layer.AvgPool2d}


def forwards(workload: Workload) -> dict[str, Forward]:
    """By tool, in the form that is its fastest here; empty where the neurons are not theirs."""
    neurons = [module for module in workload.net if isinstance(module, snn.SpikingNeuron)]
    if any(not isinstance(m, NEURONS) or m.reset_mechanism != "zero" for m in neurons):
        return {}
    return {"Norse": _norse(workload.net), "SpikingJelly": _spikingjelly(workload.net)}


# --- Norse: step by step -------------------------------------------------------------------------


def _norse(net: nn.Sequential) -> Forward:
    """v' = v + dt/tau (i - v): weights are divided by dt/tau = 1 - beta where that is not 1."""
    modules: list[nn.Module] = []
    for module in net:
        if isinstance(module, snn.RSynaptic):
            modules[-1:] = [_norse_recurrent(modules[-1], module)]
        elif isinstance(module, snn.SpikingNeuron):
            modules.append(_norse_cell(modules, module))
        else:
            modules.append(copy.deepcopy(module))
    built = norse.SequentialState(*modules)

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        state, outputs = None, []
        for x in inputs:
            spikes, state = built(x, state)
            outputs.append(spikes)
        return torch.stack(outputs)

    return forward


def _norse_cell(before: list[nn.Module], module: Any) -> nn.Module:
    if module.beta == 1:
        return norse.IAFCell(norse.IAFParameters(v_th=module.threshold))
    _weights(before).data /= 1 - module.beta
    if isinstance(module, snn.Leaky):
        parameters = norse.LIFBoxParameters(
            tau_mem_inv=(1 - module.beta) / DT, v_th=module.threshold
        )
        return norse.LIFBoxCell(parameters, dt=DT)
    return norse.LIFCell(_currents(module), dt=DT)


def _currents(module: Any) -> Any:
    return norse.LIFParameters(
        tau_syn_inv=(1 - module.alpha) / DT,
        tau_mem_inv=(1 - module.beta) / DT,
        v_th=module.threshold,
    )


def _norse_recurrent(linear: Any, module: Any) -> nn.Module:
    gain = 1 / (1 - module.beta)
    return norse.LIFRecurrentCell(
        linear.in_features,
        linear.out_features,
        _currents(module),
        input_weights=linear.weight.data * gain,
        recurrent_weights=module.recurrent.weight.data * gain,
        autapses=True,
        dt=DT,
    )


def _weights(modules: list[nn.Module]) -> nn.Parameter:
    """Of the last layer that has any."""
    return next(m.weight for m in reversed(modules) if isinstance(m, (nn.Linear, nn.Conv2d)))


# --- SpikingJelly: layer by layer ----------------------------------------------------------------


class _Fed(nn.Module):
    """All-to-all recurrence, step by step."""

    def __init__(self, cells: nn.Module, recurrent: nn.Module) -> None:
        super().__init__()
        self.cells, self.recurrent = cells, recurrent

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        spikes, outputs = torch.zeros_like(currents[0]), []
        for current in currents:
            spikes = self.cells(current + self.recurrent(spikes))
            outputs.append(spikes)
        return torch.stack(outputs)


def _spikingjelly(net: nn.Sequential) -> Forward:
    modules: list[nn.Module] = []
    for module in net:
        if isinstance(module, snn.RSynaptic):
            cells = _cubalif(module)
            modules.append(_Fed(cells, copy.deepcopy(module.recurrent)))
        elif isinstance(module, snn.Synaptic):
            modules.append(_multi(_cubalif(module)))
        elif isinstance(module, snn.Leaky):
            modules.append(_multi(_lif(module)))
        else:
            modules.append(_multi(_like(module)))
    built = nn.Sequential(*modules).eval()

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        functional.reset_net(built)
        spikes: torch.Tensor = built(inputs)
        return spikes

    return forward


def _multi(module: Any) -> nn.Module:
    """All steps in one call."""
    module.step_mode = "m"
    return module


def _lif(module: Any) -> nn.Module:
    threshold = float(module.threshold)
    if module.beta == 1:
        return neuron.IFNode(v_threshold=threshold, v_reset=0.0)
    tau = 1 / (1 - float(module.beta))
    return neuron.LIFNode(tau=tau, decay_input=False, v_threshold=threshold, v_reset=0.0)


def _cubalif(module: Any) -> nn.Module:
    return neuron.CUBALIFNode(
        c_decay=float(module.alpha),
        v_decay=float(module.beta),
        v_threshold=float(module.threshold),
        v_reset=0.0,
    )


def _like(module: Any) -> nn.Module:
    """The tool's own layer, which takes steps and samples."""
    if isinstance(module, nn.Flatten):
        return layer.Flatten()
    if isinstance(module, nn.AvgPool2d):
        return layer.AvgPool2d(module.kernel_size)
    own = copy.copy(module)
    own.__class__ = LIKE[type(module)]
    return own
