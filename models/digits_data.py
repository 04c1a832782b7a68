"""The handwritten digits of the demo as spikes: data, split and encoding, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurodeploy.errors import InputError
from neurodeploy.models.encoding import rate_code

LEVELS = 16  # the brightest pixel value of the data set, and the steps in which it is all spent
TEST_SIZE = 450


@dataclass(frozen=True)
class Digits:
    """Images uint8 (N, 8, 8) with values 0..16 and labels int64 (N,) with values 0..9."""

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]


def load_data(seed: int = 0) -> Digits:
    """The 1,797 digits bundled with scikit-learn, as 1,347 training and 450 test images.

    The split is drawn by `seed` and stratified: every class has the same share in both parts, up to
    rounding.  No image is in both.  The same people may have written in both, so the accuracy says
    nothing about unknown writers.

    Source: UCI "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998), its test
    part, as `sklearn.datasets.load_digits` returns it.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    train, test = split(labels, seed)
    return Digits(images[train], labels[train], images[test], labels[test])


def split(
    labels: npt.NDArray[np.int64], seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the training and of the `TEST_SIZE` test samples, disjoint and stratified."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=seed
    )
    return train, test


def encode(images: npt.NDArray[np.uint8], steps: int = LEVELS) -> npt.NDArray[np.uint8]:
    """The `rate_code` of the digits: in 16 steps as many spikes as the pixel value says.

    Parameters
    ----------
    images: integers (N, 8, 8) with values 0..16.
    steps: the number of time steps T, at least 1.

    Returns
    -------
    uint8 (N, T, 1, 8, 8) with values 0 and 1.

    Raises
    ------
    InputError: for another shape, dtype or value.
    """
    if images.ndim != 3 or images.shape[1:] != (8, 8):
        raise InputError(f"images have shape {images.shape}, not (N, 8, 8)", node="images")
    if not np.issubdtype(images.dtype, np.integer):
        raise InputError(f"images are {images.dtype}, not integers", node="images")
    if images.size and not 0 <= images.min() <= images.max() <= LEVELS:
        raise InputError(
            f"pixel values reach from {images.min()} to {images.max()}, not within 0..{LEVELS}",
            node="images",
        )
    return rate_code(images[:, np.newaxis] / LEVELS, steps)
