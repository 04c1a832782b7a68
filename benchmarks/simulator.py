"""The demo's network: our simulator against snnTorch's forward and against Lava, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from neurodeploy import api
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes
from neurodeploy.models import digits
from neurodeploy.models.digits_data import encode, load_data
from neurodeploy.target import get_target

REPEATS = 3
LAVA_SAMPLES = 20


def seconds_per_sample(run: Callable[[], object], samples: int, repeats: int = REPEATS) -> float:
    """Best of `repeats`."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best / samples


def main() -> None:
    data, net = load_data(), digits.load()
    inputs = encode(data.test_images)
    floats = inputs.astype(np.float32)
    graph = from_snntorch(net, torch.from_numpy(floats[:1, 0]))
    program = api.compile(graph, target="loihi2", calibration=encode(data.train_images[:64]))
    api.run(program, inputs[:2])  # compiles the kernels
    target = get_target(program.target)
    some = {"input": inputs[:LAVA_SAMPLES]}
    ours = seconds_per_sample(lambda: api.run(program, inputs), len(inputs))
    theirs = {
        "snnTorch, batched float32 forward": seconds_per_sample(
            lambda: reference_spikes(net, floats, graph), len(inputs)
        ),
        "Lava fixed_pt, with its start": seconds_per_sample(
            lambda: target.run_vendor(program, some, timeout=300), LAVA_SAMPLES, 1
        ),
    }
    print(f"neurodeploy simulator: {1 / ours:,.0f} samples/s of {inputs.shape[1]} steps")
    for name, seconds in theirs.items():
        print(f"{name}: {seconds / ours:,.1f} times the time")


if __name__ == "__main__":
    main()
