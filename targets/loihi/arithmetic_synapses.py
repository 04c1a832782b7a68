"""What Lava makes of weights, messages and delays before `arithmetic`'s activations.

The specification, as in `arithmetic`.  Sources are Lava 0.10.0 files: `lava-nc/lava:
src/lava/utils/weightutils.py` and `src/lava/proc/dense/models.py` (Sparse computes the same).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.program import IntArray
from neurodeploy.targets.loihi.arithmetic import Ints, dense_activation, wrap_int32

SignMode = Literal["mixed", "excitatory", "inhibitory"]
WEIGHT_BITS = 8


def sign_mode_of(weight: IntArray) -> SignMode:
    """What Lava takes where no sign mode is given: by the least and the greatest weight."""
    if weight.min() >= 0:
        return "excitatory"
    return "inhibitory" if weight.max() <= 0 else "mixed"


def effective_weights(
    weight: NDArray[np.integer[Any]], sign_mode: SignMode, num_weight_bits: int
) -> IntArray:
    """The weights that Dense, Sparse and their delayed kinds multiply with.

    x = clip(int32(w), -256 where mixed, else 0; 255),  k = 8 - num_weight_bits + (1 where mixed),
    w' = (x >> k) << k;  inhibitory weights are negated before and after.

    So 8 mixed bits are the even numbers from -256 to 254, odd ones rounded down; 9 mixed bits keep
    odd ones too, which no chip can.  A negative k makes *every* weight 0: numpy shifts all bits out
    where it is told to shift by a negative number.

    Parameters
    ----------
    weight: integers of any shape, as given to Lava.

    Returns
    -------
    int64, of the same shape.
    """
    mixed, sign = sign_mode == "mixed", -1 if sign_mode == "inhibitory" else 1
    given = wrap_int32(np.asarray(weight, np.int64))
    clipped = np.clip(wrap_int32(sign * given), -256 * mixed, 255)
    k = WEIGHT_BITS - num_weight_bits + mixed
    kept = (clipped >> k) << k if 0 <= k < 32 else np.zeros_like(clipped)
    return np.asarray(sign * kept, np.int64)


def received(message: Ints, num_message_bits: int) -> Ints:
    """What weights are multiplied with: the message, or 1 for any message but 0.

    Without message bits (0) a negative message counts as a spike like any other.
    """
    return message if num_message_bits > 0 else (message != 0) * 1


def delayed_activations(
    weight: IntArray, delay: IntArray, x: IntArray, exponent: int
) -> tuple[IntArray, ...]:
    """What one message causes 0, 1, 2... steps later than the synapse's own step.

    Entry d is `dense_activation` of the sum over the synapses of delay d: the exponent acts on each
    delay's sum before these meet in the buffer, so with a negative one the floors add up.  What
    meets there is added in 32 bits.

    Sums are exact here and in 32 bits in DelaySparse, which is the same; DelayDense wraps each
    *product* at 32 bits and then adds exactly.  These differ only where a product leaves 32 bits,
    which takes messages beyond 23, and a negative exponent.

    Parameters
    ----------
    weight, delay: (out, in); x: (in,), from `received`.
    """
    return tuple(
        np.asarray(dense_activation(np.where(delay == d, weight, 0) @ x, exponent))
        for d in range(int(delay.max()) + 1)
    )
