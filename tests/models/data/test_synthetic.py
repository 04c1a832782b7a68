"""The computed data sets: what they hold, and that a seed gives the same samples."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.models.data import SYNTHETIC, load, names
from neurodeploy.models.data.events import CONTRAST, sensed
from neurodeploy.models.data.glyphs import CHARACTERS
from neurodeploy.models.data.outlines import FACES, Face, coverage

SHAPES = {
    "digits": (1, 8, 8),
    "glyphs28": (1, 28, 28),
    "glyphs32": (3, 32, 32),
    "glyphs32-100": (3, 32, 32),
    "saccades": (15, 2, 34, 34),
    "gestures": (20, 2, 32, 32),
}
DIGESTS = {
    "glyphs28": "7bb68219d8b2d690",
    "glyphs32": "3854f43435f48c6a",
    "glyphs32-100": "b8b673e95b0966b9",
    "saccades": "a054986f291c6b10",
    "gestures": "eec0ed3f2ba8ea37",
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_seed_gives_the_same_samples(name: str) -> None:
    data, again = (load(name, train=23, test=11) for _ in range(2))
    assert data.train_x.shape == (23, *SHAPES[name])
    assert data.test_x.shape == (11, *SHAPES[name])
    assert np.array_equal(data.train_x, again.train_x)
    assert np.array_equal(data.test_x, again.test_x)
    assert np.array_equal(data.test_y, again.test_y)
    other = load(name, seed=1, train=23, test=11)
    assert not np.array_equal(other.train_x, data.train_x)
    train = {sample.tobytes() for sample in data.train_x}
    assert not any(sample.tobytes() in train for sample in data.test_x)
    assert data.synthetic == (name != "digits") == data.source.startswith("synthetic stand-in")


@pytest.mark.parametrize("name", DIGESTS)
def test_the_samples_are_those_of_every_machine(name: str) -> None:
    data = load(name, train=23, test=11)
    levels = np.round(255 * data.train_x).astype(np.uint8)
    digest = hashlib.sha256(levels.tobytes() + data.train_y.astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == DIGESTS[name]


def test_classes_are_balanced_and_parts_independent() -> None:
    data = load("gestures", train=25, test=11)
    assert np.bincount(data.train_y).tolist() == [3, 3, 3, *[2] * 8]
    assert np.array_equal(np.sort(data.test_y), np.arange(11))
    assert np.array_equal(load("gestures", train=3, test=11).test_x, data.test_x)


def test_every_character_is_in_every_face_that_draws_it() -> None:
    """A face without a character would draw the box that stands for it."""
    assert len(set(CHARACTERS)) == 100
    for name in FACES:
        face = Face(name)
        assert [character for character in CHARACTERS if character not in face] == []


def test_an_outline_is_centred_and_its_pixels_are_its_area() -> None:
    shape = Face("DejaVuSans").outline("0")
    assert np.allclose(shape.reshape(-1, 2).min(axis=0) + shape.reshape(-1, 2).max(axis=0), 0)
    assert np.ptp(shape[..., 1]) == pytest.approx(1)
    (x0, y0), (x1, y1) = shape[:, 0].T, shape[:, 1].T
    area = abs((x0 * y1 - x1 * y0).sum()) / 2  # of the ring: the hole runs the other way round
    pixels = coverage(shape * 60 + 32, 64)
    assert pixels.sum() / 60**2 == pytest.approx(area, rel=0.01)
    assert pixels[32, 32] == 0  # the hole
    assert pixels[:, 32].max() == 1


def test_an_outline_may_leave_the_picture() -> None:
    square = np.array([[[0, 0], [4, 0]], [[4, 0], [4, 4]], [[4, 4], [0, 4]], [[0, 4], [0, 0]]])
    assert np.array_equal(coverage(square + 6.0, 8)[6:, 6:], np.ones((2, 2)))
    assert coverage(square - 2.0, 8).sum() == 4
    assert coverage(square + 100.0, 8).sum() == 0


def test_events_are_changes_of_log_intensity() -> None:
    frames = np.zeros((4, 200, 200))
    frames[1:3, 0] = 1  # brightens by log 10, then darkens by it
    frames[1:, 1] = (np.exp(0.4 * CONTRAST) - 1) / 9  # by less than half an event
    events = sensed(frames, np.random.default_rng(0))
    assert events[0, 1, 0].all()
    assert not events[0, 0, 0].all()
    assert events[2, 0, 0].all()
    assert events[1, :, 0].mean() < 0.01
    assert events[:, 1, 1].mean() < 0.5  # it may pass a threshold, where the memory began high
    assert 1e-4 < events[:, :, 2:].mean() < 1e-3  # noise alone


def test_saccades_begin_downwards_to_the_right_and_end_to_the_left() -> None:
    data = load("saccades", train=100, test=1)
    columns = np.arange(34)

    def centre(step: int) -> float:
        events = data.train_x[:, step, 1].sum(axis=(0, 1))
        return float((events * columns).sum() / events.sum())

    assert centre(4) > centre(0) + 1
    assert centre(14) < centre(10) - 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist", {}, "glyphs28"),
        ("digits", {"train": 1348}, "1..1347"),
        ("digits", {"root": "here"}, "not read from a folder"),
        ("glyphs28", {"test": 0}, "0 samples"),
        ("glyphs28", {"train": 10**9}, "1000000000 samples"),
    ],
)
def test_what_cannot_be_had_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(name, **options)


def test_data_sets_need_no_torch() -> None:
    code = (
        "import sys; from neurodeploy.models.data import load\n"
        "load('gestures', train=1, test=1); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(SHAPES) == {"digits", *SYNTHETIC} < set(names())
