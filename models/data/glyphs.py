"""Synthetic stand-ins for images: characters rendered from outlines, distorted and noisy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurodeploy.models.data.outlines import FACES, Face, Outline, coverage, distorted

DIGITS = "0123456789"
CHARACTERS = (
    DIGITS
    + "ABDEFGHJKLMNPQRTUY"
    + "abcdefghikmnqrstuvwxz"
    + "ΓΔΘΛΞΠΣΦΨΩ"
    + "αβγδεζηθλμξπσφχψω"
    + "ЖЯЮШ"
    + "#%&@?!+=<>{}[]()*§€£"
)
"""100 characters that differ by more than their size, which is normalised."""
GREY_SIZE, COLOUR_SIZE = 28, 32

Images = NDArray[np.float32]


class Faces:
    """Random distorted characters, 1 high."""

    def __init__(self) -> None:
        self._faces = [Face(name) for name in FACES]

    def draw(self, character: str, rng: np.random.Generator) -> Outline:
        """`character` in a random face, distorted."""
        face = self._faces[rng.integers(len(self._faces))]
        return distorted(face.outline(character), rng)


def labels_of(size: int, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels (size,) in random order, each class as often as the others up to one."""
    return rng.permutation(np.arange(size) % classes).astype(np.int64)


def grey(size: int, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
    """Digits in 16 faces, bright on black, 1 x 28 x 28, with noise of 0.04."""
    faces = Faces()
    labels = labels_of(size, len(DIGITS), rng)
    images = np.empty((size, 1, GREY_SIZE, GREY_SIZE), np.float32)
    for image, label in zip(images, labels, strict=True):
        shape = faces.draw(DIGITS[label], rng) * rng.uniform(18, 22)
        shape += GREY_SIZE / 2 + rng.uniform(-2, 2, 2)
        ink = coverage(shape, GREY_SIZE) * rng.uniform(0.7, 1)
        image[0] = _levels(ink + 0.04 * rng.standard_normal(ink.shape))
    return images, labels


def colour(size: int, rng: np.random.Generator, classes: int) -> tuple[Images, NDArray[np.int64]]:
    """The first `classes` characters in 16 faces, 3 x 32 x 32, coloured on a textured background.

    The background is a random colour and three waves of random direction; the character's colour
    differs from it by at least 0.4 in one of the channels.
    """
    faces = Faces()
    labels = labels_of(size, classes, rng)
    images = np.empty((size, 3, COLOUR_SIZE, COLOUR_SIZE), np.float32)
    rows, columns = np.mgrid[:COLOUR_SIZE, :COLOUR_SIZE] / COLOUR_SIZE
    for image, label in zip(images, labels, strict=True):
        shape = faces.draw(CHARACTERS[label], rng) * rng.uniform(22, 26)
        shape += COLOUR_SIZE / 2 + rng.uniform(-2, 2, 2)
        ink = coverage(shape, COLOUR_SIZE)
        back, front = rng.uniform(0, 1, (2, 3))
        while np.abs(front - back).max() < 0.4:
            front = rng.uniform(0, 1, 3)
        texture = np.zeros((3, COLOUR_SIZE, COLOUR_SIZE))
        for _ in range(3):
            fx, fy, phase = rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform()
            wave = np.sin(2 * np.pi * (fx * columns + fy * rows + phase))
            texture += 0.06 * rng.uniform(0, 1, (3, 1, 1)) * wave
        behind = back[:, np.newaxis, np.newaxis] + texture
        mixed = behind + ink * (front[:, np.newaxis, np.newaxis] - behind)
        image[:] = _levels(mixed + 0.03 * rng.standard_normal(mixed.shape))
    return images, labels


def _levels(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """256 grey levels within 0..1, so that the last bits of a sine leave no trace."""
    levels: NDArray[np.float64] = np.round(255 * np.clip(image, 0, 1)) / 255
    return levels
