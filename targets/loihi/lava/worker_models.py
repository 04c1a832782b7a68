"""Lava's own fixed-point models, made to restart, to forget and to record on schedule.

Part of the stand-alone worker: it needs numpy and lava-nc, and nothing of neurodeploy.  All
arithmetic is that of Lava's models: the subclasses here only set states and registers, clear
buffers, keep what is sent, and report failures.  Sources, all in lava-nc 0.10.0:
`lava/proc/{lif,sdn,rf,rf_iz,atrlif,prodneuron,graded,dense,sparse,conv,io}`.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Any

import numpy as np
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.proc.atrlif.models import PyATRLIFModelFixed
from lava.proc.atrlif.process import ATRLIF
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.graded.models import PyGradedReluVecModelFixed, PyGradedVecModelFixed
from lava.proc.graded.process import GradedReluVec, GradedVec
from lava.proc.io.source import PySendModelFixed, RingBuffer
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc, PyTernLifModelFixed
from lava.proc.lif.process import LIF, LIFReset, TernaryLIF
from lava.proc.prodneuron.models import PyProdNeuronModelFixed
from lava.proc.prodneuron.process import ProdNeuron
from lava.proc.rf.models import PyRFModelFixed
from lava.proc.rf.process import RF
from lava.proc.rf_iz.models import PyRF_IZModelFixed
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from lava.proc.sparse.process import DelaySparse, Sparse


def place_in_period(schedule: dict[str, Any], time_step: int) -> tuple[int, int] | None:
    """(steps since the period began, number of the period); None before the first one.

    Lava counts steps from 1, a schedule from 0.  Without a period, the first one does not end.
    """
    since = time_step - 1 - schedule["start"]
    if since < 0:
        return None
    if schedule["period"] is None:
        return since, 0
    return since % schedule["period"], since // schedule["period"]


class Outspoken:
    """Ends the worker when a model fails, where Lava would wait for ever (lava-nc/lava #231)."""

    time_step: int
    proc_params: Any

    def _spike(self) -> None:
        try:
            super()._spike()  # type: ignore[misc]
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os.kill(os.getppid(), signal.SIGTERM)
            os._exit(1)


# --- neurons --------------------------------------------------------------------------------------


class Neuron(Outspoken):
    """A model of neurons that restarts on schedule and records what it sends and its states.

    Its process carries, among the parameters for the model: `schedule`, `initial` (state -> value),
    `steps`, and by what is recorded, "s" for what is sent, `files` (paths) and `dtypes`.
    """

    s_out: Any

    def run_spk(self) -> None:
        parameters = self.proc_params
        if self.time_step == 1:
            self.begin(parameters)
        place = place_in_period(parameters["schedule"], self.time_step)
        if place is not None and parameters["schedule"]["reset"]:
            since, period = place
            if since == 0:
                for name, value in parameters["initial"].items():
                    getattr(self, name)[:] = value
                self.restarted(period * (parameters["schedule"]["period"] or 0))
        super().run_spk()  # type: ignore[misc]
        for name, array in self.recorded.items():
            array[self.time_step - 1] = self.sent if name == "s" else getattr(self, name)
        if self.time_step == parameters["steps"]:
            for name, array in self.recorded.items():
                np.save(parameters["files"][name], array)

    def begin(self, parameters: dict[str, Any]) -> None:
        """Prepare the recordings, and keep from now on what goes out, in the channel's 32 bits."""
        send, shape = self.s_out.send, self.s_out._shape

        def keep_and_send(data: np.ndarray) -> None:
            self.sent = np.asarray(data).astype(np.int32)
            send(data)

        self.s_out.send = keep_and_send
        self.recorded = {
            name: np.empty((parameters["steps"], *shape), parameters["dtypes"][name])
            for name in parameters["files"]
        }

    def restarted(self, elapsed: int) -> None:
        """Called after a restart, `elapsed` steps after the first."""


class BiasedLIF(LIF):
    """Lava's LIF with an input whose messages are added to the bias mantissa of their step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bias_in = InPort(shape=options["shape"])


class BiasedLIFReset(LIFReset):
    """Lava's LIFReset with the same input."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bias_in = InPort(shape=options["shape"])


class BiasInput(Outspoken):
    """Sets the mantissa, which Lava's model reads in every step, from the input and the register.

    Lava keeps it in 16 bits.
    """

    bias_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        if self.time_step == 1:
            self.constant = self.bias_mant.astype(np.int32)  # type: ignore[has-type]
        self.bias_mant = (self.constant + self.bias_in.recv()).astype(np.int16)
        super().run_spk()  # type: ignore[misc]


class ReadLif(Neuron):
    """Keeps v as it was compared with the threshold, before a spike resets it."""

    v: Any

    def reset_voltage(self, spike_vector: np.ndarray) -> None:
        self.potential = self.v.copy()
        super().reset_voltage(spike_vector)  # type: ignore[misc]


class LifModel(ReadLif, PyLifModelBitAcc):
    """Lava's bit-accurate LIF."""


class LifResetModel(ReadLif, PyLifResetModelBitAcc):
    """Lava's bit-accurate LIFReset, whose interval counts anew from every restart."""

    def restarted(self, elapsed: int) -> None:
        offset = self.proc_params["reset_offset"] + elapsed
        self.reset_offset = offset % self.reset_interval


class BiasedLifModel(BiasInput, LifModel):
    """Lava's bit-accurate LIF with an input for its bias."""


class BiasedLifResetModel(BiasInput, LifResetModel):
    """Lava's bit-accurate LIFReset with an input for its bias."""


class TernaryLifModel(Neuron, PyTernLifModelFixed):
    """Lava's fixed-point TernaryLIF."""


class SigmaModel(Neuron, PySigmaModelFixed):
    """Lava's fixed-point Sigma."""


class DeltaModel(Neuron, PyDeltaModelFixed):
    """Lava's fixed-point Delta."""


class SigmaDeltaModel(Neuron, PySigmaDeltaModelFixed):
    """Lava's fixed-point SigmaDelta."""


class RFModel(Neuron, PyRFModelFixed):
    """Lava's fixed-point RF."""


class RFIZModel(Neuron, PyRF_IZModelFixed):
    """Lava's fixed-point RF_IZ."""


class ATRLIFModel(Neuron, PyATRLIFModelFixed):
    """Lava's fixed-point ATRLIF."""


class ProdModel(Neuron, PyProdNeuronModelFixed):
    """Lava's fixed-point ProdNeuron."""


class GradedModel(Neuron, PyGradedVecModelFixed):
    """Lava's fixed-point GradedVec."""


class GradedReluModel(Neuron, PyGradedReluVecModelFixed):
    """Lava's fixed-point GradedReluVec."""


# --- synapses -------------------------------------------------------------------------------------


class Forgetful(Outspoken):
    """Synapses that drop, on schedule, what is on its way to their target.

    A process may carry `forget`, with the fields of `job.Forget`.
    """

    buffer = "a_buff"

    def run_spk(self) -> None:
        forget = self.proc_params["forget"]
        place = None if forget is None else place_in_period(forget, self.time_step)
        if place is not None and place[0] < forget["steps"]:
            self.drop(forget["kept"])
        super().run_spk()  # type: ignore[misc]

    def drop(self, kept: int) -> None:
        """Forget what arrives in `kept` steps or later; without delays, all arrives at once."""
        if kept == 0:
            getattr(self, self.buffer)[:] = 0


class Delayed(Forgetful):
    """Synapses whose buffer has one column per step ahead."""

    def drop(self, kept: int) -> None:
        self.a_buff[:, kept:] = 0  # type: ignore[attr-defined]


class DenseModel(Forgetful, PyDenseModelBitAcc):
    """Lava's bit-accurate Dense."""


class SparseModel(Forgetful, PySparseModelBitAcc):
    """Lava's bit-accurate Sparse."""


class DelayDenseModel(Delayed, PyDelayDenseModelBitAcc):
    """Lava's bit-accurate DelayDense."""


class DelaySparseModel(Delayed, PyDelaySparseModelBitAcc):
    """Lava's bit-accurate DelaySparse."""


class ConvModel(Forgetful, PyConvModelFixed):
    """Lava's fixed-point Conv.

    It converts float64 sums into 32 bits, which means nothing for a sum that does not fit: an
    error here.
    """

    buffer = "a_buf"

    def run_spk(self) -> None:
        with np.errstate(invalid="raise"):
            super().run_spk()


class SourceModel(Outspoken, PySendModelFixed):
    """Lava's fixed-point RingBuffer source."""


MODELS = {
    LIF: LifModel,
    LIFReset: LifResetModel,
    BiasedLIF: BiasedLifModel,
    BiasedLIFReset: BiasedLifResetModel,
    TernaryLIF: TernaryLifModel,
    Sigma: SigmaModel,
    Delta: DeltaModel,
    SigmaDelta: SigmaDeltaModel,
    RF: RFModel,
    RF_IZ: RFIZModel,
    ATRLIF: ATRLIFModel,
    ProdNeuron: ProdModel,
    GradedVec: GradedModel,
    GradedReluVec: GradedReluModel,
    Dense: DenseModel,
    Sparse: SparseModel,
    DelayDense: DelayDenseModel,
    DelaySparse: DelaySparseModel,
    Conv: ConvModel,
    RingBuffer: SourceModel,
}
