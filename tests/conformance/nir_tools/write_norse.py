"""Files that Norse 1.1.0 writes, with the spikes that Norse computes.

    .venv-nir/bin/python tests/conformance/nir_tools/write_norse.py

`norse_lif`: LIFBoxCell.  `norse_iaf`: convolutions and IAFCell.  `norse_cuba`: LIFCell.  The sample
has no batch, as Norse would write the batch into the shapes.  Norse writes dt/tau_inv for tau.
"""

from __future__ import annotations

from typing import Any

import norse.torch as norse
import numpy as np
import torch
from common import inputs, save
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.module.iaf import IAFCell
from norse.torch.module.lif import LIFCell
from norse.torch.module.lif_box import LIFBoxCell


def box(size: int) -> Any:
    return LIFBoxCell(
        LIFBoxParameters(
            tau_mem_inv=torch.linspace(60.0, 300.0, size),
            v_leak=torch.zeros(size),
            v_th=torch.linspace(0.5, 1.0, size),
        )
    )


def cuba(size: int) -> Any:
    return LIFCell(
        LIFParameters(
            tau_syn_inv=torch.full((size,), 250.0),
            tau_mem_inv=torch.full((size,), 100.0),
            v_leak=torch.zeros(size),
            v_th=torch.full((size,), 0.5),
        )
    )


def write(name: str, layers: list[Any], shape: tuple[int, ...], gain: float) -> None:
    for layer in layers:
        if hasattr(layer, "weight"):
            layer.weight.data.mul_(gain)
    net = norse.SequentialState(*layers)
    spikes = inputs(1, shape)
    sent: dict[str, list[Any]] = {
        str(n): [] for n, x in enumerate(layers) if not hasattr(x, "weight")
    }
    for key, stored in sent.items():
        net[int(key)].register_forward_hook(
            lambda _module, _inputs, output, stored=stored: stored.append(output[0].detach())
        )
    for sample in torch.from_numpy(spikes):
        state = None
        for x in sample:
            _, state = net(x, state)
    found = {
        key: np.stack(stored).reshape(*spikes.shape[:2], *stored[0].shape)
        for key, stored in sent.items()
    }
    graph = norse.to_nir(net, torch.zeros(shape))
    graph.infer_types()
    save(name, graph, spikes, found)


torch.manual_seed(0)
with torch.no_grad():
    write(
        "norse_lif", [torch.nn.Linear(12, 24), box(24), torch.nn.Linear(24, 6), box(6)], (12,), 12
    )
    iaf = [IAFCell(IAFParameters(v_th=torch.full(size, 0.7))) for size in ((3, 6, 6), (2, 3, 3))]
    convolutions = (torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Conv2d(3, 2, 2, stride=2))
    write("norse_iaf", [convolutions[0], iaf[0], convolutions[1], iaf[1]], (1, 6, 6), 2)
    write("norse_cuba", [torch.nn.Linear(12, 20), cuba(20)], (12,), 4)
