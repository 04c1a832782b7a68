"""How the models of the gallery are called, as their tutorials call them, and what they return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from snntorch import spikegen, utils
from torch import nn

from tests.conformance import gallery
from tests.conformance.gallery import batch_size, num_inputs, num_steps

Form = Literal["steps", "repeated", "time first", "batch first"]
Data = Literal["spikes", "rate", "counts", "still", "moving"]


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes
    ----------
    shape: without batch and time.
    form: how forward takes the steps: one at a time, the same one in all, or all along an axis.
    data: random spikes, an image as spikes at its rate, counts of events, or gray values in
        sixteenths, the same in all steps or not.
    name: of its node.
    """

    shape: tuple[int, ...]
    form: Form
    data: Data
    name: str = "input"

    def drawn(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Random data (batch, steps, *shape)."""
        shape = (batch_size, num_steps, *self.shape)
        gray = rng.integers(0, 17, shape) / np.float32(16)
        if self.data == "still":
            gray = np.repeat(gray[:, :1], num_steps, axis=1)
        if self.data in ("still", "moving"):
            return gray.astype(np.float32)
        if self.data == "rate":
            trains = spikegen.rate(torch.from_numpy(gray[:, 0]).float(), num_steps=num_steps)
            return trains.transpose(0, 1).contiguous().numpy()
        draws = rng.random(shape) < 0.3 if self.data == "spikes" else rng.poisson(0.4, shape)
        return draws.astype(np.float32)

    def given(self, array: NDArray[Any]) -> torch.Tensor:
        """The data as the tutorial has it: time first where forward takes one step."""
        tensor = torch.from_numpy(array)
        if self.form == "repeated":
            return tensor[:, 0].clone()
        return tensor.clone() if self.form == "batch first" else tensor.transpose(0, 1).contiguous()


def once(net: nn.Module, *inputs: torch.Tensor) -> Any:
    """Forward holds the time loop."""
    return net(*inputs)


def forward_pass(net: nn.Module, data: torch.Tensor) -> Any:
    """Tutorials 6 and 7: the loop is outside, hidden states are reset before it.

    What is between spikes and potentials, currents of Alpha, is left out.
    """
    spk_rec = []
    mem_rec = []
    utils.reset(net)
    for step in range(data.size(0)):
        spk_out, *_, mem_out = net(data[step])
        spk_rec.append(spk_out)
        mem_rec.append(mem_out)
    return torch.stack(spk_rec), torch.stack(mem_rec)


def by_hand(net: Any, data: torch.Tensor) -> Any:
    """The states are handed from step to step."""
    mem1, mem2, spk1 = net.lif1.init_leaky(), net.lif2.init_leaky(), None
    records = []
    for step in range(data.size(0)):
        mem1, spk1, mem2, spk2 = net(data[step], mem1, spk1, mem2)
        records.append((mem1, spk1, mem2, spk2))
    return [torch.stack(record) for record in zip(*records, strict=True)]


@dataclass(frozen=True)
class Exhibit:
    """A model, and how it is used.

    Attributes
    ----------
    after: what it is written after.
    shows: what it shows.
    build: makes it.
    inputs: what it takes.
    returns: what it returns, in order: `<node>.spk`, `.mem` or `.syn` of neurons, or `<node>` where
        it is what a layer makes of spikes.
    run: calls it for all steps.
    scale: what PyTorch's initial weights are multiplied with, so that all layers spike.
    """

    after: str
    shows: str
    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...]
    returns: tuple[str, ...]
    run: Callable[..., Any] = once
    scale: float = 2.0


FLAT, IMAGE = (num_inputs,), (1, 8, 8)

EXHIBITS: dict[str, Exhibit] = {
    "FullyConnected": Exhibit(
        "tutorial 5",
        "the same image in every step, spikes and potentials recorded",
        gallery.FullyConnected,
        (Input(FLAT, "repeated", "still"),),
        ("lif2.spk", "lif2.mem"),
    ),
    "RateCoded": Exhibit(
        "tutorials 1 and 3",
        "spike trains of `spikegen.rate`, time first",
        gallery.RateCoded,
        (Input(IMAGE, "time first", "rate"),),
        ("lif2.spk",),
    ),
    "LossInside": Exhibit(
        "tutorial on IPUs",
        "an optional argument for labels, another return in training",
        gallery.LossInside,
        (Input(IMAGE, "repeated", "still"),),
        ("lif2.spk",),
    ),
    "StatesAsArguments": Exhibit(
        "docstring of `Leaky`",
        "one step, states as arguments and returned",
        gallery.StatesAsArguments,
        (Input(FLAT, "steps", "spikes"),),
        ("lif1.mem", "lif1.spk", "lif2.mem", "lif2.spk"),
        by_hand,
    ),
    "SecondOrder": Exhibit(
        "tutorial 4",
        "`Synaptic`, currents recorded",
        gallery.SecondOrder,
        (Input(FLAT, "time first", "spikes"),),
        ("lif2.spk", "lif2.syn", "lif2.mem"),
        scale=1.0,
    ),
    "ResistorCapacitor": Exhibit(
        "tutorial 2, docstring of `Lapicque`",
        "`Lapicque` by its decay, and by R, C and the time step",
        gallery.ResistorCapacitor,
        (Input(FLAT, "time first", "spikes"),),
        ("lif2.spk", "lif2.mem"),
        scale=3.0,
    ),
    "alpha_neurons": Exhibit(
        "docstring of `Alpha`",
        "`Alpha` without reset",
        gallery.alpha_neurons,
        (Input(FLAT, "steps", "spikes"),),
        ("3.spk", "3.mem"),
        forward_pass,
    ),
    "Regression": Exhibit(
        "regression, part I, corrected",
        "learned decays, random thresholds, the potential of a leaky integrator read",
        gallery.Regression,
        (Input((1,), "time first", "moving"),),
        ("li_out.mem",),
    ),
    "Recurrent": Exhibit(
        "regression, part II",
        "`RLeaky`, all to all, in every layer",
        gallery.Recurrent,
        (Input(FLAT, "repeated", "still"),),
        ("rlif2.spk",),
    ),
    "RecurrentFirst": Exhibit(
        "docstrings of `RLeaky` and `RSynaptic`",
        "recurrence in the first layer, and one-to-one with shared and own weights",
        gallery.RecurrentFirst,
        (Input(FLAT, "time first", "spikes"),),
        ("lif3.spk", "lif3.mem"),
    ),
    "ConvolutionalRecurrence": Exhibit(
        "regression, part II",
        "`RLeaky` with a convolution as feedback, reset to zero",
        gallery.ConvolutionalRecurrence,
        (Input((2, 9, 9), "time first", "counts"),),
        ("lif.spk",),
    ),
    "AnyDepth": Exhibit(
        "tutorial on Optuna, without its counts",
        "layers registered in a loop, states in dicts, learned decays and thresholds",
        gallery.AnyDepth,
        (Input(IMAGE, "repeated", "still"),),
        ("lif2.spk", "lif2.mem"),
    ),
    "Convolutional": Exhibit(
        "tutorial 6, average pooling",
        "functional pooling, `view(batch_size, -1)`",
        gallery.Convolutional,
        (Input((1, 16, 16), "repeated", "still"),),
        ("lif3.spk", "lif3.mem"),
        scale=4.0,
    ),
    "events": Exhibit(
        "tutorial 7, average pooling",
        "`nn.Sequential` of hidden states, frames of events",
        gallery.events,
        (Input((2, 16, 16), "steps", "counts"),),
        ("8.spk", "8.mem"),
        forward_pass,
        scale=4.0,
    ),
    "tactile": Exhibit(
        "tutorial on ST-MNIST",
        "`nn.MaxPool2d` of spikes",
        gallery.tactile,
        (Input((2, 10, 10), "steps", "counts"),),
        ("7.spk", "7.mem"),
        forward_pass,
    ),
    "speech": Exhibit(
        "tutorial on Spiking Speech Commands",
        "five layers, dropout",
        gallery.speech,
        (Input((70,), "steps", "counts"),),
        ("10.spk", "10.mem"),
        forward_pass,
    ),
    "population": Exhibit(
        "tutorial on population codes",
        "ten output neurons per class, `nn.Flatten` of the input",
        gallery.population,
        (Input(IMAGE, "steps", "still"),),
        ("4.spk", "4.mem"),
        forward_pass,
    ),
    "Autoencoder": Exhibit(
        "spiking autoencoder, in stride 1",
        "nested `nn.Sequential`, batch norm, transposed convolutions, `utils.reset` in forward",
        gallery.Autoencoder,
        (Input((1, 12, 12), "repeated", "still"),),
        ("decoder.4.mem",),
    ),
    "ResNet": Exhibit(
        "torchvision's ResNet",
        "residual blocks in an `nn.ModuleList`, downsampling by 1x1 convolution and batch norm",
        gallery.ResNet,
        (Input((2, 8, 8), "steps", "counts"),),
        ("lif.spk", "lif.mem"),
        forward_pass,
    ),
    "SharedWeights": Exhibit(
        "siamese networks",
        "a layer used twice, a weight tied to another layer, two inputs",
        gallery.SharedWeights,
        (
            Input((32,), "time first", "spikes", "input.a"),
            Input((32,), "time first", "spikes", "input.b"),
        ),
        ("lif_again.spk",),
    ),
    "TwoHeads": Exhibit(
        "multi-task networks",
        "two heads of unequal size in a dict, spikes of one and potentials of the other",
        gallery.TwoHeads,
        (Input(FLAT, "time first", "spikes"),),
        ("lif_class.spk", "lif_position.mem"),
    ),
    "AudioVisual": Exhibit(
        "fusion of senses",
        "two inputs, one that stays and one that goes on, batch first",
        gallery.AudioVisual,
        (
            Input(IMAGE, "repeated", "still", "input.image"),
            Input((20,), "batch first", "spikes", "input.sound"),
        ),
        ("lif.spk",),
    ),
    "Keywords": Exhibit(
        "one-dimensional CNNs",
        "`nn.Conv1d`, batch norm and pooling in lists, no neuron after the last layer",
        gallery.Keywords,
        (Input((2, 24), "batch first", "moving"),),
        ("fc",),
    ),
    "DoublePrecision": Exhibit(
        "tutorial 5, float64",
        "spikes cast between the layers",
        gallery.DoublePrecision,
        (Input(FLAT, "time first", "spikes"),),
        ("lif2.spk", "lif2.mem"),
    ),
}
