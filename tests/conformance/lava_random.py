"""Random programs in Lava and in the simulator, compared at every step: what is sent, all states.

`python -m tests.conformance.lava_random [NETWORKS [FIRST_SEED]]` runs any number of them and prints
the counts; `test_lava.py` runs some of them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np

from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi import arithmetic, arithmetic_neurons, arithmetic_synapses
from neurodeploy.targets.loihi.lava.job import LavaNetwork, LavaSynapse
from neurodeploy.targets.loihi.lava.runner import run
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.models import MODELS, STATE
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Trace
from tests.conformance.lava_programs import Case, random_case

BATCH = 12
WORKERS = 2
TIMEOUT = 600.0


def cases(count: int, first_seed: int = 0) -> list[Case]:
    """Random cases that begin with each model in turn."""
    names = list(MODELS)
    return [random_case(first_seed + i, names[i % len(names)]) for i in range(count)]


def in_lava(chosen: Sequence[Case]) -> list[Trace]:
    """What each case does in Lava, several networks in each of two worker processes."""
    batches = [chosen[i : i + BATCH] for i in range(0, len(chosen), BATCH)]

    def work(batch: Sequence[Case]) -> list[Trace]:
        networks = [varied(to_lava(c.program, c.inputs, states=True), c.seed) for c in batch]
        results = run(networks, timeout=TIMEOUT)
        return [
            from_lava(case.program, case.inputs, result)
            for case, result in zip(batch, results, strict=True)
        ]

    with ThreadPoolExecutor(WORKERS) as pool:
        return [trace for traces in pool.map(work, batches) for trace in traces]


def varied(network: LavaNetwork, seed: int) -> LavaNetwork:
    """The same network with other processes: sparse for dense, fewer weight bits where they do."""
    rng = np.random.default_rng([seed, 1])

    def vary(synapse: LavaSynapse) -> LavaSynapse:
        if synapse.kind != "dense":
            return synapse
        fewer = int(rng.integers(1, synapse.num_weight_bits, endpoint=True))
        same = np.array_equal(
            arithmetic_synapses.effective_weights(synapse.weight, synapse.sign_mode, fewer),
            synapse.weight,
        )
        return replace(
            synapse,
            kind="sparse" if rng.random() < 0.4 else "dense",
            num_weight_bits=fewer if same else synapse.num_weight_bits,
        )

    return replace(network, synapses=tuple(vary(s) for s in network.synapses))


def in_simulator(case: Case, machine: LoihiMachine) -> Trace:
    names = [population.name for population in case.program.populations]
    return simulate(case.program, case.inputs, machine, record=names, threads=1)


Values = tuple[str, np.ndarray, np.ndarray]


def compared(case: Case, lava: Trace, ours: Trace) -> Iterator[Values]:
    """(what, Lava's, ours) for what every population sends, and each of its states."""
    for population in case.program.populations:
        name = population.name
        yield f"{name}.s", lava.spikes[name], ours.spikes[name]
        if population.graded:
            yield f"{name}.messages", lava.values[name], ours.values[name]
        for state in MODELS[population.model].states:
            yield f"{name}.{state}", lava.states[name][state], ours.states[name][state]


def differences(case: Case, lava: Trace, ours: Trace) -> list[str]:
    """What differs, with the number of values and the first place."""
    found = []
    for what, theirs, mine in compared(case, lava, ours):
        wrong = np.argwhere(theirs != mine)
        if len(wrong):
            found.append(
                f"seed {case.seed}, {what}: {len(wrong)} values, first {wrong[0].tolist()}"
            )
    return found


@dataclass
class Reached:
    """What the compared networks were and did, so that no comparison is empty."""

    networks: int = 0
    features: Counter[str] = field(default_factory=Counter)
    processes: Counter[str] = field(default_factory=Counter)
    values: int = 0
    messages: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case, lava: Trace) -> None:
        self.networks += 1
        self.features.update(case.features)
        network = varied(to_lava(case.program, case.inputs, states=False), case.seed)
        self.processes.update(
            f"{'delayed ' if synapse.delay.any() else ''}{synapse.kind}"
            for synapse in network.synapses
        )
        for what, values, _ in compared(case, lava, lava):
            self.values += values.size
            self.messages += int(np.count_nonzero(values)) if what.endswith(".s") else 0

    def __str__(self) -> str:
        rows = [f"networks {self.networks}", f"values compared {self.values}",
                f"messages other than 0 {self.messages}"]  # fmt: skip
        rows += [f"  with {name}: {count}" for name, count in sorted(self.features.items())]
        rows += [f"synapses {kind}: {count}" for kind, count in sorted(self.processes.items())]
        return "\n".join([*rows, *(f"{name}: {n}" for name, n in sorted(self.events.items()))])


@contextmanager
def counted(events: Counter[str]) -> Iterator[None]:
    """Counts the values that the arithmetic wraps and saturates; for the machine in numpy."""

    def wraps(name: str, wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def counting(x: Any) -> Any:
            wrapped = wrap(x)
            events[name] += int(np.count_nonzero(wrapped != x))
            return wrapped

        return counting

    def once(u: Any, activation: Any, du: Any) -> Any:
        after = update_u(u, activation, du)
        before = arithmetic.decay(u, du + 1) + arithmetic.wrap_int32(activation << 6)
        events["wraps of u at 24 bits"] += int(np.count_nonzero(after != before))
        return after

    update_u = arithmetic.update_u
    narrow = wraps("wraps of convolutions at 24 bits", arithmetic.wrap_int24)
    wide = wraps("wraps at 32 bits", arithmetic.wrap_int32)
    with (
        mock.patch.object(arithmetic, "wrap_int24", narrow),
        mock.patch.object(arithmetic, "wrap_int32", wide),
        mock.patch.object(arithmetic_neurons, "wrap_int32", wide),
        mock.patch.object(arithmetic_synapses, "wrap_int32", wide),
        mock.patch.object(arithmetic, "update_u", once),
    ):
        yield


def saturated(case: Case, lava: Trace) -> int:
    """Values of v, real and imag at an end of their range."""
    ends = 0
    for population in case.program.populations:
        for state in {"v", "real", "imag"} & set(lava.states[population.name]):
            ends += int(np.isin(lava.states[population.name][state], STATE).sum())
    return ends


def compare(chosen: Sequence[Case], reached: Reached) -> list[str]:
    """Run cases in Lava, in the simulator's kernels and in its numpy; all differences."""
    return judge(chosen, in_lava(chosen), reached)


def judge(chosen: Sequence[Case], traces: Sequence[Trace], reached: Reached) -> list[str]:
    """`compare`, with what Lava did known."""
    found = []
    for case, lava in zip(chosen, traces, strict=True):
        found += differences(case, lava, in_simulator(case, LoihiMachine()))
        with counted(reached.events):
            found += differences(case, lava, in_simulator(case, LoihiMachine(compiled=False)))
        reached.events["saturated states"] += saturated(case, lava)
        reached.add(case, lava)
    return found


def main(arguments: Sequence[str]) -> int:
    count, first_seed = (int(text) for text in (*arguments, *("500", "1000")[len(arguments) :]))
    reached, found = Reached(), list[str]()
    for start in range(0, count, 2 * BATCH):
        size = min(2 * BATCH, count - start)
        found += compare(cases(size, first_seed + start), reached)
        sys.stdout.write(f"{reached.networks} networks, {len(found)} differences\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join([str(reached), *found, ""]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
