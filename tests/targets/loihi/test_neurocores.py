"""Use of one core: the memory model against what Intel's compiler printed, groups and axons."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.chip import Chip
from neurodeploy.errors import InputError
from neurodeploy.program import Neurons, Synapses
from neurodeploy.targets.loihi.neurocores import Neurocores, group_labels, synaptic_words

# (synapses per axon, printed words per axon): lava-dl, tutorials/lava/lib/dl/netx, output of
# pilotnet_snn/benchmark, pilotnet_sdnn/benchmark, oxford/run and mnist/run.
DENSE = [
    (1, 1), (10, 3), (10, 3), (50, 13), (50, 15), (50, 12), (64, 15.75), (85, 27), (100, 24),
    (100, 26), (200, 63), (256, 81),
]  # fmt: skip
# (output channels on the core, printed words per input channel and tap): pilotnet_snn/benchmark,
# pilotnet_sdnn/benchmark and yolo_kp/run.
CONV = [
    (24, 81 / 27), (36, 864 / 216), (48, 1620 / 324), (64, 2160 / 432), (64, 2880 / 576),
    (64, 2592 / 432), (16, 1.5), (32, 3), (48, 4.5), (64, 3.75), (64, 4.5), (64, 4.5),
    (128, 8.25), (128, 8.25), (256, 15.75),
]  # fmt: skip


def test_memory_model_against_printed_words(chip: Chip) -> None:
    errors = [_dense_words(n, chip) / printed - 1 for n, printed in DENSE]
    errors += [_kernel_words(n, chip) / printed - 1 for n, printed in CONV]
    assert min(errors) == pytest.approx(-0.21, abs=0.01)
    assert max(errors) == pytest.approx(0.33, abs=0.01)
    assert float(np.median(np.abs(errors))) < 0.1


def _dense_words(n: int, chip: Chip) -> int:
    weight = np.ones((n, 1), np.int64)
    synapses = Synapses("a->b", "a", "b", "dense", weight, 0, (1,), (n,))
    return int(synaptic_words(synapses, np.zeros(n, np.int64), chip)[0])


def _kernel_words(n: int, chip: Chip) -> int:
    weight = np.ones((n, 1, 1, 1), np.int64)
    synapses = Synapses("a->b", "a", "b", "conv2d", weight, 0, (1, 1, 1), (n, 1, 1))
    return int(synaptic_words(synapses, np.zeros(n, np.int64), chip)[0])


@given(data=st.data())
def test_words_follow_the_formula_on_every_core(
    data: st.DataObject, any_synapses: st.SearchStrategy[Synapses], chip: Chip
) -> None:
    synapses = data.draw(any_synapses)
    size = int(np.prod(synapses.out_shape))
    cores = st.integers(0, 2)
    core = np.array([*range(3), *data.draw(st.lists(cores, min_size=size, max_size=size))])[:size]
    words = synaptic_words(synapses, core, chip)
    for one in range(int(core.max()) + 1):
        assert words[one] == _slow_words(synapses, np.flatnonzero(core == one))


def _slow_words(synapses: Synapses, targets: np.ndarray) -> int:
    if synapses.kind == "dense":
        return synapses.in_shape[0] * -(-len(targets) * 32 // 128)
    if synapses.kind == "one-to-one":
        return len(targets)
    out_channels, per_group, height, width = synapses.weight.shape
    here = {int(target) // int(np.prod(synapses.out_shape[1:])) for target in targets}
    total = 0
    for group, _ in itertools.product(range(synapses.groups), range(per_group * height * width)):
        share = out_channels // synapses.groups
        n = len([c for c in here if group * share <= c < (group + 1) * share])
        total += -(-n * 8 // 128) + 1 if n else 0
    return total


def test_groups_are_distinct_combinations_of_shared_registers(
    chip: Chip, neurons: Callable[..., Neurons]
) -> None:
    population = neurons(
        "b", (6,), du=[1, 1, 2, 2, 1, 1], vth=[5, 5, 5, 7, 7, 5], bias_mant=range(6)
    )
    labels = group_labels(population, chip)
    assert len(set(labels.tolist())) == 4
    assert labels[0] == labels[1] == labels[5]
    use = Neurocores(chip).meter(population, ())(np.array([0, 0, 0, 1, 1, 1]))
    assert use["neuron_groups"].tolist() == [2, 3]


def test_axons_per_kind_of_connection(chip: Chip, neurons: Callable[..., Neurons]) -> None:
    shape = (2, 3, 3)
    dense = Synapses("a->b", "a", "b", "dense", np.ones((18, 7), np.int64), 0, (7,), shape)
    kernel = np.ones((2, 4, 3, 3), np.int64)
    conv = Synapses("c->b", "c", "b", "conv2d", kernel, 0, (4, 5, 5), shape)
    own = Synapses("b->b", "b", "b", "one-to-one", np.ones(18, np.int64), 0, shape, shape)
    population = neurons("b", shape)
    core = np.repeat([0, 1], [4, 14])
    use = Neurocores(chip).meter(population, (dense, conv, own))(core)
    assert use["input_axons"].tolist() == [7 + 1 + 4, 7 + 1 + 14]


def test_a_missing_register_is_named(chip: Chip, neurons: Callable[..., Neurons]) -> None:
    population = neurons("b", (3,))
    parameters = {"du": population.parameters["du"], "vth": population.parameters["vth"]}
    broken = Neurons("b", (3,), 1, parameters, np.ones(1))
    with pytest.raises(InputError, match="b: register dv is missing"):
        group_labels(broken, chip)
