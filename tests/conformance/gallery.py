"""Models written the way snnTorch's tutorials, examples and docstrings write them.

Forward takes and returns what it does there; decays, surrogates and recordings are those that they
use, sizes are small.  `exhibits.py` says how each model is called and what it returns.
"""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import surrogate, utils
from torch import nn

batch_size = 8
num_steps = 25
num_inputs = 8 * 8
num_hidden = 40
num_outputs = 10


class FullyConnected(nn.Module):
    """Tutorial 5: one image in every step, the output's spikes and potentials recorded."""

    def __init__(self, beta: float = 0.95) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []

        for _ in range(num_steps):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)

        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class RateCoded(FullyConnected):
    """Tutorials 1 and 3: an image becomes spike trains first, time first."""

    def forward(self, spk_in):
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        spk2_rec = []

        for step in range(spk_in.size(0)):
            spk1, mem1 = self.lif1(self.fc1(spk_in[step].view(batch_size, -1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)

        return torch.stack(spk2_rec)


class LossInside(FullyConnected):
    """As the tutorial on other accelerators: labels and the loss are arguments of training only."""

    def __init__(self) -> None:
        super().__init__(beta=0.9)
        self.loss_fn = nn.CrossEntropyLoss()

    def forward(self, x, labels=None):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []

        for _ in range(num_steps):
            cur1 = self.fc1(x.view(batch_size, -1))
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)

        spk2_rec = torch.stack(spk2_rec)
        if self.training:
            return spk2_rec, self.loss_fn(torch.stack(mem2_rec).sum(0), labels)
        return spk2_rec


class StatesAsArguments(nn.Module):
    """The docstring of Leaky: one step, its states come in and go out."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x, mem1, spk1, mem2):
        cur1 = self.fc1(x)
        spk1, mem1 = self.lif1(cur1, mem1)
        cur2 = self.fc2(spk1)
        spk2, mem2 = self.lif2(cur2, mem2)
        return mem1, spk1, mem2, spk2


class SecondOrder(nn.Module):
    """Tutorial 4: synaptic currents."""

    def __init__(self, alpha: float = 0.9, beta: float = 0.8) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Synaptic(alpha=alpha, beta=beta)
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Synaptic(alpha=alpha, beta=beta)

    def forward(self, spk_in):
        syn1, mem1 = self.lif1.init_synaptic()
        syn2, mem2 = self.lif2.init_synaptic()
        spk_rec, syn_rec, mem_rec = [], [], []

        for step in range(num_steps):
            spk1, syn1, mem1 = self.lif1(self.fc1(spk_in[step]), syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            spk_rec.append(spk2)
            syn_rec.append(syn2)
            mem_rec.append(mem2)

        return torch.stack(spk_rec), torch.stack(syn_rec), torch.stack(mem_rec)


class ResistorCapacitor(nn.Module):
    """Tutorial 2 and the docstring of Lapicque: R and C, or the decay that they make."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Lapicque(beta=beta)
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Lapicque(R=5, C=1e-3, time_step=1e-3)

    def forward(self, spk_in):
        mem1 = self.lif1.init_lapicque()
        mem2 = self.lif2.init_lapicque()
        spk_rec, mem_rec = [], []

        for step in range(num_steps):
            spk1, mem1 = self.lif1(self.fc1(spk_in[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append(spk2)
            mem_rec.append(mem2)

        return torch.stack(spk_rec), torch.stack(mem_rec)


def alpha_neurons() -> nn.Module:
    """The docstring of Alpha, without its reset."""
    alpha = 0.9
    beta = 0.8
    return nn.Sequential(
        nn.Linear(num_inputs, num_hidden),
        snn.Alpha(alpha=alpha, beta=beta, reset_mechanism="none", init_hidden=True),
        nn.Linear(num_hidden, num_outputs),
        snn.Alpha(alpha=alpha, beta=beta, reset_mechanism="none", init_hidden=True, output=True),
    )


class Regression(nn.Module):
    """Regression, part I: random decays and thresholds, learned; the last potential is read."""

    def __init__(self, timesteps: int = num_steps, hidden: int = 32) -> None:
        super().__init__()
        self.timesteps = timesteps
        spike_grad = surrogate.fast_sigmoid()

        beta_in, thr_in = torch.rand(hidden), torch.rand(hidden)
        self.fc_in = nn.Linear(in_features=1, out_features=hidden)
        self.lif_in = snn.Leaky(
            beta=beta_in, threshold=thr_in, learn_beta=True, spike_grad=spike_grad
        )
        beta_hidden, thr_hidden = torch.rand(hidden), torch.rand(hidden)
        self.fc_hidden = nn.Linear(in_features=hidden, out_features=hidden)
        self.lif_hidden = snn.Leaky(
            beta=beta_hidden, threshold=thr_hidden, learn_beta=True, spike_grad=spike_grad
        )
        self.fc_out = nn.Linear(in_features=hidden, out_features=1)
        self.li_out = snn.Leaky(
            beta=torch.rand(1), learn_beta=True, spike_grad=spike_grad, reset_mechanism="none"
        )

    def forward(self, x):
        mem_1 = self.lif_in.init_leaky()
        mem_2 = self.lif_hidden.init_leaky()
        mem_3 = self.li_out.init_leaky()
        mem_3_rec = []

        for step in range(self.timesteps):
            x_timestep = x[step, :, :]
            cur_in = self.fc_in(x_timestep)
            spk_in, mem_1 = self.lif_in(cur_in, mem_1)
            cur_hidden = self.fc_hidden(spk_in)
            spk_hidden, mem_2 = self.lif_hidden(cur_hidden, mem_2)
            cur_out = self.fc_out(spk_hidden)
            _, mem_3 = self.li_out(cur_out, mem_3)
            mem_3_rec.append(mem_3)

        return torch.stack(mem_3_rec)


class Recurrent(nn.Module):
    """Regression, part II: all-to-all recurrence in every layer."""

    def __init__(self, timesteps: int = num_steps, hidden: int = 32, beta: float = 0.9) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.fc1 = nn.Linear(in_features=num_inputs, out_features=hidden)
        self.rlif1 = snn.RLeaky(beta=beta, linear_features=hidden)
        self.fc2 = nn.Linear(in_features=hidden, out_features=10)
        self.rlif2 = snn.RLeaky(beta=beta, linear_features=10)

    def forward(self, x):
        spk1, mem1 = self.rlif1.init_rleaky()
        spk2, mem2 = self.rlif2.init_rleaky()
        spk_recording = []

        for _ in range(self.timesteps):
            spk1, mem1 = self.rlif1(self.fc1(x), spk1, mem1)
            spk2, mem2 = self.rlif2(self.fc2(spk1), spk2, mem2)
            spk_recording.append(spk2)

        return torch.stack(spk_recording)


class RecurrentFirst(nn.Module):
    """Docstrings of RLeaky and RSynaptic: one weight shared, one per neuron; nothing before it."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.lif1 = snn.RSynaptic(alpha=0.8, beta=beta, linear_features=num_inputs)
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif2 = snn.RLeaky(beta=beta, all_to_all=False, V=torch.rand(num_hidden))
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif3 = snn.RLeaky(beta=beta, all_to_all=False, V=0.5)

    def forward(self, x):
        spk1, syn1, mem1 = self.lif1.init_rsynaptic()
        spk2, mem2 = self.lif2.init_rleaky()
        spk3, mem3 = self.lif3.init_rleaky()
        spk3_rec = []
        mem3_rec = []

        for step in range(num_steps):
            spk1, syn1, mem1 = self.lif1(x[step], spk1, syn1, mem1)
            cur2 = self.fc1(spk1)
            spk2, mem2 = self.lif2(cur2, spk2, mem2)
            cur3 = self.fc2(spk2)
            spk3, mem3 = self.lif3(cur3, spk3, mem3)
            spk3_rec.append(spk3)
            mem3_rec.append(mem3)

        return torch.stack(spk3_rec), torch.stack(mem3_rec)


class AnyDepth(nn.Module):
    """The tutorial on Optuna: layers made and registered in a loop, states kept in a dict."""

    def __init__(self, num_hidden_layers: int = 2, beta1: float = 0.9) -> None:
        super().__init__()
        self.layers: list[dict[str, Any]] = []
        sizes = [num_inputs, *(num_hidden,) * num_hidden_layers, num_outputs]
        for n in range(num_hidden_layers + 1):
            layer = {"fc": nn.Linear(sizes[n], sizes[n + 1])}
            if n == 0:
                layer["lif"] = snn.Leaky(beta=beta1)
            else:
                layer["lif"] = snn.Leaky(
                    beta=torch.rand(sizes[n + 1]),
                    threshold=0.5 + torch.rand(sizes[n + 1]),
                    learn_beta=True,
                    learn_threshold=True,
                )
            self.add_module(f"fc{n}", layer["fc"])
            self.add_module(f"lif{n}", layer["lif"])
            self.layers.append(layer)

    def forward(self, x):
        for layer in self.layers:
            layer["mem"] = layer["lif"].init_leaky()
        spk_rec, mem_rec = [], []

        for _ in range(num_steps):
            cur = x.flatten(1)
            for layer in self.layers:
                cur, layer["mem"] = layer["lif"](layer["fc"](cur), layer["mem"])
            spk_rec.append(cur)
            mem_rec.append(self.layers[-1]["mem"])

        return torch.stack(spk_rec), torch.stack(mem_rec)


class Convolutional(nn.Module):
    """Tutorial 6, with its pooling averaged: functional pooling, flattened by `view`."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        spike_grad = surrogate.fast_sigmoid(slope=25)
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.lif1 = snn.Leaky(beta=beta, spike_grad=spike_grad)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.lif2 = snn.Leaky(beta=beta, spike_grad=spike_grad)
        self.fc1 = nn.Linear(8 * 2 * 2, num_outputs)
        self.lif3 = snn.Leaky(beta=beta, spike_grad=spike_grad)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem3 = self.lif3.init_leaky()
        spk3_rec = []
        mem3_rec = []

        for _ in range(num_steps):
            cur1 = F.avg_pool2d(self.conv1(x), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = F.avg_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc1(spk2.view(batch_size, -1))
            spk3, mem3 = self.lif3(cur3, mem3)
            spk3_rec.append(spk3)
            mem3_rec.append(mem3)

        return torch.stack(spk3_rec, dim=0), torch.stack(mem3_rec, dim=0)


def events() -> nn.Module:
    """Tutorial 7, with its pooling averaged: hidden states in a Sequential."""
    spike_grad = surrogate.atan()
    beta = 0.5
    return nn.Sequential(
        nn.Conv2d(2, 6, 5),
        nn.AvgPool2d(2),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        nn.Conv2d(6, 8, 3),
        nn.AvgPool2d(2),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2, 10),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True, output=True),
    )


def tactile() -> nn.Module:
    """The tutorial on ST-MNIST: the maximum of spikes."""
    beta = 0.95
    return nn.Sequential(
        nn.Conv2d(2, 6, kernel_size=4),
        snn.Leaky(beta=beta, init_hidden=True),
        nn.Conv2d(6, 8, kernel_size=3),
        snn.Leaky(beta=beta, init_hidden=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2, 10),
        snn.Leaky(beta=beta, init_hidden=True, output=True),
    )


def speech() -> nn.Module:
    """The tutorial on Spiking Speech Commands: deep, with dropout."""
    beta = 0.95
    spike_grad = surrogate.atan(alpha=2)
    hidden = [
        part
        for before in (70, 32, 32, 32)
        for part in (
            nn.Linear(before, 32),
            snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        )
    ]
    return nn.Sequential(
        *hidden,
        nn.Dropout(0.4),
        nn.Linear(32, 35),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True, output=True),
    )


def population() -> nn.Module:
    """The tutorial on population codes: many output neurons per class, hidden states."""
    grad = surrogate.fast_sigmoid()
    beta = 0.9
    pop_outputs = 100
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(num_inputs, num_hidden),
        snn.Leaky(beta=beta, spike_grad=grad, init_hidden=True),
        nn.Linear(num_hidden, pop_outputs),
        snn.Leaky(beta=beta, spike_grad=grad, init_hidden=True, output=True),
    )


class ConvolutionalRecurrence(nn.Module):
    """Regression, part II, 2.2.2: the feedback is a convolution."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, stride=2, bias=False)
        self.rlif = snn.RLeaky(beta=beta, conv2d_channels=3, kernel_size=(3, 3))
        self.fc = nn.Linear(3 * 4 * 4, num_outputs)
        self.lif = snn.Leaky(beta=beta, reset_mechanism="zero")

    def forward(self, x):
        spk1, mem1 = self.rlif.init_rleaky()
        mem2 = self.lif.init_leaky()
        spk_recording = []

        for step in range(x.shape[0]):
            spk1, mem1 = self.rlif(self.conv(x[step]), spk1, mem1)
            spk2, mem2 = self.lif(self.fc(spk1.flatten(1)), mem2)
            spk_recording.append(spk2)

        return torch.stack(spk_recording)


class Autoencoder(nn.Module):
    """The spiking autoencoder: hidden states are reset in forward, the last potential is read."""

    def __init__(self, beta: float = 0.5, thresh: float = 1) -> None:
        super().__init__()
        spike_grad = surrogate.atan(alpha=2.0)
        options = {"beta": beta, "spike_grad": spike_grad, "init_hidden": True}
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, stride=2),
            nn.BatchNorm2d(4),
            snn.Leaky(threshold=thresh, **options),
            nn.Conv2d(4, 6, 3),
            nn.BatchNorm2d(6),
            snn.Leaky(threshold=thresh, output=True, **options),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(6, 4, 3),
            nn.BatchNorm2d(4),
            snn.Leaky(threshold=thresh, **options),
            nn.ConvTranspose2d(4, 1, 5),
            snn.Leaky(threshold=20000, output=True, **options),
        )

    def forward(self, x):
        utils.reset(self.encoder)
        utils.reset(self.decoder)
        mem_rec = []

        for _ in range(num_steps):
            spk_latent, _ = self.encode(x)
            _, mem_out = self.decode(spk_latent)
            mem_rec.append(mem_out)

        return torch.stack(mem_rec, dim=0)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, x):
        return self.decoder(x)


class BasicBlock(nn.Module):
    """Two convolutions, and a way around them."""

    def __init__(self, before: int, after: int, stride: int, beta: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.lif1 = snn.Leaky(beta=beta, init_hidden=True)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.lif2 = snn.Leaky(beta=beta, init_hidden=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        out = self.lif1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.lif2(out)


class ResNet(nn.Module):
    """A residual network of blocks, as torchvision writes it, with Leaky for ReLU."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            snn.Leaky(beta=beta, init_hidden=True),
        )
        self.blocks = nn.ModuleList(
            [BasicBlock(4, 4, 1, beta), BasicBlock(4, 8, 2, beta), BasicBlock(8, 8, 1, beta)]
        )
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, num_outputs)
        self.lif = snn.Leaky(beta=beta, init_hidden=True, output=True)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = torch.flatten(self.avgpool(x), 1)
        return self.lif(self.fc(x))


class SharedWeights(nn.Module):
    """One layer used for two halves of a pair and its weights once more, in both directions."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.embed = nn.Linear(num_inputs // 2, num_hidden)
        self.lif_a = snn.Leaky(beta=beta)
        self.lif_b = snn.Leaky(beta=beta)
        self.mix = nn.Linear(num_hidden, num_hidden)
        self.lif_mix = snn.Leaky(beta=beta)
        self.again = nn.Linear(num_hidden, num_hidden)
        self.again.weight = self.mix.weight
        self.lif_again = snn.Leaky(beta=beta)

    def forward(self, a, b):
        mem_a, mem_b = self.lif_a.init_leaky(), self.lif_b.init_leaky()
        mem_mix, mem_again = self.lif_mix.init_leaky(), self.lif_again.init_leaky()
        spk_rec = []

        for step in range(num_steps):
            spk_a, mem_a = self.lif_a(self.embed(a[step]), mem_a)
            spk_b, mem_b = self.lif_b(self.embed(b[step]), mem_b)
            spk_mix, mem_mix = self.lif_mix(self.mix(spk_a - spk_b), mem_mix)
            spk_again, mem_again = self.lif_again(self.again(spk_mix), mem_again)
            spk_rec.append(spk_again)

        return torch.stack(spk_rec)


class TwoHeads(nn.Module):
    """A class as spikes, and a position as a potential, of one body."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Sequential(nn.Linear(num_inputs, num_hidden), nn.Dropout(0.2)),
            snn.Leaky(beta=beta, init_hidden=True),
        )
        self.fc_class = nn.Linear(num_hidden, num_outputs)
        self.lif_class = snn.Leaky(beta=beta)
        self.fc_position = nn.Linear(num_hidden, 2)
        self.lif_position = snn.Leaky(beta=beta, reset_mechanism="none")

    def forward(self, x):
        utils.reset(self.body)
        mem_class = self.lif_class.reset_mem()
        mem_position = self.lif_position.reset_mem()
        spk_rec, mem_rec = [], []

        for step in range(x.size(0)):
            spk = self.body(x[step])
            spk_class, mem_class = self.lif_class(self.fc_class(spk), mem_class)
            _, mem_position = self.lif_position(self.fc_position(spk), mem_position)
            spk_rec.append(spk_class)
            mem_rec.append(mem_position)

        return {"class": torch.stack(spk_rec), "position": torch.stack(mem_rec)}


class AudioVisual(nn.Module):
    """An image that stays and a sound that goes on, brought together by spikes."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.see = nn.Conv2d(1, 4, 3, stride=2)
        self.lif_see = snn.Leaky(beta=beta)
        self.hear = nn.Linear(20, 4 * 3 * 3)
        self.lif_hear = snn.Synaptic(alpha=0.8, beta=beta)
        self.fc = nn.Linear(4 * 3 * 3, num_outputs)
        self.lif = snn.Leaky(beta=beta)

    def forward(self, image, sound):
        mem_see = self.lif_see.init_leaky()
        syn_hear, mem_hear = self.lif_hear.init_synaptic()
        mem = self.lif.init_leaky()
        spk_rec = []

        for step in range(sound.size(1)):
            seen, mem_see = self.lif_see(self.see(image), mem_see)
            heard, syn_hear, mem_hear = self.lif_hear(self.hear(sound[:, step]), syn_hear, mem_hear)
            spk, mem = self.lif(self.fc(seen.flatten(1) + heard), mem)
            spk_rec.append(spk)

        return torch.stack(spk_rec, dim=1)


class Keywords(nn.Module):
    """Batch first; convolutions over sound, normalised; no neuron after the last layer."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(2, 6, 5), nn.Conv1d(6, 8, 3)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(6), nn.BatchNorm1d(8)])
        self.lifs = nn.ModuleList([snn.Leaky(beta=beta, init_hidden=True) for _ in range(2)])
        self.pool = nn.AvgPool1d(2)
        self.fc = nn.Linear(8 * 4, num_outputs)

    def forward(self, x):
        for lif in self.lifs:
            lif.reset_mem()
        logits = []

        for step in range(x.shape[1]):
            out = x[:, step]
            for conv, norm, lif in zip(self.convs, self.norms, self.lifs, strict=True):
                out = self.pool(lif(norm(conv(out))))
            logits.append(self.fc(out.reshape(out.shape[0], -1)))

        return torch.stack(logits, dim=1)


class DoublePrecision(FullyConnected):
    """float64 weights and states; spikes are float32 and cast."""

    def __init__(self) -> None:
        super().__init__(beta=0.9)
        self.double()

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []

        for step in range(num_steps):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1.double()), mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)

        return torch.stack(spk2_rec), torch.stack(mem2_rec)
