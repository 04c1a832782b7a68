"""How the `.nir` files in this folder were made: snnTorch's default neurons, trained on digits.

Run with torch 2.13.0 and snntorch 1.0.0: `python make.py FOLDER`.  Takes half a minute.
"""

import sys
from pathlib import Path

import nir
import snntorch as snn
import torch
from snntorch import surrogate
from torch import nn

import neurodeploy as nd
from neurodeploy.models.digits_data import encode, load_data

EPOCHS, BATCH, RATE, LOGITS_PER_SPIKE = 12, 64, 1e-2, 0.5


def leaky() -> nn.Module:
    """Subtraction, one step later."""
    return snn.Leaky(beta=0.9, init_hidden=True, spike_grad=surrogate.atan())


def networks():
    """(name, layers)."""
    for name, bias in (("bias", True), ("plain", False)):
        yield (
            f"dense_{name}",
            [
                nn.Flatten(),
                nn.Linear(64, 64, bias=bias),
                leaky(),
                nn.Linear(64, 10, bias=bias),
                leaky(),
            ],
        )
        yield (
            f"conv_{name}",
            [
                nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=bias),
                leaky(),
                nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=bias),
                leaky(),
                nn.Flatten(),
                nn.Linear(64, 10, bias=bias),
                leaky(),
            ],
        )


def train(net, spikes, labels):
    """Layer by layer over all steps; `spikes` are (steps, samples, 1, 8, 8)."""
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(labels)).split(BATCH):
            sent = spikes[:, part]
            for layer in net:
                if isinstance(layer, snn.Leaky):
                    layer.reset_mem()
                    sent = torch.stack([layer(current) for current in sent])
                else:
                    sent = layer(sent.flatten(0, 1)).unflatten(0, sent.shape[:2])
            loss = nn.functional.cross_entropy(LOGITS_PER_SPIKE * sent.sum(0), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


if __name__ == "__main__":
    torch.set_num_threads(1)
    data = load_data()
    spikes = torch.from_numpy(encode(data.train_images)).float().transpose(0, 1)
    for name, layers in networks():
        torch.manual_seed(0)
        net = nn.Sequential(*layers)
        train(net, spikes, torch.from_numpy(data.train_labels))
        graph = nd.from_snntorch(net.eval(), spikes[0, :1])
        nir.write(str(Path(sys.argv[1]) / f"{name}.nir"), graph)
