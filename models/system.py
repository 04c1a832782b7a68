"""What a training system is: the interface of every model file here, and the registry by name.

A system is a module: a recipe, how a network is built, trained and evaluated, what of it goes onto
a chip, what is known of the paper, and the ablation that the paper claims.  This module needs no
torch.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

SYSTEMS = {
    "baseline": "digits",
    "layernorm": "layernorm",
    "deep-residual": "deep_residual",
    "quantised": "quantised",
    "ds-atgo": "ds_atgo",
    "admm": "admm",
}
"""Name of a system -> its module below `neurodeploy.models`."""
EXTRA = "pip install 'neurodeploy-snn[models]'"


@dataclass(frozen=True)
class Data:
    """A data set in memory, split into training and test samples.

    Attributes
    ----------
    name: as `load` knows it.
    train_x, test_x: images float32 (N, C, H, W) within 0..1, or events uint8 (N, T, C, H, W) with
        values 0 and 1.
    train_y, test_y: int64 (N,) with values 0..classes-1.
    source: where the samples come from; begins with "synthetic stand-in" where `synthetic`.

    Raises
    ------
    InputError: for another shape, dtype or value; all of them at once.
    """

    name: str
    train_x: NDArray[Any]
    train_y: NDArray[np.int64]
    test_x: NDArray[Any]
    test_y: NDArray[np.int64]
    classes: int
    source: str
    synthetic: bool

    def __post_init__(self) -> None:
        found = [
            *problems("training samples", self.train_x, self.train_y, self.classes),
            *problems("test samples", self.test_x, self.test_y, self.classes),
        ]
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            found.append(
                f"training samples are {self.train_x.shape[1:]}, "
                f"but test samples {self.test_x.shape[1:]}"
            )
        if found:
            raise InputError("; ".join(found), node=self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image or one step of events: (C, H, W)."""
        return self.train_x.shape[-3:]

    @property
    def steps(self) -> int | None:
        """Time steps of the events; None for images."""
        return self.train_x.shape[1] if self.train_x.ndim == 5 else None


def problems(what: str, x: NDArray[Any], y: NDArray[Any], classes: int) -> list[str]:
    """What is wrong with samples and their labels, for which `Data` says what is right."""
    found = []
    if x.ndim not in (4, 5) or 0 in x.shape:
        found.append(f"{what} have shape {x.shape}, not (N, C, H, W) or (N, T, C, H, W)")
    elif x.ndim == 4 and (x.dtype != np.float32 or not (x.min() >= 0 and x.max() <= 1)):
        found.append(f"{what} are not images float32 within 0..1, but {_reach(x)}")
    elif x.ndim == 5 and (x.dtype != np.uint8 or x.max() > 1):
        found.append(f"{what} are not events uint8 of 0 and 1, but {_reach(x)}")
    if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        found.append(f"{what} have labels {y.dtype} of shape {y.shape}, not integers ({len(x)},)")
    elif y.size and not 0 <= y.min() <= y.max() < classes:
        found.append(f"labels of {what} reach {y.min()}..{y.max()}, not within 0..{classes - 1}")
    return found


def check_samples(x: NDArray[Any], y: NDArray[Any], classes: int) -> None:
    """Raises `InputError` where samples and labels are not as `Data` has them."""
    found = problems("samples", x, y, classes)
    if found:
        raise InputError("; ".join(found), node="samples")


def _reach(x: NDArray[Any]) -> str:
    return f"{x.dtype} from {x.min()} to {x.max()}"


@dataclass(frozen=True)
class Deployable:
    """The part of a trained network that goes onto a chip, and the host's part before it.

    Attributes
    ----------
    module: a plain snnTorch network, as `from_snntorch` takes it: no layer norm, no quantiser,
        thresholds as numbers.
    sample: float32 (1, *shape): one step's input of the module.
    encode: samples as in `Data` -> spikes uint8 (N, T, *shape), which the host sends: a rate code,
        the events themselves, or the first layer and its neurons run on the host.
    """

    module: nn.Module
    sample: Tensor
    encode: Callable[[NDArray[Any]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Arm:
    """One arm of an ablation: `values`, one for each seed, in the ablation's order of seeds."""

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds, of a sample (n - 1); 0 for a single seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0


@dataclass(frozen=True)
class Ablation:
    """One measure over the arms of an experiment.

    Attributes
    ----------
    claim: what the paper claims, in one sentence, with its source.
    measure: what the values are, such as "test accuracy after 6 epochs".
    unit: of the values; "1" for shares, which tables show as per cent.
    data: name of the data set.
    outcome: what came out, in one sentence, computed from the arms and never written beforehand.
    """

    claim: str
    measure: str
    unit: str
    data: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    outcome: str

    def __getitem__(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


class Recipe(Protocol):
    """What every recipe says; recipes are frozen dataclasses whose fields have defaults."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def seed(self) -> int: ...


class System(Protocol):
    """A training system; a module offers it.  `recipe` is of the system's own class.

    `DATA` names the data sets of its rows in the table of models; the first is its default.
    """

    RECIPE: Any
    DATA: tuple[str, ...]

    def build(self, recipe: Any = ..., shape: tuple[int, ...] = ..., classes: int = ...) -> Any:
        """The untrained network (an `nn.Module`) for samples of `shape` (C, H, W)."""

    def train(self, data: Data, recipe: Any = ..., *, checkpoint: Path | None = None) -> Any:
        """A trained network (an `nn.Module`) in evaluation mode.

        With a checkpoint file it goes on from there, if that exists, to the identical result.
        """

    def evaluate(self, net: Any, x: NDArray[Any], y: NDArray[np.int64]) -> float:
        """The share of samples (as in `Data`) that the float network classifies correctly."""

    def deploy(self, net: Any, data: Data) -> Deployable:
        """What of `net` goes onto a chip; training samples may serve as calibration."""

    def describe(self) -> dict[str, Any]:
        """The model card as plain data.

        At least: "name", "title", "paper" (with DOI or arXiv number), "known" and "ours" (lists of
        sentences: what is known of the paper and from where, what we chose where it is not), and
        "neuron", "encoding", "decision".
        """

    def ablation(self, seeds: Sequence[int]) -> tuple[Ablation, ...]:
        """The experiment that the paper's claim asks for, trained anew, one entry per measure."""


def system(name: str) -> System:
    """The training system `name`.

    Raises
    ------
    ModelError: if there is none, or torch or another package of the extra `models` is missing.
    """
    if name not in SYSTEMS:
        raise ModelError("no such training system", node=name, hint=f"There are {[*SYSTEMS]}.")
    try:
        module = importlib.import_module(f"{__name__.rpartition('.')[0]}.{SYSTEMS[name]}")
    except ImportError as error:
        raise ModelError(f"needs {error.name}", node=name, hint=EXTRA) from error
    return cast(System, module)
