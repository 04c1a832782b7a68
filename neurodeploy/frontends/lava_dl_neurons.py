"""CUBA neurons of a `.net` file as NIR nodes.

Source: lava-nc/lava-dl 0.6.0, `src/lava/lib/dl/slayer/neuron/cuba.py` (`device_params` writes the
fields), `slayer/neuron/norm.py` and `netx/hdf5.py` (`get_neuron_params` reads them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.frontends.lava_dl_fields import Fields, IntArray
from neurodeploy.linear import FloatArray, Shape
from neurodeploy.semantics import Semantics, to_metadata

DT = 1e-3
"""Length of a step in s: SLAYER counts time in ms, with a sampling time of 1."""
SEMANTICS = Semantics(dt=DT, reset="zero", reset_timing="immediate", comparison=">")
DECAY_ONE = 1 << 12
ENDLESS = 2.0**60
"""A time constant in steps whose decay, 1 - 2^-60, is 1 in float64."""
VTH_LIMIT = (1 << 17) - 1
VTH_NEVER = (1 << 18) - 1
"""The threshold that `Affine(dynamics=True)` writes: it reads the potential, nothing spikes."""
WEIGHT_EXP_LIMIT = 3
INT64 = (-(1 << 63), (1 << 63) - 1)
CUBA = ("CUBA", "LOIHI")
"""Types of CUBA neurons; slayerSNN wrote the second."""
UNSUPPORTED = {
    "SDNN": "sigma-delta neurons send graded messages",
    "ALIF": "the adaptive threshold has no equivalent here",
    "RF_PHASE": "resonate-and-fire neurons have a complex state",
    "RF_IZ": "resonate-and-fire neurons have a complex state",
    "ADRF": "adaptive resonate-and-fire neurons have a complex state",
    "ADRF_IZ": "adaptive resonate-and-fire neurons have a complex state",
}


@dataclass(frozen=True, eq=False)
class Cuba:
    r"""CUBA neurons, one value per parameter or one per channel (row of the weights).

    .. math::
        u' = (1 - \mathrm{iDecay}/4096)\,u + x, \quad
        v' = (1 - \mathrm{vDecay}/4096)\,v + u' + b, \quad
        s = [v' > \mathrm{vThMant}], \quad v' = 0 \text{ where } s

    in the unit of the weights.  Lava's fixed-point model (lava-nc 0.10.0
    `src/lava/proc/lif/models.py`, `PyLifModelBitAcc`, with du = iDecay - 1, bias_exp = 6) keeps u
    and v in 1/64 of it (both x and the threshold are shifted left by 6), rounds decays toward zero,
    wraps u and saturates v at 24 bits; SLAYER does the same without the limits.  u is not reset.

    Attributes
    ----------
    current_decay, voltage_decay: iDecay and vDecay, 0..4096.
    threshold: float64, in the unit of the weights.
    spiking: False for `Affine` blocks, which deliver v.
    """

    current_decay: IntArray
    voltage_decay: IntArray
    threshold: FloatArray
    spiking: bool

    @property
    def filtered(self) -> bool:
        """Whether there is a synaptic current: some iDecay is below 4096."""
        return bool(np.any(self.current_decay < DECAY_ONE))

    def node(self, shape: Shape, leak: IntArray, module: str) -> nir.NIRNode:
        """The NIR node of a population of `shape`, whose v also gets `leak` in every step."""
        tau = _tau(self.voltage_decay, shape)
        constant = spread(leak, shape) * (tau / DT)
        kind: type[Any]
        values: dict[str, Any] = {"r": tau / DT, "v_leak": constant}
        if self.filtered:
            synaptic = _tau(self.current_decay, shape)
            kind = nir.CubaLIF if self.spiking else nir.CubaLI
            values |= {"tau_syn": synaptic, "tau_mem": tau, "w_in": synaptic / DT}
        elif np.any(self.voltage_decay) or np.any(leak):
            kind = nir.LIF if self.spiking else nir.LI
            values |= {"tau": tau}
        else:
            kind = nir.IF if self.spiking else nir.I
            values = {"r": np.full(shape, 1 / DT)}
        semantics = SEMANTICS
        if self.spiking:
            values |= {"v_threshold": spread(self.threshold, shape), "v_reset": np.zeros(shape)}
        else:
            semantics = replace(SEMANTICS, reset="none")
        # float32 holds every decay and every bias exactly; the loader rounds to it.
        entries = {"semantics": semantics.to_dict(), "dtype": "float32", "module": module}
        return kind(**values, metadata=to_metadata(**entries))


def _tau(decay: IntArray, shape: Shape) -> FloatArray:
    """Time constants in s by forward Euler: dt/tau = decay/4096."""
    steps = np.where(decay > 0, DECAY_ONE / np.maximum(decay, 1), ENDLESS)
    return spread(DT * steps, shape)


def spread(values: NDArray[Any], shape: Shape) -> FloatArray:
    """One value per channel (or one for all) as float64 of the whole shape."""
    column = values.reshape(-1, *(1,) * (len(shape) - 1))
    return np.broadcast_to(column, shape).astype(np.float64)


def read_cuba(fields: Fields, channels: int, least: int = 1) -> Cuba:
    """The CUBA neurons that a `neuron` group describes.

    `least` is the least threshold: 1 where a model has none of 0, which the chip can have.

    Raises
    ------
    FileError
        A parameter is missing, out of range or of another length than 1 or `channels`.
    ModelError
        Another neuron model, or an option of it that has no meaning here.
    """
    kind = fields.text("type")
    if kind not in CUBA:
        reason = UNSUPPORTED.get(kind.upper(), "only CUBA neurons can be read")
        raise ModelError(
            f"neurons of type {kind!r} are not supported: {reason}",
            node=fields.node,
            hint="Train with slayer.block.cuba.",
        )
    if fields.integer("gradedSpike", 0, 1, default=0):
        raise ModelError(
            "gradedSpike is set: spikes carry a value",
            node=fields.node,
            hint="Train with graded_spike=False.",
        )
    # A refractory delay of 1 is none: SLAYER writes nothing else, and Lava does not read it.
    fields.integer("refDelay", 0, 1, default=1)
    # slayerSNN (bamsumit/slayerPytorch) wrote these; only the first acts after training.
    fields.integer("wgtExp", 0, 0, default=0)
    fields.ignore("theta", "tauRho", "scaleRho")

    decays = [fields.per_channel(name, channels, 0, DECAY_ONE) for name in ("iDecay", "vDecay")]
    spiking = bool(np.any(fields.integers("vThMant", *INT64) != VTH_NEVER))
    threshold = fields.per_channel("vThMant", channels, least, VTH_LIMIT if spiking else VTH_NEVER)
    # WgtScaleBatchNorm divides current and bias by 2^weight_exp, which is a threshold that much
    # higher.  SLAYER clips the exponent to 3 bits by default and writes it unclipped.
    limit = WEIGHT_EXP_LIMIT if spiking else 0
    exponent = fields.integer("weight_exp", -limit, limit, default=0)
    fields.finish()
    scaled = np.ldexp(threshold.astype(np.float64), exponent)
    return Cuba(decays[0], decays[1], scaled, spiking)
