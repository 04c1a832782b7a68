"""The DVS-gesture network that Arfa et al. ran on a SpiNNaker2 chip, and gestures drawn for it.

Arfa, Vogginger, Liu, Partzsch, Schöne, Mayr, NICE 2025, arXiv 2504.06748: 2x32x32 events, three
convolutions without bias, sum pooling, two dense layers; decay 0.93, threshold 1, subtraction;
25,504 weights, 7,859 neurons.  Theirs are trained, ours random; their events are recorded, ours
drawn.
"""

from __future__ import annotations

import nir
import numpy as np

from neurodeploy.network import Network
from neurodeploy.semantics import Semantics
from neurodeploy.trace import Spikes
from tests.builders import AT_ONCE, conv, lif, network

SHAPE = (2, 32, 32)
PARAMETERS, NEURONS, CLASSES = 25_504, 7_859, 11
DECAY = 0.93


def dvs_gesture(seed: int = 0, semantics: Semantics = AT_ONCE) -> Network:
    """The network with random weights, scaled so that every layer spikes on `gestures`."""
    rng = np.random.default_rng(seed)

    def weight(gain: float, *shape: int) -> np.ndarray:
        return rng.normal(0.1, 1.0, shape) * gain / np.sqrt(np.prod(shape[1:]))

    def leaky(*shape: int) -> nir.LIF:
        return lif(np.full(shape, DECAY), semantics=semantics)

    def pool() -> nir.SumPool2d:
        return nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))

    return network(
        SHAPE,
        conv1=conv(weight(1.6, 16, 2, 5, 5), stride=2, padding=1),
        lif1=leaky(16, 15, 15),
        conv2=conv(weight(1.2, 16, 16, 3, 3), padding=1),
        lif2=leaky(16, 15, 15),
        pool2=pool(),
        conv3=conv(weight(0.7, 8, 16, 3, 3), padding=1),
        lif3=leaky(8, 7, 7),
        pool3=pool(),
        flatten=nir.Flatten({"input": np.array([8, 3, 3])}, 0, -1),
        fc1=nir.Linear(weight(0.7, 256, 72)),
        lif4=leaky(256),
        fc2=nir.Linear(weight(0.8, CLASSES, 256)),
        lif5=leaky(CLASSES),
    )


def gestures(seed: int, samples: int, steps: int) -> Spikes:
    """Events of a hand that circles: uint8 (samples, steps, 2, 32, 32).

    A disc moves on a circle, its speed, size and direction drawn.  Where the picture gets brighter
    from one step to the next there is an event in channel 0, where darker in channel 1; one pixel
    in a thousand has noise.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    frames = np.arange(steps + 1)
    events = np.zeros((samples, steps, *SHAPE), np.uint8)
    for sample in range(samples):
        turn = rng.choice([-1, 1]) * rng.uniform(0.05, 0.15)
        angle = rng.uniform(0, 2 * np.pi) + turn * frames
        size, reach = rng.uniform(3, 6), rng.uniform(5, 9)
        up, across = 16 + reach * np.sin(angle), 16 + reach * np.cos(angle)
        away = np.hypot(y - up[:, None, None], x - across[:, None, None])
        change = np.diff((away < size).astype(np.int8), axis=0)
        events[sample, :, 0], events[sample, :, 1] = change > 0, change < 0
    return events | (rng.random(events.shape) < 1e-3).astype(np.uint8)
