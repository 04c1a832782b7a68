"""What fine-tuning does in one epoch, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neurodeploy.errors import ModelError
from neurodeploy.program import Program
from neurodeploy.torch.chip_module import ChipModule
from neurodeploy.torch.epochs import Stateful
from neurodeploy.torch.spike_cost import synaptic_events
from neurodeploy.trace import Messages


class Figures(Protocol):
    """The part of a recipe that a trainer needs; see `finetuning.Recipe`."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def logits_per_spike(self) -> float: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def price(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Messages by input (samples, steps, *shape), and int64 labels (samples,)."""

    inputs: Mapping[str, Tensor]
    labels: Tensor

    @classmethod
    def of(
        cls, inputs: Mapping[str, Messages], labels: NDArray[np.int64], index: NDArray[np.int64]
    ) -> Samples:
        """Some of all samples."""
        parts = {name: torch.from_numpy(array[index]) for name, array in inputs.items()}
        return cls(parts, torch.from_numpy(labels[index]))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, device: str) -> tuple[dict[str, Tensor], Tensor]:
        """Some of the samples as the module takes them."""
        given = {name: array[index].to(device).float() for name, array in self.inputs.items()}
        return given, self.labels[index].to(device)


class Best:
    """The state of the module with most right decisions, of equals that with the least loss."""

    def __init__(self) -> None:
        self.epoch, self.correct, self.loss = -1, -1, float("inf")
        self.state: dict[str, Tensor] = {}

    def offer(self, epoch: int, correct: int, loss: float, state: Mapping[str, Tensor]) -> None:
        """Keep this one if it is better."""
        if (-correct, loss) < (-self.correct, self.loss):
            self.epoch, self.correct, self.loss = epoch, correct, loss
            self.state = {name: value.detach().cpu().clone() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """The inverse."""
        for name in vars(self):
            setattr(self, name, state_dict[name])


class Trainer:
    """A module in training on a chip's arithmetic."""

    def __init__(
        self,
        module: ChipModule,
        program: Program,
        recipe: Figures,
        training: Samples,
        validation: Samples,
        device: str,
    ) -> None:
        self.module, self.recipe, self.device = module.to(device), recipe, device
        self.output = program.output
        self.potentials = program.population(program.output).readout == "membrane"
        self.training, self.validation = training, validation
        trained = [p for p in module.parameters() if p.requires_grad and p.detach().any()]
        self.optimizer = torch.optim.Adam(
            [
                {"params": [p], "lr": recipe.learning_rate * p.detach().abs().max().item()}
                for p in trained
            ]
        )
        updates = recipe.epochs * -(-len(training) // recipe.batch_size)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, updates)
        self.best = Best()
        self.cost = synaptic_events(program) if recipe.price else None

    @property
    def state(self) -> dict[str, Stateful]:
        """What a checkpoint keeps."""
        return {
            "module": self.module,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "best": self.best,
        }

    def epoch(self, index: int) -> dict[str, float]:
        """One pass over the training samples, and a look at the others.

        Raises `ModelError` where the loss is no longer finite.
        """
        if index == 0:
            self._validate(0)
        total, correct = 0.0, 0
        for batch in torch.split(torch.randperm(len(self.training)), self.recipe.batch_size):
            given, labels = self.training.batch(batch, self.device)
            loss, right = self._loss(given, labels)
            if not torch.isfinite(loss):
                raise ModelError(
                    f"the loss is {loss.item()} in epoch {index + 1}",
                    node="fine-tuning",
                    hint=f"A learning rate below {self.recipe.learning_rate:g} may help.",
                )
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
            self.schedule.step()
            total += loss.item() * len(batch)
            correct += right
        size = len(self.training)
        return {
            "loss": total / size,
            "accuracy": correct / size,
            "validation": self._validate(index + 1),
        }

    def _validate(self, epoch: int) -> float:
        total, correct = 0.0, 0
        with torch.no_grad():
            for batch in torch.split(torch.arange(len(self.validation)), self.recipe.batch_size):
                loss, right = self._loss(*self.validation.batch(batch, self.device))
                total += loss.item() * len(batch)
                correct += right
        self.best.offer(epoch, correct, total, self.module.state_dict())
        return correct / len(self.validation)

    def _loss(self, given: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, int]:
        r"""(:math:`\mathrm{CE}(k \sum_t S_t, y) + p E / 1000`, right decisions) of a batch.

        With k `logits_per_spike`, the price p, and E synaptic events per sample; potentials that
        are read are averaged over time.
        """
        found = self.module.forward_all(given)
        read = found[self.output] if not self.potentials else found.pop(self.output)
        sent = read.flatten(2)
        scores = sent.mean(1) if self.potentials else sent.sum(1)
        logits = self.recipe.logits_per_spike * scores
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        if self.cost is not None:
            loss = loss + self.recipe.price / 1000 * self.cost(found).to(loss.dtype)
        return loss, int((scores.argmax(1) == labels).sum())
