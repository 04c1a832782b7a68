"""The neurons of a `.net` file as NetX builds them, with Lava's integers.

Source: lava-nc/lava-dl 0.6.0 `src/lava/lib/dl/netx/hdf5.py` (`get_neuron_params`), whose arguments
go to the processes of lava-nc 0.10.0 (`targets.loihi.models` lists their registers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.frontends.lava_dl_fields import Fields
from neurodeploy.frontends.lava_dl_neurons import CUBA, read_cuba
from neurodeploy.frontends.lava_dl_synapses import BIASES
from neurodeploy.linear import Shape
from neurodeploy.program import IntArray, compact
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.netx.options import MESSAGE_BITS

BIAS_EXPONENT = 6
STATE_EXPONENT = 6
DECAY_BITS = 12
VTH_LIMIT = (1 << 17) - 1
INTEGRATOR = {"du": -1, "dv": 1 << DECAY_BITS, "vth": 1 << 17}
"""What NetX takes where a dense layer names no neurons: u sums up, nothing ever spikes."""
RESONATORS = {"RF_PHASE": "rf", "RF_IZHIKEVICH": "rf-iz", "RF_IZ": "rf-iz"}
LOCK_UP = "NetX would hang on it"


@dataclass(frozen=True, eq=False)
class NetNeurons:
    """A neuron model, its registers, and what is worth saying of them."""

    model: str
    registers: Mapping[str, IntArray]
    note: str | None = None

    @property
    def graded(self) -> bool:
        """Whether they send integers."""
        return MODELS[self.model].graded

    @property
    def message_bits(self) -> int:
        """What NetX tells the next block of their messages."""
        return MESSAGE_BITS if self.graded else 0

    @property
    def unit(self) -> NDArray[np.float64]:
        """State units per unit of the weights."""
        shift = self.registers.get("spike_exp", np.zeros(1, np.int64)) + STATE_EXPONENT
        return np.asarray(2.0**shift)


def read_neurons(fields: Fields, shape: Shape, spike_exp: int, *, encoder: bool) -> NetNeurons:
    """The neurons of a layer, and its bias where they have one.

    Parameters
    ----------
    shape: of the population.
    spike_exp: see `Options`.
    encoder: whether it is an input layer, whose bias is not the neurons'.

    Raises
    ------
    FileError
        A parameter is missing, out of range, of another length, or of a type on which NetX hangs.
    ModelError
        Another neuron model, or something that NetX leaves unread.
    """
    neuron = fields.group("neuron")
    kind = neuron.text("type")
    if kind == "SDNN":
        return _sigma_delta(fields, neuron, shape, spike_exp, encoder=encoder)
    if kind in RESONATORS:
        return _resonator(neuron, RESONATORS[kind])
    return _cuba(fields, neuron, shape, encoder=encoder)


def integrator(fields: Fields, size: int) -> NetNeurons:
    """What NetX makes of a dense layer without neurons: u is the running sum of its input."""
    values = {name: np.array([value], np.int64) for name, value in INTEGRATOR.items()}
    return NetNeurons("lif", {**values, **_lif(_bias(fields, (size,)))})


def _cuba(fields: Fields, neuron: Fields, shape: Shape, *, encoder: bool) -> NetNeurons:
    if neuron.text("type") in CUBA:
        for name in ("iDecay", "vDecay", "vThMant"):
            _signed(neuron, name)
    if neuron.integer("weight_exp", -64, 64, default=0):
        raise ModelError(
            "weight_exp is not 0, and NetX does not read it",
            node=neuron.node,
            hint="Train with another norm, or convert the file to .nir to have it scaled.",
        )
    cuba = read_cuba(neuron, shape[0], least=0)
    values = {
        "du": cuba.current_decay - 1,
        "dv": cuba.voltage_decay,
        "vth": cuba.threshold.astype(np.int64),
    }
    bias = np.zeros(1, np.int64) if encoder else _bias(fields, shape)
    registers = {name: _spread(value, shape) for name, value in values.items()}
    return NetNeurons("lif", {**registers, **_lif(bias)})


def _lif(bias: IntArray) -> dict[str, IntArray]:
    zero = np.zeros(1, np.int64)
    return {
        "bias_mant": bias,
        "bias_exp": np.array([BIAS_EXPONENT], np.int64),
        "u0": zero,
        "v0": zero,
    }


def _sigma_delta(
    fields: Fields, neuron: Fields, shape: Shape, spike_exp: int, *, encoder: bool
) -> NetNeurons:
    _signed(neuron, "vThMant")
    threshold = neuron.integer("vThMant", 0, VTH_LIMIT)
    activation = neuron.text("activation") if "activation" in neuron else "relu"
    sums = neuron.integer("sigma_output", 0, 1, default=0) == 1 or "sigma_output" in neuron
    if activation != "relu":
        raise ModelError(
            f"the activation is {activation}, and NetX computes relu",
            node=neuron.node,
            hint="Train with activation=torch.nn.functional.relu.",
        )
    neuron.finish()
    bias = np.zeros(1, np.int64) if encoder else _bias(fields, shape)
    if sums and not encoder:
        if np.any(bias):
            raise ModelError("neurons that only sum up have a bias", node=neuron.node)
        return NetNeurons("sigma", {})
    values = {
        "vth": threshold,
        "spike_exp": spike_exp,
        "state_exp": STATE_EXPONENT,
        "cum_error": 0,
    }
    registers = {name: np.array([value], np.int64) for name, value in values.items()}
    if encoder:
        return NetNeurons("delta", registers)
    one = np.ones(1, np.int64)
    return NetNeurons("sigma-delta", {**registers, "bias": bias, "relu": one})


def _resonator(neuron: Fields, model: str) -> NetNeurons:
    r"""RF and RF_IZ neurons, whose decays NetX computes anew.

    With :math:`s, c` = sinDecay, cosDecay over 2^12, `slayer/neuron/rf.py` (`neuron_params`) makes
    alpha = 1 - sqrt(s^2 + c^2) and period = 2 pi / arctan2(s, c), and lava-nc 0.10.0
    `src/lava/proc/rf/process.py` int((1 - alpha) sin(2 pi / period) 2^12) and the same with cos.
    That is sinDecay and cosDecay, truncated.  Where they are whole, the last bit of float64 decides
    whether they stay or become one less, differently with other versions of numpy; here they stay.
    """
    _signed(neuron, "vThMant")
    if neuron.integer("gradedSpike", 0, 1, default=0):
        raise ModelError(
            "gradedSpike is set, and NetX does not read it",
            node=neuron.node,
            hint="Train with graded_spike=False.",
        )
    one = 1 << DECAY_BITS
    sine, cosine = (neuron.number(name, -one, one) for name in ("sinDecay", "cosDecay"))
    threshold = neuron.integer("vThMant", 1, VTH_LIMIT)
    neuron.finish()
    if sine == 0:
        raise ModelError("sinDecay is 0: neurons without a period", node=neuron.node)
    values = {
        "sin_decay": math.trunc(sine),
        "cos_decay": math.trunc(cosine),
        "decay_bits": DECAY_BITS,
        "state_exp": STATE_EXPONENT,
        "vth": threshold << STATE_EXPONENT,
    }
    whole = [name for name, value in (("sin", sine), ("cos", cosine)) if value == math.trunc(value)]
    note = None
    if whole:
        note = (
            f"NetX computes the decays anew in float64 and truncates: {' and '.join(whole)} may be "
            "1 less there, which depends on its numpy; a file that write_net writes is safe"
        )
    registers = {name: np.array([value], np.int64) for name, value in values.items()}
    return NetNeurons(model, registers, note)


def _bias(fields: Fields, shape: Shape) -> IntArray:
    """One for all, one per channel, or, of images, NetX's (width, height, channels)."""
    if "bias" not in fields:
        return np.zeros(1, np.int64)
    if len(shape) == 3 and fields.dimensions("bias") == 3:
        values = fields.integers("bias", *BIASES)
        if values.shape != shape[::-1]:
            raise fields.error("bias", f"has shape {values.shape}, expected {shape[::-1]}")
        return compact(values.transpose(2, 1, 0))
    values = fields.per_channel("bias", shape[0], *BIASES)
    if len(shape) == 3 and values.size != shape[0]:
        raise fields.error("bias", f"has 1 value, NetX wants one for each of {shape[0]} channels")
    return _spread(values, shape)


def _spread(values: IntArray, shape: Shape) -> IntArray:
    """One value, or one per channel, as a register of a population."""
    column = values.reshape(-1, *(1,) * (len(shape) - 1))
    return compact(np.broadcast_to(column, shape) if values.size > 1 else values)


def _signed(neuron: Fields, name: str) -> None:
    kind = neuron.kind(name)
    if kind != "i":
        raise neuron.error(name, f"is no signed integer: {LOCK_UP}", "Write it as int64.")
