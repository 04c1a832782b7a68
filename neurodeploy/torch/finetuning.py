"""Fine-tuning: a network trained further in the arithmetic of its chip, at few bits of weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy._version import __version__
from neurodeploy.api import load, network_of
from neurodeploy.archive import content_hash
from neurodeploy.choices import PERCENTILE, WEIGHT_BITS, Settings
from neurodeploy.compilation import calibrated, completed, lowered
from neurodeploy.equivalence.statistics import Proportion, agreement
from neurodeploy.errors import InputError, TargetError
from neurodeploy.frontends.nir import means, plain
from neurodeploy.frontends.nir_again import graph_of
from neurodeploy.frontends.presets import Preset
from neurodeploy.frontends.snntorch import from_snntorch
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.reference import simulate as reference
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Explores, Raises, Target, get_target
from neurodeploy.torch.cells import Group
from neurodeploy.torch.chip_module import ChipModule
from neurodeploy.torch.epochs import History, run_epochs, seeded
from neurodeploy.torch.trainer import Samples, Trainer
from neurodeploy.trace import Inputs, Trace, check_inputs, check_labels

TRAINED: tuple[Group, ...] = ("weight", "bias")


@dataclass(frozen=True)
class Recipe:
    """How a program is fine-tuned.

    Attributes
    ----------
    epochs, batch_size: passes over the training samples, samples per update.
    learning_rate: of Adam at the start, as a share of the largest value of each tensor; it falls to
        0 as half a cosine.
    logits_per_spike: how many logits one output spike is worth in the cross-entropy; of outputs
        that are read as potentials, what the mean potential is multiplied with.
    label_smoothing: as in `torch.nn.functional.cross_entropy`.
    price: what 1,000 synaptic events of a sample cost in the loss.
    validation: the share of samples that no gradient sees and that the best epoch is chosen by.
    seed: of the split and of the order of samples.

    Raises
    ------
    InputError
        Impossible numbers, all of them at once.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.01
    logits_per_spike: float = 0.5
    label_smoothing: float = 0.1
    price: float = 0.0
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        found = [f"{n} is {getattr(self, n)}, not at least 1" for n in ("epochs", "batch_size")
                 if getattr(self, n) < 1]  # fmt: skip
        if not 0 < self.learning_rate < math.inf:
            found.append(f"learning_rate is {self.learning_rate}, not a number above 0")
        if not 0 < self.logits_per_spike < math.inf:
            found.append(f"logits_per_spike is {self.logits_per_spike}, not a number above 0")
        if not 0 <= self.label_smoothing < 1:
            found.append(f"label_smoothing is {self.label_smoothing}, not in 0..1")
        if not 0 <= self.price < math.inf:
            found.append(f"price is {self.price}, not a number of at least 0")
        if not 0 < self.validation < 1:
            found.append(f"validation is {self.validation}, not between 0 and 1")
        if not 0 <= self.seed < 2**63:
            found.append(f"seed is {self.seed}, not within 0..2^63-1")
        if found:
            raise InputError("; ".join(found), node="recipe")


RECIPE = Recipe()


@dataclass(frozen=True, eq=False)
class Tuned:
    """What fine-tuning found.

    Attributes
    ----------
    program: compiled from the network with the weights that were found, which its graph holds.
    reference, before, after: right decisions of the float network as it was, of the program that
        it compiles to at these bits, and of `program`, on the same samples.
    percentile: of the weights' magnitudes, beyond which they were clipped at the start.
    held_out: whether these are samples of the caller's that took no part; else they are those that
        the epoch was chosen by.
    epoch: of which the weights are, from 1; 0 where none was better than the start.
    history: of each epoch the mean "loss", and the share of right decisions on the samples that are
        trained on as they were trained ("accuracy"), and on those that are not ("validation").
    """

    program: Program
    reference: Proportion
    before: Proportion
    after: Proportion
    percentile: float | None
    held_out: bool
    epoch: int
    history: History

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the program."""
        return {
            "target": self.program.target,
            "program": self.program.hash,
            **{name: getattr(self, name).to_dict() for name in ("reference", "before", "after")},
            "percentile": self.percentile,
            "held_out": self.held_out,
            "epoch": self.epoch,
            "history": list(self.history),
        }


def finetune(
    source: nn.Module | nir.NIRGraph | Network | Program | str | Path,
    *,
    target: str | None = None,
    inputs: Inputs,
    labels: NDArray[Any],
    bits: int | None = None,
    percentile: float | None = None,
    recipe: Recipe = RECIPE,
    test: tuple[Inputs, NDArray[Any]] | None = None,
    semantics: Semantics | Preset | str | None = None,
    spike_grad: Callable[[Tensor], Tensor] | None = None,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Train a network further in the arithmetic of a chip, and compile what was found.

    The forward pass is the chip's, bit for bit (see `ChipModule`), the backward pass goes straight
    through rounding and takes a surrogate for spikes.  Scales stay as `compile` chooses them; Adam
    moves weights and biases in the chip's units.  The weights of the best epoch are what the result
    means: its NIR graph is the network with them, and it was compiled like any other.

    Parameters
    ----------
    source: an snnTorch module, a graph or its file, a network, or a program, whose network it is.
    target: as for `compile`; that of a program if None.
    inputs, labels: (samples, steps, *shape), and integers (samples,): samples to train on, part of
        which choose the epoch; all of them calibrate.
    bits: of weights, sign included, in all populations; the target's own if None.
    percentile: of the weights' magnitudes, beyond which they are clipped at the start; if None,
        that of the target's choices with which most training samples are decided right.
    test: inputs and labels that take no part, for the accuracies of the result.
    semantics: as for `compile`.
    spike_grad: the surrogate, any of `snntorch.surrogate`; that of `ChipModule` if None.
    checkpoint: a file that is written after every epoch; with it the same call goes on where it
        stopped, to the identical result.
    progress: called with (epochs done, epochs).

    Raises
    ------
    InputError
        Labels or samples that do not fit; settings or a recipe that are impossible; several
        outputs; no target.
    ModelError, SemanticsError, DesignRuleError
        As `compile`; or the loss is no longer finite.
    TargetError
        A target that cannot be trained for.
    FileError
        A checkpoint that is damaged, or of another training.
    """
    network, chip = _network(source, target, inputs, semantics)
    if not isinstance(chip, Raises):
        raise TargetError("networks cannot be fine-tuned for it", node=f"target {chip.name}")
    if len(network.outputs) != 1:
        raise InputError(f"the network has {len(network.outputs)} outputs, expected one")
    network, given, trace = calibrated(network, chip, inputs)
    truth = check_labels(labels, trace.samples)
    if truth is None:
        raise InputError("fine-tuning needs labels")
    graph_of(network)  # raises before anything is trained
    training, validation = split(truth, recipe)
    if percentile is None:
        percentile = _best_percentile(network, chip, trace, given, truth, training, bits)
    settings = _settings(network, bits, percentile)
    start = lowered(chip, network, trace, settings)
    spikes = check_inputs(given, start.input_shapes, start.graded, start.grids)
    start = completed(start, chip, spikes)
    module = ChipModule(start, spike_grad, TRAINED)
    trainer = Trainer(
        module,
        start,
        recipe,
        Samples.of(spikes, truth, training),
        Samples.of(spikes, truth, validation),
        device,
    )
    identity = {
        "version": __version__,
        "target": chip.name,
        "chip": repr(chip.chip),
        "graph": plain(network.graph),
        "settings": {name: dict(own) for name, own in settings.items()},
        "recipe": asdict(recipe),
        "inputs": given,
        "labels": truth,
        "surrogate": None if spike_grad is None else _slopes(spike_grad),
    }
    with seeded(recipe.seed):
        history = run_epochs(
            recipe.epochs,
            trainer.epoch,
            trainer.state,
            identity=content_hash(identity),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=None if progress is None else lambda done, total, _: progress(done, total),
        )
    module.load_state_dict(trainer.best.state)
    found = means(graph_of(chip.raised(module.program(), network)))
    tuned, given, trace = calibrated(found, chip, given)
    program = completed(lowered(chip, tuned, trace, _settings(tuned, bits, None)), chip, spikes)
    if test is None:
        x, y = {name: array[validation] for name, array in given.items()}, truth[validation]
    else:
        x, y = _tested(test, network, chip)
    right = [agreement(decided, y) for decided in _decisions(network, (start, program), chip, x)]
    return Tuned(
        program=program,
        reference=right[0],
        before=right[1],
        after=right[2],
        percentile=percentile,
        held_out=test is not None,
        epoch=trainer.best.epoch,
        history=history,
    )


def _slopes(spike_grad: Callable[[Tensor], Tensor]) -> NDArray[Any]:
    """What tells one surrogate from another: its gradient at some potentials."""
    potentials = torch.linspace(-2, 2, 33, requires_grad=True)
    with seeded(0):
        torch.autograd.backward(spike_grad(potentials).sum())
    return np.asarray(potentials.grad)


def _network(
    source: Any, target: str | None, inputs: Inputs, semantics: Semantics | Preset | str | None
) -> tuple[Network, Target]:
    """What is to be trained, and for which chip."""
    if isinstance(source, Program):
        return network_of(source), get_target(target or source.target)
    if target is None:
        raise InputError("no target", hint="Name one, such as loihi2.")
    if isinstance(source, nn.Module):
        if isinstance(inputs, Mapping):
            raise InputError("a module with several inputs", hint="Give its graph instead.")
        first = torch.from_numpy(np.asarray(inputs[:2, 0], np.float32))
        source = from_snntorch(source, first)
    found = source if isinstance(source, Network) else load(source, semantics)
    return found, get_target(target)


def _settings(network: Network, bits: int | None, percentile: float | None) -> Settings:
    """The same for all populations that anything reaches."""
    own: dict[str, float] = {}
    if bits is not None:
        own[WEIGHT_BITS] = float(bits)
    if percentile is not None:
        own[PERCENTILE] = percentile
    return {p.name: own for p in network.populations} if own else {}


def _best_percentile(
    network: Network,
    chip: Target,
    trace: Trace,
    given: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64],
    index: NDArray[np.int64],
    bits: int | None,
) -> float | None:
    """The percentile with most right decisions on some samples, of equals the first.

    None where the target has none to choose from.
    """
    choices = chip.choices if isinstance(chip, Explores) else ()
    values = next((c.values for c in choices if c.name == PERCENTILE), ())
    part = {name: array[index] for name, array in given.items()}

    def right(percentile: float) -> int:
        program = lowered(chip, network, trace, _settings(network, bits, percentile))
        spikes = check_inputs(part, program.input_shapes, program.graded, program.grids)
        found = simulate(program, spikes, chip.machine).decisions(program.output)
        return int(np.count_nonzero(found == labels[index]))

    return max(values, key=right, default=None)


def split(labels: NDArray[np.int64], recipe: Recipe) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and to choose by: of every class the same share, drawn by the seed.

    Raises
    ------
    InputError
        Too few samples for both.
    """
    rng, chosen = np.random.default_rng(recipe.seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        chosen[own[: round(recipe.validation * len(own))]] = True
    if not chosen.any() or chosen.all():
        raise InputError(
            f"{len(labels)} samples are too few to keep a share of {recipe.validation:g} of every "
            "class for validation"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _tested(
    test: tuple[Inputs, NDArray[Any]], network: Network, chip: Target
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    _, x, trace = calibrated(network, chip, test[0])
    y = check_labels(test[1], trace.samples)
    if y is None:
        raise InputError("the samples of the test need labels")
    return x, y


def _decisions(
    network: Network, programs: tuple[Program, ...], chip: Target, x: Mapping[str, NDArray[Any]]
) -> Iterator[NDArray[np.int64]]:
    """Of the float network, and of each program in the bit-accurate simulator."""
    output = network.outputs[0]
    yield reference(network, x).decisions(output)
    for program in programs:
        spikes = check_inputs(x, program.input_shapes, program.graded, program.grids)
        yield simulate(program, spikes, chip.machine).decisions(output)
