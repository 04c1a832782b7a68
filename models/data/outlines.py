"""Characters as outlines of the fonts that matplotlib brings along, and outlines as pixels.

Outlines are moved, turned and bent before they become pixels, by arithmetic that gives the same
images on every machine; no rasteriser of the system takes part.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUB = 4
"""Sub-pixels per pixel and axis: a pixel has SUB² + 1 grey levels."""
LONGEST = 0.06
"""Longer edges of an outline are divided, so that they bend; in heights of a character."""
CURVE = 6
"""Lines per curve of a font."""
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)

Outline = NDArray[np.float64]
"""Edges (E, 2, 2): from and to, each x and y, y downwards."""


class Face:
    """One of `FACES`; each outline is made once."""

    def __init__(self, name: str) -> None:
        import matplotlib
        from fontTools.ttLib import TTFont

        font = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf")
        self._glyphs, self._names = font.getGlyphSet(), font.getBestCmap()
        self._outlines: dict[str, Outline] = {}

    def __contains__(self, character: str) -> bool:
        return ord(character) in self._names

    def outline(self, character: str) -> Outline:
        """The character, its middle at 0 and the larger of width and height 1."""
        if character not in self._outlines:
            self._outlines[character] = _outline(self._glyphs, self._names[ord(character)])
        return self._outlines[character]


def _outline(glyphs: Any, name: str) -> Outline:
    """From the integers of the font file, so that no version of a font library matters."""
    from fontTools.pens.recordingPen import DecomposingRecordingPen

    pen = DecomposingRecordingPen(glyphs)
    glyphs[name].draw(pen)
    polygons = _polygons(pen.value)
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    size = (high - low).max()
    edges = []
    for polygon in polygons:
        scaled = (polygon - (low + high) / 2) / size * (1, -1)
        for start, end in itertools.pairwise([*scaled, scaled[0]]):
            parts = max(1, int(np.ceil(np.abs(end - start).max() / LONGEST)))
            between = start + np.arange(parts + 1)[:, np.newaxis] / parts * (end - start)
            edges.append(np.stack([between[:-1], between[1:]], axis=1))
    return np.concatenate(edges)


def _polygons(record: list[tuple[str, tuple[Any, ...]]]) -> list[NDArray[np.float64]]:
    """Closed polygons (P, 2) from what a pen recorded of a TrueType outline."""
    polygons: list[list[NDArray[np.float64]]] = []
    for operation, arguments in record:
        if operation == "closePath":
            continue
        if operation == "qCurveTo" and arguments[-1] is None:  # no point of it is on the curve
            between = np.add(arguments[0], arguments[-2]) / 2
            polygons.append([between])
            arguments = (*arguments[:-1], tuple(between))
        *controls, end = (np.array(point, float) for point in arguments)
        if operation == "moveTo":
            polygons.append([end])
        elif operation == "lineTo":
            polygons[-1].append(end)
        else:
            implied = [(one + other) / 2 for one, other in itertools.pairwise(controls)]
            for control, stop in zip(controls, [*implied, end], strict=True):
                start = polygons[-1][-1]
                for t in np.arange(1, CURVE + 1) / CURVE:
                    polygons[-1].append(
                        (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * stop
                    )
    return [np.array(polygon) for polygon in polygons]


def distorted(shape: Outline, rng: np.random.Generator) -> Outline:
    """Turned, sheared and scaled at random, and bent by waves (an elastic distortion).

    Uniform: ±0.25 rad, shear ±0.2, each axis by 0.8 to 1.05, two waves of at most 0.03 of the
    character's size and 0.5 to 1.2 periods across it.
    """
    turn, shear = rng.uniform(-1, 1, 2) * (0.25, 0.2)
    scale = rng.uniform(0.8, 1.05, 2)
    sine, cosine = np.sin(turn), np.cos(turn)
    x, y = shape[..., 0] * scale[0], shape[..., 1] * scale[1]
    x = x + shear * y
    x, y = cosine * x - sine * y, sine * x + cosine * y
    for _ in range(2):
        amplitude = 0.03 * rng.uniform(-1, 1, 2)
        frequency, phase = rng.uniform(0.5, 1.2, 2), rng.uniform(0, 1)
        wave = np.sin(2 * np.pi * (frequency[0] * x + frequency[1] * y + phase))
        x, y = x + amplitude[0] * wave, y + amplitude[1] * wave
    return np.stack([x, y], axis=-1)


def inside(shape: Outline, size: int) -> NDArray[np.bool_]:
    """Which sub-pixels (size SUB, size SUB) are inside of the outline, which is in pixels.

    Along each line of sub-pixels the outline's crossings are counted with their direction; a
    sub-pixel is inside where that winding number is not 0.
    """
    rows = (np.arange(size * SUB)[:, np.newaxis] + 0.5) / SUB
    (x0, y0), (x1, y1) = shape[:, 0].T, shape[:, 1].T
    row, edge = np.nonzero((y0 <= rows) != (y1 <= rows))
    at = x0[edge] + (rows[row, 0] - y0[edge]) / (y1[edge] - y0[edge]) * (x1[edge] - x0[edge])
    column = np.clip(np.ceil(at * SUB - 0.5), 0, size * SUB).astype(np.intp)
    turns = np.zeros((size * SUB, size * SUB + 1), np.int64)
    np.add.at(turns, (row, column), np.where(y0[edge] < y1[edge], 1, -1))
    found: NDArray[np.bool_] = turns[:, :-1].cumsum(axis=1) != 0
    return found


def mean(sub: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of each pixel's sub-pixels, 0 to 1 in steps of 1/SUB²."""
    height, width = sub.shape
    share: NDArray[np.float64] = sub.reshape(height // SUB, SUB, width // SUB, SUB).mean(
        axis=(1, 3)
    )
    return share


def coverage(shape: Outline, size: int) -> NDArray[np.float64]:
    """How much of each pixel (size, size) the outline covers; see `inside`."""
    return mean(inside(shape, size))
