"""How populations are cut: every neuron on one core, no limit exceeded, diagnoses that help."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InputError
from neurodeploy.mapping.partition import exceeded, partition, violations
from neurodeploy.program import Neurons, Synapses
from neurodeploy.targets.loihi.neurocores import BOUNDS, Neurocores


@given(
    data=st.data(),
    limits=st.tuples(st.integers(1, 9), st.integers(1, 60), st.integers(1, 3), st.integers(1, 9)),
)
def test_no_limit_is_exceeded(
    data: st.DataObject,
    limits: tuple[int, int, int, int],
    any_synapses: st.SearchStrategy[Synapses],
    neurons: Callable[..., Neurons],
    with_limits: Callable[..., Neurocores],
) -> None:
    cores = with_limits(**dict(zip((b.limit for b in BOUNDS), limits, strict=True)))
    synapses = data.draw(any_synapses)
    size = int(np.prod(synapses.out_shape))
    vth = data.draw(st.lists(st.integers(1, 3), min_size=size, max_size=size))
    population = neurons("b", synapses.out_shape, vth=vth)
    if violations(population, (synapses,), cores):
        return
    core = partition(population, (synapses,), cores)
    sizes = np.bincount(core)
    assert core.shape == (size,)
    assert core.min() == 0
    assert sizes.min() > 0
    assert exceeded(cores.meter(population, (synapses,))(core), cores) == {}
    again = partition(population, (synapses,), cores)
    assert core.tolist() == again.tolist()


@given(
    data=st.data(),
    asked=st.lists(st.integers(1, 20), min_size=2, max_size=2).map(sorted),
    memory=st.integers(10, 60),
)
def test_more_cores_never_make_the_busiest_one_busier(
    data: st.DataObject,
    asked: list[int],
    memory: int,
    any_synapses: st.SearchStrategy[Synapses],
    neurons: Callable[..., Neurons],
    with_limits: Callable[..., Neurocores],
) -> None:
    cores = with_limits(synaptic_memory=memory)
    synapses = data.draw(any_synapses)
    population = neurons("b", synapses.out_shape)
    if violations(population, (synapses,), cores):
        return
    few, some = (np.bincount(partition(population, (synapses,), cores, n)) for n in asked)
    most = np.bincount(partition(population, (synapses,), cores))
    assert few.max() <= asked[0]
    assert few.max() <= some.max() <= most.max()
    assert len(few) >= len(some) >= len(most)


@pytest.mark.parametrize(
    ("layers", "cores"),
    [
        ((784, 128, 64, 10), [3, 1, 1]),  # 5 printed by lava-dl netx/mnist/run.ipynb
        ((2560, 100), [7]),  # 12 printed by netx/pilotnet_snn/benchmark.ipynb
        ((200, 256, 200), [2, 2]),  # 3 and 2 printed by netx/oxford/run.ipynb, an older compiler
    ],
)
def test_cores_of_published_networks(
    layers: tuple[int, ...],
    cores: list[int],
    neurocores: Neurocores,
    neurons: Callable[..., Neurons],
) -> None:
    used = []
    for into, out in itertools.pairwise(layers):
        weight = np.ones((out, into), np.int64)
        synapses = Synapses("a->b", "a", "b", "dense", weight, 0, (into,), (out,))
        used.append(int(partition(neurons("b", (out,)), (synapses,), neurocores).max()) + 1)
    assert used == cores


def test_images_are_cut_by_columns_and_large_kernels_by_channels(
    neurocores: Neurocores, neurons: Callable[..., Neurons]
) -> None:
    small = Synapses(
        "a->b", "a", "b", "conv2d", np.ones((8, 2, 3, 3), np.int64), 0, (2, 34, 34), (8, 32, 32)
    )
    core = partition(neurons("b", (8, 32, 32)), (small,), neurocores).reshape(8, 32, 32)
    assert core.max() + 1 == 3
    assert (core == core[0]).mean() > 0.99  # all channels of a pixel together
    assert (np.diff(core[0].T.reshape(-1)) >= 0).all()  # column after column
    large = Synapses(
        "a->b",
        "a",
        "b",
        "conv2d",
        np.ones((512, 256, 3, 3), np.int64),
        0,
        (256, 8, 8),
        (512, 6, 6),
    )
    core = partition(neurons("b", (512, 6, 6)), (large,), neurocores).reshape(512, 6, 6)
    assert core.max() + 1 == 8  # 64 channels a core: 2304 rows of 5 words are just below 12000
    assert (core == core[:, :1, :1]).all()


def test_many_thresholds_need_many_cores(
    neurocores: Neurocores, neurons: Callable[..., Neurons]
) -> None:
    core = partition(neurons("b", (100,), vth=range(1, 101)), (), neurocores)
    assert core.max() + 1 == 13  # eight groups a core
    per_channel = np.repeat(np.arange(16), 4)
    core = partition(neurons("b", (16, 2, 2), vth=per_channel), (), neurocores).reshape(16, 4)
    assert core.max() + 1 == 2
    assert (core == core[:, :1]).all()


def test_a_neuron_that_fits_no_core_is_explained(
    neurocores: Neurocores, neurons: Callable[..., Neurons]
) -> None:
    weight = np.ones((2, 12_001), np.int64)
    synapses = Synapses("a->b", "a", "b", "dense", weight, 0, (12_001,), (2,))
    (violation,) = violations(neurons("b", (2,)), (synapses,), neurocores)
    assert violation.rule == "loihi2.synaptic-memory"
    assert (violation.node, violation.measured, violation.limit) == ("b", 12_001, 12_000)
    assert "reduce its fan-in to 99.9%" in violation.fix  # rounded down
    fixed = Synapses("a->b", "a", "b", "dense", weight[:, 1:], 0, (12_000,), (2,))
    assert violations(neurons("b", (2,)), (fixed,), neurocores) == ()


def test_an_empty_population_is_refused(
    neurocores: Neurocores, neurons: Callable[..., Neurons]
) -> None:
    with pytest.raises(InputError, match="no neurons"):
        violations(neurons("b", (0,)), (), neurocores)


def test_every_bound_has_a_limit(neurocores: Neurocores, neurons: Callable[..., Neurons]) -> None:
    limits = [bound.limit for bound in BOUNDS]
    assert list(neurocores.meter(neurons("b", (3,)), ())(np.zeros(3, np.int64))) == limits
    assert set(limits) <= set(neurocores.chip.limits)
