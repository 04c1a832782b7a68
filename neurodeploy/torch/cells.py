"""What `ChipModule` needs of a target: its arithmetic on tensors, with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from neurodeploy.program import Neurons, Synapses

Group = Literal["weight", "bias", "threshold"]
"""What can be trained."""
States = tuple[Tensor, ...]
"""One tensor (samples, neurons) each; the last is whether the neurons fired."""
Registers = Mapping[str, Tensor]


@dataclass(frozen=True)
class Levels:
    """The values that a chip's parameter can have.

    Attributes
    ----------
    step: they are its multiples; 0 where every float32 is one.
    low, high: the least and the greatest.
    """

    step: float
    low: float
    high: float

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)

    def nearest(self, master: Tensor) -> Tensor:
        """The nearest of these values, halves to even multiples.

        The gradient passes straight through, except where it would move a value that is clipped
        already further out: that is dropped.
        """
        found: Tensor = _Nearest.apply(master, self)  # type: ignore[no-untyped-call]
        return found


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, master: Tensor, levels: Levels) -> Tensor:
        ctx.save_for_backward(master)
        ctx.levels = levels
        found = master.clamp(levels.low, levels.high)
        return found if levels.step == 0 else torch.round(found / levels.step) * levels.step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (master,), levels, (gradient,) = ctx.saved_tensors, ctx.levels, gradients
        outward = (master < levels.low) & (gradient > 0) | (master > levels.high) & (gradient < 0)
        return gradient.masked_fill(outward, 0), None


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def through(smooth: Tensor, exact: Tensor) -> Tensor:
    """`exact`, of which the gradient passes straight through to `smooth`."""
    found: Tensor = _Through.apply(smooth, exact)  # type: ignore[no-untyped-call]
    return found


@dataclass(frozen=True)
class Register:
    """A register that can be trained: its name, and the values that it can have."""

    name: str
    levels: Levels


@dataclass(frozen=True, eq=False)
class Ran:
    """What neurons did in some steps.

    Attributes
    ----------
    potential: as it is compared with the threshold, (steps, samples, neurons).
    states: after the last step.
    recorded: states after every step by name, where asked for.
    clipped: whether a state was saturated anywhere.
    """

    potential: Tensor
    states: States
    recorded: Mapping[str, Tensor]
    clipped: bool = False


class Cells(Protocol):
    """One population's neurons.

    Chip units throughout; tensors of `dtype`, of the neurons in C order.
    """

    @property
    def dtype(self) -> torch.dtype:
        """Of currents and states."""

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the neurons' inputs; the first takes their own spikes."""

    @property
    def trained(self) -> Mapping[Group, Register]:
        """What of them can be trained."""

    def following(self, registers: dict[str, Tensor]) -> dict[str, Tensor]:
        """All registers, those that follow from a trained one brought up to date."""

    def prepare(self, registers: Registers) -> dict[str, Tensor]:
        """What steps need of the registers, with its gradient; see `learned`.

        `threshold`: what a potential is compared with.
        """

    @property
    def learned(self) -> tuple[str, ...]:
        """Those of `prepare` that have a gradient."""

    def start(self, registers: Registers, samples: int) -> States:
        """The states before the first step, with their gradient.

        Raises `InputError` where the neurons cannot start from there.
        """

    def fires(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """Which neurons fire: bool."""

    def run(
        self,
        currents: Mapping[str, Tensor],
        states: States,
        constants: Registers,
        first: int,
        record: bool,
    ) -> Ran:
        """Some steps, bit for bit the chip's.

        Parameters
        ----------
        currents: by port, (steps, samples, neurons), exact.
        first: which step of a sample comes first.
        """

    def back(
        self,
        gradient: Tensor,
        states: States,
        potential: Tensor,
        constants: Registers,
        first: int,
        clipped: bool,
    ) -> tuple[dict[str, Tensor], States, dict[str, Tensor]]:
        """The reverse of `run`: gradients by port, of the states before, and of `learned`.

        Parameters
        ----------
        gradient: of the potential, with what comes from its spike; (steps, samples, neurons).
        states: gradients of the states after the last step, without the last.
        """


class Arithmetic(Protocol):
    """A chip's synapses and neurons on tensors."""

    def levels(self, synapses: Synapses, target: Neurons, together: tuple[Synapses, ...]) -> Levels:
        """The values that a weight can have: those of the grid that the weights lie on now.

        `together`: all synapses to `target` that share a grid, `synapses` among them.
        """

    def activation(self, total: Tensor, synapses: Synapses, bound: float) -> Tensor:
        """What a population receives for exact sums of magnitude up to `bound`, with a gradient."""

    def cells(self, population: Neurons, own: Any, bound: Mapping[str, float]) -> Cells:
        """The neurons of `population`.

        Parameters
        ----------
        own: int64 (neurons,), what a neuron's spike adds to its own current one step later.
        bound: by port, the largest magnitude of a current.

        Raises
        ------
        ModelError
            Neurons that have no gradient here, or sums that are not exact.
        """
