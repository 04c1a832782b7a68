"""A file that Rockpool 3.1.0 writes, with the spikes that Rockpool computes.

    pip install torch==2.13.0 nir==1.0.8 nirtorch==2.6 numpy==2.4.6 scipy pandas
    pip install --no-deps rockpool==3.1.0
    python tests/conformance/nir_tools/write_rockpool.py

Rockpool writes the axes of its sample into the shapes of Input and Output.  Weights are multiples
of 1/4, so that first potentials meet the threshold exactly.
"""

from __future__ import annotations

import torch
from common import inputs, save
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir

torch.manual_seed(0)
net = Sequential(
    LinearTorch((12, 24), weight=torch.round(torch.randn(12, 24) * 2) / 4),
    LIFNeuronTorch((24,), tau_mem=torch.linspace(5e-3, 3e-2, 24), threshold=torch.full((24,), 1.0)),
    LinearTorch((24, 6), weight=torch.randn(24, 6) * 0.3),
    LIFTorch(
        (6,),
        tau_mem=torch.linspace(1e-2, 2e-2, 6),
        tau_syn=torch.full((6, 1), 5e-3),
        threshold=torch.linspace(0.8, 1.2, 6),
        bias=torch.zeros(6),
    ),
)
spikes = inputs(3, (12,))
with torch.no_grad():
    _, _, recorded = net(torch.from_numpy(spikes), record=True)
sent = {name: recorded[f"{name}_output"].numpy() for name in ("1_LIFNeuronTorch", "3_LIFTorch")}
save("rockpool_lif", to_nir(net), spikes, sent)
