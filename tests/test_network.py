"""A `Network` is valid by construction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.errors import ModelError
from neurodeploy.linear import Dense, Reshape
from neurodeploy.network import Connection, InputPort, Network, Population
from neurodeploy.semantics import Semantics

GRAPH = nir.NIRGraph({}, [], type_check=False)


def population(name: str, shape: tuple[int, ...] = (2,), **changes: Any) -> Population:
    full = {
        key: np.full(shape, value)
        for key, value in (
            ("current_decay", 0.0),
            ("decay", 0.5),
            ("threshold", 1.0),
            ("bias", 0.0),
        )
    }
    return Population(name, shape, **{**full, **changes}, semantics=Semantics())


def dense(source: str, target: str, n: int = 2, m: int = 2) -> Connection:
    return Connection(source, target, (Dense(np.ones((m, n)), (n,), (m,)),))


def build(**changes: Any) -> Network:
    parts: dict[str, Any] = {
        "inputs": (InputPort("x", (2,)),),
        "populations": (population("a"), population("b"), population("c")),
        "connections": (dense("x", "a"), dense("a", "b"), dense("a", "c"), dense("b", "c")),
        "outputs": ("c",),
        "graph": GRAPH,
    }
    return Network(**{**parts, **changes})


def test_shapes_depths_and_incoming() -> None:
    net = build()
    assert net.shapes == {"x": (2,), "a": (2,), "b": (2,), "c": (2,)}
    assert net.depths == {"x": 0, "a": 1, "b": 2, "c": 3}
    assert [c.name for c in net.incoming("c")] == ["a->c", "b->c"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"populations": (population("a"), population("a"))}, "same name"),
        ({"inputs": (InputPort("a", (2,)),)}, "same name"),
        ({"populations": (), "connections": (), "outputs": ()}, "no neurons"),
        ({"outputs": ()}, "no population reaches an output"),
        ({"outputs": ("x",)}, "x: an output must be a population"),
        ({"outputs": ("d",)}, "d: an output must be a population"),
        ({"connections": (dense("x", "d"),)}, "x->d: unknown node 'd'"),
        ({"connections": (dense("y", "a"),)}, "y->a: unknown node 'y'"),
        ({"connections": (dense("a", "a"),)}, "a->a: goes backwards"),
        ({"connections": (dense("b", "a"),)}, "b->a: goes backwards"),
        ({"connections": (dense("x", "a", n=3),)}, r"x->a: Dense expects \(3,\) and gets \(2,\)"),
        ({"connections": (dense("x", "a", m=3),)}, r"x->a: delivers \(3,\)"),
        ({"connections": (Connection("x", "a", (Reshape((2,), (1, 2)),)),)}, "delivers"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build(**changes)


@pytest.mark.parametrize("name", ["decay", "threshold", "bias"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_parameters_are_finite(name: str, bad: float) -> None:
    with pytest.raises(ModelError, match=f"lif: 1 of 2 values of {name} are not finite"):
        population("lif", **{name: np.array([0.5, bad])})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decay": np.array([-1e-9, 0.5])}, "decay spans -1e-09..0.5"),
        ({"decay": np.array([1.001, 0.5])}, "expected 0..1"),
        ({"threshold": np.array([0.0, 1])}, "lowest threshold is 0"),
        ({"threshold": np.array([1.0, -2])}, "lowest threshold is -2"),
        ({"bias": np.zeros(3)}, r"bias has shape \(3,\), the population \(2,\)"),
        ({"decay": np.array(0.5)}, r"decay has shape \(\)"),
    ],
)
def test_parameters_are_possible(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=f"lif: .*{words}"):
        population("lif", **changes)


def test_limits_of_the_decay_are_allowed() -> None:
    ends = population("lif", decay=np.array([0.0, 1.0]))
    assert ends.size == 2
    assert replace(ends, name="other").shape == (2,)
