"""A program as the layers of a `.net` file, or every reason why it is none."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.frontends.lava_dl_synapses import MAX_DELAY, WEIGHTS
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.loihi.netx.neurons import BIAS_EXPONENT
from neurodeploy.targets.loihi.netx.options import MESSAGE_BITS, Options
from neurodeploy.targets.loihi.netx.registers import Refuse, neuron_fields
from neurodeploy.targets.loihi.netx.storage import storage, stored

Fields = Mapping[str, Any]
WEIGHT_BITS = 8
RESONATORS = ("rf", "rf-iz")


def blocks_of(program: Program) -> tuple[list[Fields], Options, list[str]]:
    """The layers of the file by field, what NetX must be told, and what NetX cannot express."""
    if program.target != "loihi2" or len(program.inputs) != 1:
        text = f"a program for {program.target} with {len(program.inputs)} inputs"
        return [], Options(), [f"{text}, and NetX wants one for loihi2 with one"]
    taken = _Taken(program)
    return taken.layers, taken.options(), taken.problems


class _Taken:
    """A program taken apart, population by population."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.problems: list[str] = []
        (self.port,) = program.inputs
        first = program.populations[0]
        self.direct = first.depth == 0 and any(
            s.kind == "one-to-one" for s in program.incoming(first.name)
        )
        deep = program.populations[1:] if self.direct else program.populations
        self.together = bool(deep) and all(population.depth == 0 for population in deep)
        self.layers: list[Fields] = []
        if not self.direct:
            self.layers.append({"type": "input", "shape": np.array(self.port.shape)})
        self.early = False
        """Whether a block may spike before the first spikes of a sample can reach it."""
        before: InputPort | Neurons = self.port
        for block, population in enumerate(program.populations):
            self._block(block, before, population)
            before = population
        self._check_whole()

    def options(self) -> Options:
        """What NetX must be told."""
        arriving = [s for s in self.program.synapses if s.source == self.port.name]
        graded = not self.direct and any(s.graded for s in arriving)
        exponents = [p.parameters.get("spike_exp") for p in self.program.populations]
        spike_exp = next((int(e.item()) for e in exponents if e is not None), Options.spike_exp)
        offset = int(not self.direct and not self.together)
        interval: int | None = None
        reset = _reset(self.program.populations[0])
        if reset is not None:
            interval, offset = reset[0], reset[1] - 1
        return Options(
            input_message_bits=MESSAGE_BITS if graded else 0,
            reset_interval=interval,
            reset_offset=max(offset, 0),
            spike_exp=spike_exp,
        )

    # What concerns the whole program

    def _check_whole(self) -> None:
        program, last = self.program, self.program.populations[-1].name
        refuse = functools.partial(self._refuse, "program")
        if program.outputs != (last,):
            refuse(f"its outputs are {', '.join(program.outputs)}, NetX's is the last, {last}")
        if len(self.port.shape) not in (1, 3):
            refuse(f"its input has the shape {self.port.shape}, not (n,) or (c, height, width)")
        exponents = {
            int(p.parameters["spike_exp"].max())
            for p in program.populations
            if "spike_exp" in p.parameters
        }
        if len(exponents) > 1 or any(not 0 <= value <= 7 for value in exponents):
            refuse(f"spike_exp is {sorted(exponents)}, NetX knows one of 0..7")
        resets = [_reset(population) for population in program.populations]
        first = resets[0]
        if first is None:
            if any(resets):
                refuse("NetX resets all blocks or none")
        elif resets != [(first[0], first[1] + block) for block in range(len(resets))]:
            refuse("NetX resets every block at one interval, each a step after the one before it")
        elif self.early and not self.together and (first[1] - 1 - (not self.direct)) % first[0]:
            refuse("layers have a bias, so NetX would have to reset where a sample starts, too")

    def _refuse(self, node: str, reason: str) -> None:
        self.problems.append(f"{node}: {reason}")

    # One population

    def _block(self, block: int, before: InputPort | Neurons, population: Neurons) -> None:
        refuse = functools.partial(self._refuse, population.name)
        direct = self.direct and block == 0
        expected = 0 if self.together else block + (not self.direct)
        if population.depth != expected:
            refuse(f"its depth is {population.depth}, in a chain it is {expected}")
        arriving = self.program.incoming(population.name)
        forward = [s for s in arriving if s.source == before.name]
        own = [s for s in arriving if s.recurrent]
        others = [s.name for s in arriving if s not in forward and s not in own]
        ports = ("real", "imag") if population.model in RESONATORS else ("current",)
        if direct:
            ports = ("bias" if population.model == "lif" else "current",)
        if others or len(own) > 1 or sorted(s.port for s in forward) != sorted(ports):
            names = ", ".join(s.name for s in arriving) or "nothing"
            refuse(
                f"NetX joins {before.name} to it by {' and '.join(ports)} synapses, and it to "
                f"itself once at most; here {names} ends at it"
            )
            return
        forward.sort(key=lambda s: ports.index(s.port))
        fields: dict[str, Any] = dict(neuron_fields(population, refuse))
        if direct:
            self._encoder(forward[0], population, fields, refuse)
        else:
            self._synapses(forward, own, before, population, fields, refuse)
            quiet = not fields.get("bias", np.zeros(1)).any()
            self._check_start(own, forward, population, quiet=quiet, refuse=refuse)

    def _check_start(
        self,
        own: list[Synapses],
        forward: list[Synapses],
        population: Neurons,
        *,
        quiet: bool,
        refuse: Refuse,
    ) -> None:
        """What NetX's resets at the start of a sample leave over."""
        if self.together:
            return
        past = "past NetX's reset at the start of a sample"
        if self.early and any(np.any(s.delay) for s in forward):
            refuse(f"delays carry {past} what biases of the blocks before it make them send")
        self.early = self.early or not quiet
        if self.early and own:
            refuse(f"a loop carries {past} what a bias makes it send")
        if self.early and population.model != "lif":
            refuse(
                "a bias makes it act before a sample reaches it, and NetX resets no "
                f"{population.model} neurons"
            )

    def _encoder(
        self, synapses: Synapses, population: Neurons, fields: dict[str, Any], refuse: Refuse
    ) -> None:
        """An input layer: every neuron gets its own integer."""
        if population.model not in ("lif", "delta"):
            refuse(f"NetX has no input layer of {population.model} neurons")
        plain = (
            np.all(synapses.weight == 1) and not synapses.exponent and not np.any(synapses.delay)
        )
        if synapses.kind != "one-to-one" or not plain or not synapses.graded:
            refuse(
                "NetX's input reaches the neurons one to one, graded, with weight 1 and no delay"
            )
        if fields.pop("bias", None) is not None:
            refuse("it has a bias besides its input")
        if population.model == "lif" and np.any(population.register("bias_exp") != BIAS_EXPONENT):
            refuse(
                f"its input has another exponent than 2^{BIAS_EXPONENT} state units, NetX's step"
            )
        if "neuron" not in fields:
            refuse("NetX has no input layer that sums up")
        self.layers.append({"type": "input", "shape": np.array(population.shape), **fields})

    def _synapses(
        self,
        forward: list[Synapses],
        own: list[Synapses],
        before: InputPort | Neurons,
        population: Neurons,
        fields: dict[str, Any],
        refuse: Refuse,
    ) -> None:
        (first, *_), loop = forward, own[0] if own else None
        graded = {s.graded for s in forward}
        if isinstance(before, Neurons) and before.graded and graded != {True}:
            refuse("its synapses count messages, NetX multiplies those of sigma-delta neurons")
        if len(graded) > 1 or (population.graded and loop is not None and {loop.graded} != graded):
            refuse("all its synapses must be graded, or none")
        kinds = {s.kind for s in forward}
        if kinds == {"conv2d"} and len(population.shape) == 3:
            if loop is not None:
                refuse("NetX has no loops in convolutions")
            if population.model in RESONATORS:
                refuse(f"NetX has no convolution to {population.model} neurons")
            if np.any(first.delay != self.together):
                refuse("NetX reads no delays in convolutions")
            self._conv(first, population, fields, refuse)
        elif kinds == {"dense"} and len(population.shape) == 1:
            self._dense(forward, loop, before, population, fields, refuse)
        else:
            refuse(
                f"{first.kind} synapses to a population of shape {population.shape}: NetX has "
                "dense ones to vectors and convolutions to images"
            )

    def _conv(
        self, synapses: Synapses, population: Neurons, fields: dict[str, Any], refuse: Refuse
    ) -> None:
        weight = _effective(synapses, refuse)
        if weight is not None and np.any(weight):
            _check_bits(weight, synapses.name, refuse)
        self.layers.append(
            {
                "type": "conv",
                "shape": np.array(population.shape),
                "weight": weight,
                "stride": np.array(synapses.stride),
                "padding": np.array(synapses.padding),
                "dilation": np.array(synapses.dilation),
                "groups": synapses.groups,
                **fields,
            }
        )

    def _dense(
        self,
        forward: list[Synapses],
        loop: Synapses | None,
        before: InputPort | Neurons,
        population: Neurons,
        fields: dict[str, Any],
        refuse: Refuse,
    ) -> None:
        if len(before.shape) == 3:
            self.layers.append({"type": "flatten", "shape": np.array([math.prod(before.shape)])})
        matrices = [_effective(s, refuse) for s in (*forward, *([] if loop is None else [loop]))]
        whole = [matrix for matrix in matrices if matrix is not None]
        if len(whole) < len(matrices):
            return
        shared = [whole] if loop is not None else [[matrix] for matrix in whole]
        for synapses, group in zip(forward, shared, strict=True):
            self._check_stored(synapses, group, refuse)
        layer: dict[str, Any] = {"type": "dense", "shape": np.array(population.shape)}
        if len(forward) == 2:
            if loop is not None:
                refuse("NetX has no loops beside complex weights")
            layer["weight"] = {"real": whole[0], "imag": whole[1]}
        else:
            layer["weight"] = whole[0]
        if loop is not None:
            layer |= {"type": "dense_rec", "weight_rec": whole[1]}
        delays = [s.delay - self.together for s in forward]
        if any(np.any(delay) for delay in delays) or (loop is not None and np.any(loop.delay)):
            if loop is not None or len(forward) == 2:
                refuse("NetX reads delays beside neither loops nor complex weights")
            if delays[0].min() < 0 or delays[0].max() > MAX_DELAY:
                refuse(
                    f"its delays are in {delays[0].min()}..{delays[0].max()}, NetX's 0..{MAX_DELAY}"
                )
            one = delays[0].size == 1
            layer["delay"] = np.int64(delays[0].item()) if one else delays[0]
        self.layers.append({**layer, **fields})

    def _check_stored(self, synapses: Synapses, group: list[IntArray], refuse: Refuse) -> None:
        """Whether Lava computes with these weights, which share their storage."""
        _check_bits(np.concatenate(group, axis=1), synapses.name, refuse)
        try:
            (kept, *_), exponent = stored(synapses.name, *group)
        except ModelError as error:
            refuse(error.message)
            return
        if synapses.graded and not (
            exponent == synapses.exponent and np.array_equal(kept, synapses.weight)
        ):
            refuse(
                f"graded sums wrap at 32 bits as NetX stores weights: with the exponent "
                f"{exponent}, not {synapses.exponent}"
            )


def _reset(population: Neurons) -> tuple[int, int] | None:
    """(interval, offset) of LIFReset."""
    names = ("reset_interval", "reset_offset")
    if names[0] not in population.parameters:
        return None
    interval, offset = (int(population.register(name).max()) for name in names)
    return interval, offset


def _effective(synapses: Synapses, refuse: Refuse) -> IntArray | None:
    """weight 2^exponent as NetX's integers; None where it has none."""
    weight, exponent = synapses.weight, synapses.exponent
    if synapses.kind == "one-to-one":
        weight = np.diag(weight.reshape(-1))
    if exponent < 0 and np.any(weight % (1 << -exponent)):
        refuse(f"weights of {synapses.name} are no whole numbers with the exponent {exponent}")
        return None
    value = weight << exponent if exponent >= 0 else weight >> -exponent
    low, high = int(value.min()), int(value.max())
    if low < WEIGHTS[0] or high > WEIGHTS[1]:
        refuse(
            f"weights of {synapses.name} are in {low}..{high}, NetX's in {WEIGHTS[0]}..{WEIGHTS[1]}"
        )
        return None
    return value


def _check_bits(weight: IntArray, name: str, refuse: Refuse) -> None:
    """Whether 8 bits hold the weights, with the sign where both signs occur."""
    if np.any(weight) and storage(weight).bits > WEIGHT_BITS:
        refuse(f"weights of {name} beyond -128..127 of both signs must be even")
