"""Populations, projections and networks of the stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np

from spinnaker2.calls import FAULT, SPELLING, record, require

LIF = {"threshold", "alpha_decay", "i_offset", "v_init", "v_reset", "reset"}
EXP = {*LIF, "exc_decay", "inh_decay", "t_refract" if SPELLING else "t_refrac"}
MODELS: dict[str, set[str]] = {
    "lif": LIF,
    "lif_no_delay": LIF,
    "lif_conv2d": LIF,
    "lif_curr_exp": EXP,
    "lif_curr_exp_no_delay": EXP,
}
WEIGHTS = {"lif": 15, "lif_curr_exp": 15, "lif_no_delay": 127, "lif_curr_exp_no_delay": 127}
DELAYS = {"lif": 7, "lif_curr_exp": 7, "lif_no_delay": 0, "lif_curr_exp_no_delay": 0}
RECORDABLES = {"spikes", "v", "v_last", "time_done"}
GEOMETRY = {"in_height", "in_width", "stride_x", "stride_y", "pool_x", "pool_y"}
GEOMETRY |= {"pad_top", "pad_bottom", "pad_left", "pad_right"}
LARGEST_CORE = 256


class Population:
    """Neurons of one model."""

    def __init__(
        self,
        size: int,
        neuron_model: str,
        params: dict[Any, Any],
        name: str = "",
        record: list[str] | None = None,
    ) -> None:
        require(type(size) is int and size > 0, f"size {size!r}")
        require(neuron_model in {*MODELS, "spike_list"}, f"model {neuron_model!r}")
        require(isinstance(name, str), f"name {name!r}")
        self.size, self.neuron_model, self.name = size, neuron_model, name
        self.record = list(record or [])
        require(set(self.record) <= RECORDABLES, f"record {self.record}")
        self.atoms = LARGEST_CORE
        self.params = params
        self.clear()
        _log("Population", size=size, model=neuron_model, name=name, record=self.record)

    @property
    def params(self) -> dict[Any, Any]:
        return self._params

    @params.setter
    def params(self, params: dict[Any, Any]) -> None:
        require(type(params) is dict, f"params are a {type(params).__name__}")
        if self.neuron_model == "spike_list":
            for neuron, ticks in params.items():
                require(type(neuron) is int and 0 <= neuron < self.size, f"input {neuron!r}")
                require(all(type(t) is int and t >= 0 for t in ticks), f"input ticks {ticks}")
        else:
            expected = MODELS[self.neuron_model]
            require(set(params) == expected, f"params {sorted(params)}, not {sorted(expected)}")
            for key, value in params.items():
                self._check(key, value)
        self._params = params

    def _check(self, key: str, value: Any) -> None:
        if key == "reset":
            require(value in ("reset_by_subtraction", "reset_to_v_reset"), f"reset {value!r}")
            return
        values = np.asarray(value)
        require(values.dtype.kind in "if" and values.shape in ((), (self.size,)), f"{key} {value}")
        single = values.astype(np.float32).astype(values.dtype)
        require(bool(np.all(np.isfinite(values))), f"{key} is not finite")
        require(np.array_equal(single, values), f"{key} is not a float32")

    def clear(self) -> None:
        """Forget what was recorded."""
        self.spikes: dict[int, list[int]] | None = None
        self.voltages: dict[int, Any] | None = None
        self.times: dict[str, Any] | None = None

    def get_spikes(self) -> dict[int, list[int]]:
        require("spikes" in self.record and self.spikes is not None, "no spikes were recorded")
        return self.spikes or {}

    def get_voltages(self) -> dict[int, Any]:
        require("v" in self.record and self.voltages is not None, "no v was recorded")
        return self.voltages or {}

    def get_time_done_times(self) -> dict[str, Any]:
        require("time_done" in self.record, "no time_done was recorded")
        return self.times or {}

    if FAULT != "old":

        def set_max_atoms_per_core(self, max_atoms: int) -> None:
            fits = type(max_atoms) is int and 1 <= max_atoms <= LARGEST_CORE
            require(fits, f"{max_atoms!r} atoms on a core")
            self.atoms = max_atoms
            _log("set_max_atoms_per_core", name=self.name, atoms=max_atoms)


class Projection:
    """A list of synapses: [pre, post, weight, delay]."""

    def __init__(
        self, pre: Population, post: Population, connections: list[list[int]], name: str = ""
    ) -> None:
        require(post.neuron_model in WEIGHTS, f"a list of synapses to {post.neuron_model}")
        table = np.asarray(connections).reshape(-1, 4)
        require(type(connections) is list and table.dtype == np.int64, "synapses are no integers")
        most, longest = WEIGHTS[post.neuron_model], DELAYS[post.neuron_model]
        if len(table):
            require(table[:, :2].min() >= 0, "a neuron's index is negative")
            require(table[:, 0].max() < pre.size, f"source neuron {table[:, 0].max()}")
            require(table[:, 1].max() < post.size, f"target neuron {table[:, 1].max()}")
            require(np.abs(table[:, 2]).max() <= most, f"a weight beyond ±{most}")
            require(table[:, 3].min() >= 0 and table[:, 3].max() <= longest, "a delay")
        self.pre, self.post, self.table = pre, post, table
        _log("Projection", pre=pre.name, post=post.name, synapses=len(table))


class Conv2DProjection:
    """A kernel, int8 (channels in, channels out, height, width)."""

    def __init__(
        self, pre: Population, post: Population, weights: Any, params: dict[str, int]
    ) -> None:
        require(post.neuron_model == "lif_conv2d", f"a convolution to {post.neuron_model}")
        require(weights.dtype == np.int8 and weights.ndim == 4, f"a kernel of {weights.dtype}")
        require(set(params) == GEOMETRY, f"params {sorted(params)}")
        require(all(type(v) is int and v >= 0 for v in params.values()), f"params {params}")
        require(params["stride_x"] == params["stride_y"] >= 1, "strides")
        require(params["pool_x"] == params["pool_y"] >= 1, "pooling")
        inside = len(weights) * params["in_height"] * params["in_width"]
        require(inside == pre.size, f"{inside} inputs from {pre.size} neurons")
        outside = weights.shape[1] * np.prod(out_size(weights, params))
        require(outside == post.size, f"{outside} outputs to {post.size} neurons")
        self.pre, self.post, self.weights, self.params = pre, post, weights, params
        _log("Conv2DProjection", pre=pre.name, post=post.name, shape=weights.shape, params=params)


def out_size(weights: Any, params: dict[str, int]) -> tuple[int, int]:
    """Height and width behind pooling and convolution."""
    height, width = (
        (params[size] // params["pool_x"] + params[a] + params[b] - kernel) // params["stride_x"]
        + 1
        for size, a, b, kernel in (
            ("in_height", "pad_top", "pad_bottom", weights.shape[2]),
            ("in_width", "pad_left", "pad_right", weights.shape[3]),
        )
    )
    return height, width


class Network:
    """Populations and projections."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.populations: list[Population] = []
        self.projections: list[Projection | Conv2DProjection] = []
        self.ready = False

    def add(self, *parts: Any) -> None:
        for part in parts:
            kinds = (Population, Projection, Conv2DProjection)
            require(isinstance(part, kinds), f"{type(part).__name__} in a network")
            (self.populations if isinstance(part, Population) else self.projections).append(part)
        ends = {id(p) for p in self.populations}
        for projection in self.projections:
            known = {id(projection.pre), id(projection.post)} <= ends
            require(known, "a projection between populations that are not in the network")
        names = [p.name for p in self.populations]
        require(len(set(names)) == len(names), f"populations are called {names}")

    def reset(self) -> None:
        for population in self.populations:
            population.clear()
        self.ready = True
        _log("reset")


_log = record
