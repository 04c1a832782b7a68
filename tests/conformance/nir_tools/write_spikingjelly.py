"""Files that SpikingJelly 2.0.0 writes, with the spikes that SpikingJelly computes.

    .venv-nir/bin/python tests/conformance/nir_tools/write_spikingjelly.py

`spikingjelly_conv`: convolution, IF, average pooling, LIF with and without `decay_input`.
`spikingjelly_cuba`: CUBALIF and ParametricLIF.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import inputs, save
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn


def write(name: str, layers: list[Any], shape: tuple[int, ...], gain: float) -> None:
    net = nn.Sequential(*layers)
    for module in layers:
        if hasattr(module, "weight"):
            module.weight.data.mul_(gain)
    spikes = inputs(5, shape)
    sent: dict[str, list[Any]] = {
        f"_{n}": [] for n, x in enumerate(layers) if isinstance(x, neuron.BaseNode)
    }
    for key, stored in sent.items():
        net[int(key[1:])].register_forward_hook(
            lambda _module, _inputs, output, stored=stored: stored.append(output.numpy())
        )
    for t in range(spikes.shape[1]):
        net(torch.from_numpy(spikes[:, t]))
    found = {key: np.stack(stored, 1) for key, stored in sent.items()}
    functional.reset_net(net)
    save(name, export_to_nir(net, torch.from_numpy(spikes[:1, 0])), spikes, found)


torch.manual_seed(0)
with torch.no_grad():
    write(
        "spikingjelly_conv",
        [
            layer.Conv2d(1, 4, 3, padding=1),
            neuron.IFNode(),
            layer.AvgPool2d(2),
            layer.Flatten(),
            layer.Linear(36, 12),
            neuron.LIFNode(tau=3.0),
            layer.Linear(12, 5, bias=False),
            neuron.LIFNode(tau=5.0, decay_input=False, v_threshold=0.7),
        ],
        (1, 6, 6),
        6,
    )
    write(
        "spikingjelly_cuba",
        [
            layer.Linear(12, 20),
            neuron.CUBALIFNode(c_decay=0.6, v_decay=0.85),
            layer.Linear(20, 6),
            neuron.ParametricLIFNode(init_tau=2.5),
        ],
        (12,),
        2,
    )
