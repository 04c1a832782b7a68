"""Synthetic stand-ins for event cameras: scenes in motion, and the events that a sensor sends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neurodeploy.models.data.glyphs import DIGITS, Faces, labels_of
from neurodeploy.models.data.outlines import SUB, inside, mean

SACCADE_SIZE, GESTURE_SIZE = 34, 32
SACCADES = np.array([[0.0, 0.0], [3.5, 7.0], [7.0, 0.0], [0.0, 0.0]])
"""Corners (x, y) of the triangle that N-MNIST's camera went along, in pixels.

Source: the authors' code that undoes the motion, as tonic.datasets.nmnist.stabilize has it.
"""
SACCADE_STEPS, GESTURE_STEPS = 15, 20
CONTRAST = 0.35
"""Change of log intensity for one event; the darkest point of a scene has 0.1 of the brightest."""
NOISE = 5e-4
"""Share of pixels, steps and polarities that hold an event for no reason."""

Events = NDArray[np.uint8]


def sensed(frames: NDArray[np.float64], rng: np.random.Generator) -> Events:
    """What an event camera sends: (T, 2, H, W), channel 0 darker, channel 1 brighter.

    Every pixel remembers the log intensity log(0.1 + 0.9 I) of its last event, and sends one where
    it has changed by `CONTRAST` or more; the memory follows in whole steps of it.  It starts at
    random, within half a step of the first frame, as a sensor's does.

    Parameters
    ----------
    frames: I within 0..1, (T + 1, H, W).
    """
    light = np.log(0.1 + 0.9 * frames)
    memory = light[0] + CONTRAST * rng.uniform(-0.5, 0.5, light[0].shape)
    events = np.empty((len(light) - 1, 2, *light.shape[1:]), np.uint8)
    for now, sent in zip(light[1:], events, strict=True):
        count = np.trunc((now - memory) / CONTRAST)
        memory += count * CONTRAST
        sent[0], sent[1] = count < 0, count > 0
    events[rng.uniform(size=events.shape) < NOISE] = 1
    return events


def saccades(size: int, rng: np.random.Generator) -> tuple[Events, NDArray[np.int64]]:
    """Digits seen along three saccades, 15 steps of 2 x 34 x 34, in the manner of N-MNIST."""
    faces = Faces()
    labels = labels_of(size, len(DIGITS), rng)
    along = np.linspace(0, 3, SACCADE_STEPS + 1)
    path = np.stack([np.interp(along, range(4), corner) for corner in SACCADES.T], axis=1)
    corners = np.round(SUB * (7 - path)).astype(int)  # of the sensor, in sub-pixels
    width = SUB * SACCADE_SIZE
    events = np.empty((size, SACCADE_STEPS, 2, SACCADE_SIZE, SACCADE_SIZE), np.uint8)
    for sample, label in zip(events, labels, strict=True):
        shape = faces.draw(DIGITS[label], rng) * rng.uniform(17, 21)
        shape += SACCADE_SIZE / 2 + 3.5 + rng.uniform(-1.5, 1.5, 2)
        still = inside(shape, SACCADE_SIZE + 7)
        frames = [mean(still[y : y + width, x : x + width]) for x, y in corners]
        sample[:] = sensed(np.stack(frames), rng)
    return events, labels


Motion = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], ...]]
"""Phase (periods, (T + 1,)) -> where each hand is, (T + 1, 2), x to the right and y downwards."""


def _around(x: float, y: float, turn: float, radius: float = 0.17, shift: float = 0.0) -> Motion:
    def motion(phase: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        angle = 2 * np.pi * (turn * phase + shift)
        return (np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1),)

    return motion


def _swing(x: float, y: float, dx: float, dy: float, shift: float = 0.0) -> Motion:
    def motion(phase: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        wave = np.sin(2 * np.pi * (phase + shift))
        return (np.stack([x + dx * wave, y + dy * wave], axis=1),)

    return motion


def _both(one: Motion, other: Motion) -> Motion:
    return lambda phase: (*one(phase), *other(phase))


GESTURES: dict[str, Motion] = {
    "clap": _both(_swing(0.3, 0.5, 0.15, 0), _swing(0.7, 0.5, -0.15, 0)),
    "right hand wave": _swing(0.28, 0.3, 0.17, 0),
    "left hand wave": _swing(0.72, 0.3, 0.17, 0),
    "right arm clockwise": _around(0.32, 0.5, 1),
    "right arm counter-clockwise": _around(0.32, 0.5, -1),
    "left arm clockwise": _around(0.68, 0.5, 1),
    "left arm counter-clockwise": _around(0.68, 0.5, -1),
    "arm roll": _both(_around(0.5, 0.5, 1), _around(0.5, 0.5, 1, shift=0.5)),
    "air drums": _both(_swing(0.3, 0.6, 0, 0.15), _swing(0.7, 0.6, 0, 0.15, shift=0.5)),
    "air guitar": _both(_swing(0.42, 0.68, 0.1, 0.12), _swing(0.75, 0.45, 0.03, 0)),
    "push up": _both(_swing(0.3, 0.4, 0, 0.2), _swing(0.7, 0.4, 0, 0.2)),
}
"""Eleven motions of one or two hands, ten of them named after DVS Gesture's classes."""


def gestures(size: int, rng: np.random.Generator) -> tuple[Events, NDArray[np.int64]]:
    """Hands as bright spots that move, 20 steps of 2 x 32 x 32, in the manner of DVS Gesture.

    Uniform: 1.2 to 2 periods in all, any phase, spots of radius 0.05 to 0.08 of the picture, the
    whole moved by up to 0.04 and scaled by 0.85 to 1.15, each step's place blurred by 0.006.
    """
    labels = labels_of(size, len(GESTURES), rng)
    motions = list(GESTURES.values())
    grid = (np.arange(GESTURE_SIZE) + 0.5) / GESTURE_SIZE
    events = np.empty((size, GESTURE_STEPS, 2, GESTURE_SIZE, GESTURE_SIZE), np.uint8)
    for sample, label in zip(events, labels, strict=True):
        phase = np.linspace(0, rng.uniform(1.2, 2), GESTURE_STEPS + 1) + rng.uniform()
        scale, move = rng.uniform(0.85, 1.15), rng.uniform(-0.04, 0.04, 2)
        radius = rng.uniform(0.05, 0.08)
        dark = np.ones((GESTURE_STEPS + 1, GESTURE_SIZE, GESTURE_SIZE))
        for hand in motions[label](phase):
            places = 0.5 + move + scale * (hand - 0.5) + 0.006 * rng.standard_normal(hand.shape)
            x, y = ((grid - places[:, [axis]]) ** 2 for axis in (0, 1))
            square = y[:, :, np.newaxis] + x[:, np.newaxis, :]
            dark *= 1 - np.exp(-square / (2 * radius**2))
        sample[:] = sensed(1 - dark, rng)
    return events, labels
