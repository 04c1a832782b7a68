"""Files that snnTorch 1.0.0's own exporter writes, with the spikes that snnTorch computes.

    .venv-nir/bin/python tests/conformance/nir_tools/write_snntorch.py

`snntorch_leaky`: Leaky with vectors for beta and threshold, the default reset.  `snntorch_zero`:
the same with reset to zero, which the file does not say.  `snntorch_rleaky`: Synaptic and RLeaky.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import snntorch as snn
import torch
from common import inputs, save
from snntorch.export_nir import export_to_nir
from torch import nn


def write(name: str, layers: list[Any], names: dict[str, str], gain: float) -> None:
    net = nn.Sequential(*layers)
    for module in layers:
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(gain * 8).round_().div_(8)
            module.bias.data.mul_(8).round_().div_(8)
    spikes = inputs(6, (12,))
    sent: dict[str, list[Any]] = {key: [] for key in names}
    for key, stored in sent.items():
        net[int(key)].register_forward_hook(
            lambda _module, _inputs, output, stored=stored: stored.append(
                (output[0] if isinstance(output, tuple) else output).numpy()
            )
        )
    for t in range(spikes.shape[1]):
        net(torch.from_numpy(spikes[:, t]))
    found = {names[key]: np.stack(stored, 1) for key, stored in sent.items()}
    for module in layers:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    graph = export_to_nir(net, torch.from_numpy(spikes[:1, 0]), ignore_dims=[0])
    save(name, graph, spikes, found)


def leaky(size: int, **changes: Any) -> Any:
    return snn.Leaky(
        beta=torch.linspace(0.6, 0.95, size),
        threshold=torch.linspace(0.7, 1.2, size),
        init_hidden=True,
        **changes,
    )


with torch.no_grad():
    for name, reset in (("snntorch_leaky", "subtract"), ("snntorch_zero", "zero")):
        torch.manual_seed(0)
        neurons = [leaky(size, reset_mechanism=reset) for size in (24, 6)]
        layers = [nn.Linear(12, 24), neurons[0], nn.Linear(24, 6), neurons[1]]
        write(name, layers, {"1": "1", "3": "3"}, 2)
    torch.manual_seed(1)
    synaptic = snn.Synaptic(
        alpha=torch.full((16,), 0.5),
        beta=torch.linspace(0.5, 0.9, 16),
        threshold=torch.ones(16),
        init_hidden=True,
    )
    recurrent = snn.RLeaky(beta=0.8, linear_features=8, init_hidden=True)
    layers = [nn.Linear(12, 16), synaptic, nn.Linear(16, 8), recurrent]
    write("snntorch_rleaky", layers, {"1": "1", "3": "3.lif"}, 1)
