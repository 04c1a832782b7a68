"""NIR nodes of snnTorch's Alpha, which is no single NIR neuron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import torch

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_neurons import Arithmetic, Array, time_constant
from neurodeploy.frontends._snntorch_nodes import neuron_array
from neurodeploy.frontends._snntorch_values import Shape

# The nodes of an Alpha before its Threshold, each with those that it follows.
ALPHA_ORDER: Mapping[str, tuple[str, ...]] = {
    "excitatory": (),
    "inhibitory": (),
    "negative": ("inhibitory",),
    "difference": ("excitatory", "negative"),
    "factor": ("difference",),
}


def alpha_filters(
    module: Any, shape: Shape, model: Arithmetic, path: str
) -> dict[str, nir.NIRNode]:
    r"""What leads to the Threshold of an Alpha without reset; parameters float64, of `shape`.

    snnTorch computes (snntorch/_neurons/alpha.py)

    .. math::
        e \leftarrow \alpha e + x, \quad h \leftarrow \beta h - x, \quad v = k (e + h), \quad
        k = \frac{\log \alpha}{\log \beta - \log \alpha} + 1

    The input goes to the integrators `excitatory`, e, and `inhibitory`, -h; that and the negative
    of this meet in `difference`, an integrator that forgets all, which leads to `factor`, k.  The
    sum has a node of its own because snnTorch rounds it before it multiplies.

    Raises
    ------
    ModelError
        k is not finite, or a decay has no time constant.
    """
    alpha, beta = module.alpha.clamp(0, 1), module.beta.clamp(0, 1)
    factor = torch.log(alpha) / (torch.log(beta) - torch.log(alpha)) + 1
    k = neuron_array(factor, "alpha or beta", shape, model.dtype, path)
    bad = int(np.count_nonzero(~np.isfinite(k)))
    if bad:
        raise ModelError(
            f"log(alpha) / (log(beta) - log(alpha)) is not finite for {bad} of {k.size} neurons",
            node=path,
            hint="Keep alpha above beta, and both above 0.",
        )
    decays = {
        name: neuron_array(tensor, name, shape, model.dtype, path)
        for name, tensor in (("alpha", alpha), ("beta", beta))
    }
    return {
        "excitatory": _integrator(decays["alpha"], "alpha", model, path),
        "inhibitory": _integrator(decays["beta"], "beta", model, path),
        "negative": nir.Scale(np.full(shape, -1.0)),
        "difference": _integrator(np.zeros(shape), "zero", model, path),
        "factor": nir.Scale(k),
    }


def _integrator(decay: Array, name: str, model: Arithmetic, path: str) -> nir.LI | nir.I:
    r"""LI of :math:`v \leftarrow \beta v + x`; NIR's I where :math:`\beta = 1` everywhere."""
    if np.all(decay == 1):
        return nir.I(r=np.full_like(decay, 1 / model.dt))
    tau = time_constant(decay, name, model, path)
    return nir.LI(tau=tau, r=tau / model.dt, v_leak=np.zeros_like(decay))
