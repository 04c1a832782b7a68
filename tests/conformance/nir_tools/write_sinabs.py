"""Files that sinabs 3.1.3 writes, with the spikes that sinabs computes.

    pip install torch==2.13.0 nir==1.0.8 nirtorch==2.6 matplotlib pbr numpy==2.4.6
    pip install --no-deps sinabs==3.1.3        # it declares samna, which is not needed here
    python tests/conformance/nir_tools/write_sinabs.py

`sinabs_iaf`: convolutions, IAF, sum pooling.  `sinabs_lif`: LIF with norm_input=True, the default.
`sinabs_raw`: LIF with norm_input=False, whose file is no different.  Weights are multiples of 1/8,
so that potentials meet thresholds exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sinabs.layers as sl
import torch
from common import inputs, save
from sinabs.nir import to_nir
from torch import nn


def lif(size: int, *, norm_input: bool) -> Any:
    return sl.LIFSqueeze(
        tau_mem=torch.linspace(3.0, 20.0, size),
        spike_threshold=torch.linspace(0.5, 1.0, size),
        norm_input=norm_input,
        batch_size=1,
    )


def write(name: str, net: Any, shape: tuple[int, ...], gain: float) -> None:
    for layer in net:
        if hasattr(layer, "weight"):
            layer.weight.data.mul_(gain * 8).round_().div_(8)
            layer.bias.data.mul_(8).round_().div_(8)
    spikes = inputs(2, shape)
    sent: dict[str, list[Any]] = {
        str(n): [] for n, layer in enumerate(net) if isinstance(layer, sl.StatefulLayer)
    }
    for key, stored in sent.items():
        net[int(key)].register_forward_hook(
            lambda _module, _inputs, output, stored=stored: stored.append(output.detach().numpy())
        )
    for sample in torch.from_numpy(spikes):
        for key in sent:
            net[int(key)].reset_states()
        net(sample)
    found = {key: np.stack(stored) for key, stored in sent.items()}
    graph = to_nir(net, torch.from_numpy(spikes[0]))
    graph.infer_types()
    save(name, graph, spikes, found)


torch.manual_seed(0)
with torch.no_grad():
    layers = [
        nn.Conv2d(1, 4, 3, padding=1),
        sl.IAFSqueeze(batch_size=1),
        sl.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5),
        sl.IAFSqueeze(batch_size=1),
    ]
    write("sinabs_iaf", nn.Sequential(*layers), (1, 6, 6), 4)
    for name, norm in (("sinabs_lif", True), ("sinabs_raw", False)):
        torch.manual_seed(1)
        neurons = [lif(size, norm_input=norm) for size in (24, 6)]
        layers = [nn.Linear(12, 24), neurons[0], nn.Linear(24, 6), neurons[1]]
        write(name, nn.Sequential(*layers), (12,), 12 if norm else 2)
