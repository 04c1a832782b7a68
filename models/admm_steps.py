r"""The closed forms of `admm`, whose equations and names are used here; float64 throughout.

With q = \delta z_{t-1} - \theta a_{t-1} + W a_{l-1,t} and r = z_{t+1} - W a_{l-1,t+1}, what one
variable minimises when all others are kept is quadratic.  Formulas as in the class `ADMM_SNN` of
github.com/josubernal/ADMM_framework, which numbers them like the paper.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

JUST_ABOVE = 1e-5
"""How far above the threshold a potential is put that has to spike."""
ROUNDING = 1e-4
"""Relative rise of the Lagrangian that is none: `JUST_ABOVE` is not counted by the closed forms."""


class Settings(Protocol):
    """What of `admm.Recipe` is used here."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def spiking(self) -> float: ...
    @property
    def decay(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def noise(self) -> float: ...


class Variables:
    """All that an iteration changes: weights, z, a and the multipliers; drawn as training starts.

    Weights begin at 0, multipliers at 0, z and a uniform in 0..1: inconsistent with each other,
    which works far better than the z and a of random weights.

    Parameters
    ----------
    x: spikes (T, N, inputs); noise is added to them.
    y: one-hot labels (N, classes).
    sizes: neurons of every layer, the input first.
    """

    def __init__(self, x: Tensor, y: Tensor, sizes: Sequence[int], settings: Settings) -> None:
        self.rho, self.beta = settings.learning_rate, settings.spiking
        self.delta, self.theta = settings.decay, settings.threshold
        self.y = y
        shapes = [(*x.shape[:2], size) for size in sizes[1:]]
        self.weights = [
            torch.zeros(after, before, dtype=torch.float64)
            for before, after in itertools.pairwise(sizes)
        ]
        self.z = [torch.rand(shape, dtype=torch.float64) for shape in shapes]
        noise = settings.noise * torch.randn(x.shape, dtype=torch.float64)
        self.a = [x + noise, *(torch.rand(shape, dtype=torch.float64) for shape in shapes[:-1])]
        self.multiplier = torch.zeros_like(y)
        self.last = float("inf")

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        lists = {"weights": self.weights, "z": self.z, "a": self.a}
        return {**lists, "multiplier": self.multiplier, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse; raises what a damaged one leads to."""
        for name in ("weights", "z", "a"):
            for mine, read in zip(getattr(self, name), state[name], strict=True):
                mine.copy_(read)
        self.multiplier.copy_(state["multiplier"])
        self.last = float(state["last"])

    def iterate(self, moving: bool) -> dict[str, float]:
        """One update of every variable; of the multipliers only if `moving`.

        Returns
        -------
        "lagrangian", "residual" (of the last layer and step, root mean square), "rate" (share of
        hidden z above the threshold), and "rose": 1 where the Lagrangian is above that of the
        iteration before.
        """
        for layer in torch.randperm(len(self.weights) - 1).tolist():
            self._weights(layer)
            self._hidden(layer)
        self._weights(len(self.weights) - 1)
        self._readout()
        lagrangian = self.lagrangian()
        rose = lagrangian > self.last * (1 + ROUNDING)
        if moving:
            self.multiplier += self.rho * self.residual(-1)[-1]
            lagrangian = self.lagrangian()
        self.last = lagrangian
        rates = torch.cat([(z > self.theta).flatten() for z in self.z[:-1]])
        return {
            "lagrangian": lagrangian,
            "residual": float(self.residual(-1)[-1].square().mean().sqrt()),
            "rate": float(rates.double().mean()),
            "rose": float(rose),
        }

    def lagrangian(self) -> float:
        """What is minimised, see `admm`."""
        found = (self.z[-1][-1] - self.y).square().sum()
        for layer in range(len(self.weights)):
            found = found + self.rho / 2 * self.residual(layer).square().sum()
        for z, a in zip(self.z[:-1], self.a[1:], strict=True):
            found = found + self.beta / 2 * (a - (z > self.theta).double()).square().sum()
        return float(found + (self.multiplier * self.residual(-1)[-1]).sum())

    def residual(self, layer: int) -> Tensor:
        """r (T, N, neurons): z_t - delta z_{t-1} - W a_{l-1,t} + theta a_{t-1}."""
        return self._wanted(layer) - self.a[layer] @ self.weights[layer].T

    def _wanted(self, layer: int) -> Tensor:
        """x (T, N, neurons): what W a_{l-1,t} would have to be for the residual to vanish."""
        z = self.z[layer]
        wanted = z - self.delta * _before(z)
        last = layer in (-1, len(self.weights) - 1)
        return wanted if last else wanted + self.theta * _before(self.a[layer + 1])

    def _weights(self, layer: int) -> None:
        """W = (sum_t x_t a_{l-1,t}^T)(sum_t a_{l-1,t} a_{l-1,t}^T)^+; in the last layer
        (lambda / rho) a_{l-1,T}^T is added to the first factor."""
        a, wanted = self.a[layer], self._wanted(layer)
        if layer == len(self.weights) - 1:
            wanted[-1] += self.multiplier / self.rho
        product = torch.einsum("tno,tni->oi", wanted, a)
        gram = torch.einsum("tni,tnj->ij", a, a)
        self.weights[layer] = product @ torch.linalg.pinv(gram, hermitian=True)

    def _hidden(self, layer: int) -> None:
        """a_t and z_t of a hidden layer, for t = 1..T-1 in random order, then for T.

        a = clip_0^1[(W'^T W' + (theta^2 + beta/rho) I)^-1
        (W'^T x' + (beta/rho) H(z_t) - theta (z_{t+1} - delta z_t - W a_{l-1,t+1}))], with W' and x'
        of the next layer; at T without theta.  z = (q + delta (r + theta a)) / (1 + delta^2), at T
        z = q, and then `_spiking`.
        """
        z, a, delta, theta = self.z[layer], self.a[layer + 1], self.delta, self.theta
        above = self.weights[layer + 1]
        wanted = self._wanted(layer + 1)
        if layer + 1 == len(self.weights) - 1:
            wanted[-1] += self.multiplier / self.rho
        back, drive = wanted @ above, self.a[layer] @ self.weights[layer].T
        gram, eye = above.T @ above, torch.eye(len(above.T), dtype=torch.float64)
        share, end = self.beta / self.rho, len(z) - 1
        solver = torch.linalg.inv(gram + (theta**2 + share) * eye)
        at_end = torch.linalg.inv(gram + share * eye)
        none = torch.zeros_like(z[0])
        for t in [*torch.randperm(end).tolist(), end]:
            fired = (z[t] > theta).double()
            q = drive[t] + (delta * z[t - 1] - theta * a[t - 1] if t else none)
            if t == end:
                a[t] = ((back[t] + share * fired) @ at_end).clip(0, 1)
                z[t] = self._spiking(q, a[t], q, None)
                continue
            r = z[t + 1] - drive[t + 1]
            w = r - delta * z[t]
            a[t] = ((back[t] + share * fired - theta * w) @ solver).clip(0, 1)
            free = (q + delta * (r + theta * a[t])) / (1 + delta**2)
            z[t] = self._spiking(free, a[t], q, r)

    def _spiking(self, z: Tensor, a: Tensor, q: Tensor, r: Tensor | None) -> Tensor:
        """`z`, or the other side of the threshold where that costs less.

        With J(z) = rho (z - q)^2 + rho (r - delta z + theta a)^2 (the first alone at T): a spike is
        undone (z = theta) where beta (1 - 2 a) + J(z) > J(theta), and made (z just above theta)
        where J(z) - beta (1 - 2 a) > J(theta).
        """

        def cost(x: Tensor) -> Tensor:
            found = (x - q).square()
            if r is not None:
                found = found + (r - self.delta * x + self.theta * a).square()
            return self.rho * found

        edge = torch.full_like(z, self.theta)
        saved, price = cost(z) - cost(edge), self.beta * (1 - 2 * a)
        fires = z > self.theta
        z = torch.where(fires & (price + saved > 0), edge, z)
        return torch.where(~fires & (saved - price > 0), edge + JUST_ABOVE, z)

    def _readout(self) -> None:
        """z_{L,t} = (q + delta r + [t = T-1] delta lambda / rho) / (1 + delta^2) for t < T, and
        z_{L,T} = (rho q + 2 y - lambda) / (2 + rho)."""
        z, delta, end = self.z[-1], self.delta, len(self.z[-1]) - 1
        drive = self.a[-1] @ self.weights[-1].T
        for t in range(end):
            q = drive[t] + (delta * z[t - 1] if t else 0)
            r = z[t + 1] - drive[t + 1]
            if t == end - 1:
                r = r + self.multiplier / self.rho
            z[t] = (q + delta * r) / (1 + delta**2)
        q = drive[end] + delta * z[end - 1]
        z[end] = (self.rho * q + 2 * self.y - self.multiplier) / (2 + self.rho)


def _before(x: Tensor) -> Tensor:
    """What stood there a step earlier; 0 before the first."""
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])
