"""What it costs to convert models of ten million parameters: seconds, and memory over the model's.

Each model runs in a process of its own.  The memory is what the process holds at its peak during
the conversion, comparison with the module included, beyond what it held before, in multiples of
the model's parameters.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import snntorch as snn
import torch
from torch import nn

from neurodeploy.frontends.snntorch import from_snntorch

PAGE = 4096
INTERVAL = 0.002


def lif() -> nn.Module:
    return snn.Leaky(beta=0.9, init_hidden=True)


def dense() -> tuple[nn.Module, tuple[int, ...]]:
    sizes = (784, 2500, 2500, 700, 10)
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), lif())]
    return nn.Sequential(*layers), (784,)


def one_layer() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(nn.Linear(3160, 3160), lif()), (3160,)


def convolutional(norms: bool = False) -> tuple[nn.Module, tuple[int, ...]]:
    channels = (2, 64, 256, 512)
    layers: list[nn.Module] = []
    for a, b in pairwise(channels):
        layers += [nn.Conv2d(a, b, 3, padding=1), *[nn.BatchNorm2d(b)] * norms, lif()]
        layers += [nn.AvgPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(512 * 16, 1050), lif(), nn.Linear(1050, 10), lif()]
    return nn.Sequential(*layers), (2, 32, 32)


MODELS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "dense": dense,
    "one layer": one_layer,
    "convolutional": convolutional,
    "with batch norms": lambda: convolutional(norms=True),
}


def resident() -> int:
    """Bytes that this process holds now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure(name: str) -> dict[str, float]:
    """Convert one model, after a small one that loads what conversion needs."""
    net, shape = MODELS[name]()
    size = sum(parameter.numel() for parameter in net.parameters())
    from_snntorch(nn.Sequential(nn.Conv2d(1, 1, 1), lif()), torch.zeros(1, 1, 4, 4))
    net.eval()
    net(torch.zeros(1, *shape))
    before, peak, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    from_snntorch(net, torch.zeros(1, *shape))
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {
        "parameters": size,
        "seconds": seconds,
        "memory": (peak[0] - before) / (4 * size),
    }


def main() -> None:
    for name in MODELS:
        command = [sys.executable, __file__, name]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            f"{name}: {found['parameters'] / 1e6:.1f} M parameters, {found['seconds']:.1f} s, "
            f"{found['memory']:.1f} times the model's memory"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
