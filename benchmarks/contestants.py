"""Who runs a workload: ours, snnTorch in every way that makes it fast, and other tools."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping

import numpy as np
import snntorch as snn
import torch
from snntorch import utils
from torch import nn

from benchmarks.workloads import Workload
from neurodeploy.simulator.engine import run
from neurodeploy.simulator.plan import plan
from neurodeploy.target import get_backend, get_target

Run = Callable[[], object]
Forward = Callable[[torch.Tensor], torch.Tensor]
"""Output spikes (steps, samples, ...) of inputs of that shape, from rest."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def ours(workload: Workload, threads: int | None = None) -> Run:
    """The simulator on all cores: spikes of every population are kept."""
    prepared = plan(workload.program, get_target(workload.program.target).machine)
    return lambda: run(prepared, workload.inputs, threads=threads)


def snntorch(workload: Workload) -> dict[str, Run]:
    """snnTorch on one batch without gradients; only the output's spikes are kept.

    sequential: the whole `nn.Sequential` step by step.
    time loop: the same with the neurons' states passed explicitly, as in snnTorch's tutorials.
    layer by layer: every layer without state on all steps at once, so that each is one large
    product; neurons step by step.  Not possible with recurrence.
    """
    ways = {
        f"snnTorch, {name}": functools.partial(way, workload.net)
        for name, way in WAYS.items()
        if name != "layer by layer" or not any(map(_recurrent, workload.net))
    }
    return by_threads(ways, workload)


def other_tools(workload: Workload) -> dict[str, Run]:
    """Norse and SpikingJelly."""
    from benchmarks.other_tools import forwards

    return by_threads(forwards(workload), workload)


def by_threads(ways: Mapping[str, Forward], workload: Workload) -> dict[str, Run]:
    """Each way with one thread, and with as many as there are cores."""
    inputs = torch.from_numpy(np.ascontiguousarray(workload.inputs.swapaxes(0, 1))).float()
    return {
        f"{name}, {threads} thread" + "s" * (threads > 1): _bound(way, inputs, threads)
        for threads in sorted({1, cores()})
        for name, way in ways.items()
    }


def _bound(way: Forward, inputs: torch.Tensor, threads: int) -> Run:
    def call() -> torch.Tensor:
        torch.set_num_threads(threads)
        with torch.no_grad():
            return way(inputs)

    return call


def lava(workload: Workload, samples: int) -> float:
    """Seconds of some samples in Lava's fixed-point models, its start included."""
    some = {name: workload.inputs[:samples] for name in workload.program.input_shapes}
    start = time.perf_counter()
    get_backend(get_target(workload.program.target), "lava").run(
        workload.program, some, timeout=3600
    )
    return time.perf_counter() - start


def _recurrent(module: nn.Module) -> bool:
    return isinstance(module, (snn.RLeaky, snn.RSynaptic))


def _spikes(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def sequential(net: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """Output spikes (steps, samples, ...)."""
    utils.reset(net)
    return torch.stack([_spikes(net(x)) for x in inputs])


def time_loop(net: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """Output spikes (steps, samples, ...)."""
    neurons = {i: m for i, m in enumerate(net) if isinstance(m, snn.SpikingNeuron)}
    states: dict[int, tuple[torch.Tensor, ...]] = {}
    for index, module in neurons.items():
        module.init_hidden = False
        start = module.reset_mem()
        states[index] = start if isinstance(start, tuple) else (start,)
    outputs = []
    for x in inputs:
        for index, module in enumerate(net):
            if index in neurons:
                result = module(x, *states[index])
                x, states[index] = result[0], result[0 if _recurrent(module) else 1 :]
            else:
                x = module(x)
        outputs.append(x)
    for module in neurons.values():
        module.init_hidden = True
    return torch.stack(outputs)


def layer_by_layer(net: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """Output spikes (steps, samples, ...)."""
    utils.reset(net)
    x = inputs
    for module in net:
        if isinstance(module, snn.SpikingNeuron):
            x = torch.stack([_spikes(module(step)) for step in x])
        else:
            x = module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return x


WAYS: Mapping[str, Callable[[nn.Sequential, torch.Tensor], torch.Tensor]] = {
    "sequential": sequential,
    "time loop": time_loop,
    "layer by layer": layer_by_layer,
}
