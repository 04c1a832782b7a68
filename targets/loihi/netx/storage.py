"""What NetX stores of a dense weight matrix, and what Lava's synapses make of that.

Sources: lava-nc/lava-dl 0.6.0 `src/lava/lib/dl/netx/utils.py` (`optimize_weight_bits`) and
`netx/hdf5.py` (`create_dense`); what Lava then multiplies with is
`arithmetic_synapses.effective_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.program import IntArray
from neurodeploy.targets.loihi.arithmetic_synapses import effective_weights, sign_mode_of

SIGNED = (-256, 254)
"""What NetX clips matrices with weights of both signs to, with a line on the screen."""
MAX_SHARED_BITS = 8


@dataclass(frozen=True)
class Storage:
    """Weights are kept as w 2^shift in `bits` bits, with the weight exponent -shift."""

    shift: int
    bits: int


def storage(weight: IntArray) -> Storage:
    """NetX's choice for a matrix that is not all zero.

    With the greatest and least weights M and m, NetX takes the matrix as inhibitory if M < 0,
    excitatory if m >= 0, else as mixed, and

        shift = floor(log2(scale)) (+ 1 if mixed),
        scale = -256/m, 255/M or min(127/M, -128/m),
        bits  = 8 - shift - n (+ 1 if mixed),

    where 2^n, n <= 8, divides all weights.
    """
    high, low = int(weight.max()), int(weight.min())
    mixed = low < 0 <= high
    if mixed:
        scales = [Fraction(-128, low)] + ([Fraction(127, high)] if high else [])
    else:
        scales = [Fraction(255, high) if low >= 0 else Fraction(-256, low)]
    shift = _floor_log2(min(scales)) + mixed
    together = int(np.bitwise_or.reduce(weight, axis=None))
    shared = min((together & -together).bit_length() - 1, MAX_SHARED_BITS)
    return Storage(shift, 8 - shift - shared + mixed)


def _floor_log2(x: Fraction) -> int:
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    return exponent if Fraction(2) ** exponent <= x else exponent - 1


def stored(name: str, *matrices: IntArray) -> tuple[list[IntArray], int]:
    """Matrices that share their storage, as Lava multiplies with them, and the weight exponent.

    Parameters
    ----------
    name: of the layer.
    matrices: int64 (out, in) each, all with the same out.

    Returns
    -------
    The weights times 2^-exponent, and the exponent.

    Raises
    ------
    ModelError
        NetX cannot load the weights, or Lava would compute with other ones: without a message it
        clips them, rounds them down or sets all to 0.
    """
    together = np.concatenate(matrices, axis=1)
    if not np.any(together):
        raise ModelError(
            "all weights are 0, which NetX cannot load",
            node=name,
            hint="Leave the layer out.",
        )
    if together.min() < 0 and together.max() > SIGNED[1]:
        raise _changed(name, f"{together.max()} to {SIGNED[1]}")
    chosen = storage(together)
    kept = [matrix << chosen.shift for matrix in matrices]
    for matrix, wanted in zip(matrices, kept, strict=True):
        found = effective_weights(wanted, sign_mode_of(wanted), chosen.bits)
        wrong = found != wanted
        if np.any(wrong):
            old, new = int(matrix[wrong][0]), float(found[wrong][0]) / 2**chosen.shift
            count = np.count_nonzero(wrong)
            raise _changed(name, f"{count} of {wrong.size}, such as {old} to {new:g}")
    return kept, -chosen.shift


def _changed(name: str, text: str) -> ModelError:
    return ModelError(
        f"NetX and Lava would change weights without a message: {text}",
        node=name,
        hint="Safe are even weights in -254..254, some of them positive or none a power of two.",
    )
