"""What tutorials do that has no exact form: models of the gallery's kind that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import spikegen, surrogate
from torch import nn

from tests.conformance.gallery import (
    AudioVisual,
    Convolutional,
    FullyConnected,
    Regression,
    num_hidden,
    num_inputs,
    num_outputs,
    num_steps,
)


class MaxPooled(Convolutional):
    """Tutorial 6: pooling between a convolution and its neurons, one step."""

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem3 = self.lif3.init_leaky()

        cur1 = F.max_pool2d(self.conv1(x), 2)
        spk1, mem1 = self.lif1(cur1, mem1)
        cur2 = F.max_pool2d(self.conv2(spk1), 2)
        spk2, mem2 = self.lif2(cur2, mem2)
        cur3 = self.fc1(spk2.flatten(1))
        return self.lif3(cur3, mem3)


def max_pooled() -> nn.Module:
    """Tutorials 6 and 7, and the quick start."""
    spike_grad = surrogate.fast_sigmoid(slope=25)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.MaxPool2d(2),
        snn.Leaky(beta=0.5, spike_grad=spike_grad, init_hidden=True),
        nn.Flatten(),
        nn.Linear(6 * 6 * 6, num_outputs),
        snn.Leaky(beta=0.5, spike_grad=spike_grad, init_hidden=True, output=True),
    )


class OneStep(FullyConnected):
    """The classes of tutorial 6 and of the exoplanet hunter: from rest in every call."""

    def forward(self, x):
        spk1, _ = self.lif1(self.fc1(x), self.lif1.init_leaky())
        return self.lif2(self.fc2(spk1), self.lif2.init_leaky())


class OneForTwo(Regression):
    """Regression, part I, as it is printed: the readout stands in for the hidden neurons too."""

    def forward(self, x):
        mem_1 = self.lif_in.init_leaky()
        mem_2 = self.lif_hidden.init_leaky()
        mem_3 = self.li_out.init_leaky()
        mem_3_rec = []

        for step in range(self.timesteps):
            spk_in, mem_1 = self.lif_in(self.fc_in(x[step, :, :]), mem_1)
            spk_hidden, mem_2 = self.li_out(self.fc_hidden(spk_in), mem_2)
            _, mem_3 = self.li_out(self.fc_out(spk_hidden), mem_3)
            mem_3_rec.append(mem_3)

        return torch.stack(mem_3_rec)


class LongMemory(nn.Module):
    """The docstring of SLSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.slstm1 = snn.SLSTM(num_inputs, num_hidden)
        self.slstm2 = snn.SLSTM(num_hidden, num_outputs)

    def forward(self, x):
        syn1, mem1 = self.slstm1.init_slstm()
        syn2, mem2 = self.slstm2.init_slstm()
        spk2_rec = []

        for _ in range(num_steps):
            spk1, syn1, mem1 = self.slstm1(x, syn1, mem1)
            spk2, syn2, mem2 = self.slstm2(spk1, syn2, mem2)
            spk2_rec.append(spk2)

        return torch.stack(spk2_rec)


def alpha_default() -> nn.Module:
    """The docstring of Alpha, which resets to zero."""
    return nn.Sequential(
        nn.Linear(num_inputs, num_hidden),
        snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
        nn.Linear(num_hidden, num_outputs),
        snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True, output=True),
    )


def unflattened() -> nn.Module:
    """The decoder of the spiking autoencoder: back from a latent vector to an image."""
    return nn.Sequential(
        nn.Linear(num_inputs, 6 * 4 * 4),
        snn.Leaky(beta=0.5, init_hidden=True),
        nn.Unflatten(1, (6, 4, 4)),
        nn.ConvTranspose2d(6, 1, 3),
        snn.Leaky(beta=0.5, init_hidden=True, output=True),
    )


def strided_decoder() -> nn.Module:
    """The decoder of the spiking autoencoder: twice the size."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, stride=2),
        snn.Leaky(beta=0.5, init_hidden=True),
        nn.ConvTranspose2d(6, 1, 3, padding=1, stride=(2, 2), output_padding=1),
        snn.Leaky(beta=0.5, init_hidden=True, threshold=20000, output=True),
    )


class LayerByLayer(FullyConnected):
    """The forward pass of the spiking autoencoder: stacked spikes are taken apart again."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk_rec, spk_rec2 = [], []
        for _ in range(num_steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk_rec.append(spk1)
        spk_rec = torch.stack(spk_rec, dim=2)
        for step in range(num_steps):
            spk2, mem2 = self.lif2(self.fc2(spk_rec[..., step]), mem2)
            spk_rec2.append(spk2)
        return torch.stack(spk_rec2)


class Encoding(FullyConnected):
    """Spikes are drawn in forward."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec = []
        for data in spikegen.rate(x, num_steps=num_steps):
            spk1, mem1 = self.lif1(self.fc1(data), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
        return torch.stack(spk2_rec)


class Counting(FullyConnected):
    """The tutorial on Optuna: forward counts spikes on the way."""

    total_spike_count = 0.0

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec = []
        for _ in range(num_steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            self.total_spike_count += spk1.sum().item() + spk2.sum().item()
            spk2_rec.append(spk2)
        return torch.stack(spk2_rec)


class NormPerStep(FullyConnected):
    """Batch norm through time: one for every step."""

    def __init__(self) -> None:
        super().__init__()
        self.bntt = snn.BatchNormTT1d(num_hidden, num_steps)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec = []
        for step in range(num_steps):
            spk1, mem1 = self.lif1(self.bntt[step](self.fc1(x)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
        return torch.stack(spk2_rec)


class Concatenating(AudioVisual):
    """Spikes of two branches side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2 * 4 * 3 * 3, num_outputs)

    def forward(self, image, sound):
        mem_see = self.lif_see.init_leaky()
        syn_hear, mem_hear = self.lif_hear.init_synaptic()
        mem = self.lif.init_leaky()
        spk_rec = []

        for step in range(sound.size(1)):
            seen, mem_see = self.lif_see(self.see(image), mem_see)
            heard, syn_hear, mem_hear = self.lif_hear(self.hear(sound[:, step]), syn_hear, mem_hear)
            spk, mem = self.lif(self.fc(torch.cat([seen.flatten(1), heard], dim=1)), mem)
            spk_rec.append(spk)

        return torch.stack(spk_rec, dim=1)


@dataclass(frozen=True)
class Refused:
    """A model that is refused, the shapes of its samples (batch included), where and why."""

    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    node: str
    words: str


VECTOR = ((4, num_inputs),)
IMAGE = ((4, 1, 16, 16),)

REFUSED: dict[str, Refused] = {
    "tutorial 6, the class": Refused(MaxPooled, IMAGE, "MaxPooled", "maximum of currents"),
    "tutorials 6 and 7, the sequence": Refused(max_pooled, IMAGE, "1", "maximum of currents"),
    "one step that starts from rest": Refused(OneStep, VECTOR, "lif1", "set to zero between two"),
    "regression, part I, as printed": Refused(
        OneForTwo, ((num_steps, 4, 1),), "li_out", "use one neuron module per population"
    ),
    "docstring of `SLSTM`": Refused(LongMemory, VECTOR, "slstm1", "gates of an LSTM multiply"),
    "docstring of `Alpha`, with its reset": Refused(
        alpha_default, VECTOR, "1", "its reset changes"
    ),
    "spiking autoencoder, `nn.Unflatten`": Refused(unflattened, VECTOR, "2", "Unflatten is not"),
    "spiking autoencoder, stride 2": Refused(strided_decoder, IMAGE, "2", "zeros between"),
    "spiking autoencoder, layer by layer": Refused(LayerByLayer, VECTOR, "fc2", "stacked"),
    "spikes drawn in forward": Refused(Encoding, VECTOR, "Encoding", "Encode the input as spikes"),
    "tutorial on Optuna, spikes counted": Refused(Counting, VECTOR, "Counting", "sum acts"),
    "batch norm through time": Refused(NormPerStep, VECTOR, "bntt.1", "parameters change"),
    "branches concatenated": Refused(
        Concatenating, ((4, 1, 8, 8), (4, num_steps, 20)), "fc", "concatenated"
    ),
}
