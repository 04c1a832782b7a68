"""A program as one C file: integers of fixed widths, no library, one function per time step.

Written without the arithmetic of the simulator, so that running it is an independent check.  The
file is C99; it does not compile where `>>` of a negative number is not arithmetic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from neurodeploy.archive import write_atomically
from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.cpu import arithmetic
from neurodeploy.targets.cpu.arithmetic import INT32_MAX
from neurodeploy.targets.cpu.machine import check_synapses
from neurodeploy.targets.cpu.registers import NEURON, Rules, neuron_registers, rules

HOST_MACRO = "NEURODEPLOY_HOST"
RESET_BYTE, STEP_BYTE = b"r", b"s"
"""What the host program reads: r resets; s and one byte, 0 or 1, for each input is a step."""

RESETS = {
    arithmetic.ZERO: "to zero at once",
    arithmetic.ZERO_DELAYED: "to zero before the next step",
    arithmetic.ZERO_AFTER_INPUT: "to zero in the next step, after its input",
    arithmetic.SUBTRACT: "subtraction at once",
    arithmetic.SUBTRACT_DELAYED: "subtraction in the next step",
    arithmetic.SUBTRACT_HELD: "subtraction while above threshold, given back without a spike",
    arithmetic.NO_RESET: "none",
}

SUBTRACTING = (arithmetic.SUBTRACT, arithmetic.SUBTRACT_DELAYED, arithmetic.SUBTRACT_HELD)


def write_c(program: Program, path: str | Path) -> None:
    """Write `to_c(program)` to a file; raises `FileError` where that is not possible."""
    write_atomically(Path(path), to_c(program).encode("ascii"))


def to_c(program: Program) -> str:
    """The C source: `network_reset`, `network_step`, the spikes as arrays, and a host's `main`.

    Raises
    ------
    InputError
        The program is not one of a fixed-point format.
    """
    return "\n".join(_File(program).lines()) + "\n"


class _File:
    def __init__(self, program: Program) -> None:
        for name in sorted(program.graded):
            raise InputError("sends integers, which the file has no place for", node=name)
        for synapses in program.synapses:
            check_synapses(synapses)
        self.program = program
        self.names = {
            name: f"{'in' if index < len(program.inputs) else 'p'}{index}_{_clean(name)}"
            for index, name in enumerate(program.shapes)
        }
        self.sizes = {name: math.prod(shape) for name, shape in program.shapes.items()}
        self.rules = {p.name: rules(p) for p in program.populations}

    def lines(self) -> Iterator[str]:
        program, names = self.program, self.names
        yield f"/* A spiking neural network for {_comment(program.target)}, by neurodeploy."
        yield f"   Program {program.hash}"
        yield f"   {_memory(program, self.rules)}"
        yield "   Spikes are bytes, 0 or 1; a step reads the inputs' and writes the others. */"
        yield "#include <stdint.h>"
        yield ""
        yield "/* Shifts of negative numbers must keep the sign. */"
        yield "typedef char arithmetic_shift[((-2) >> 1) == -1 ? 1 : -1];"
        yield ""
        for name in program.shapes:
            yield f"uint8_t {names[name]}[{self.sizes[name]}]; /* spikes of {_comment(name)} */"
        for shared in {_key(shared): shared for shared in self.rules.values()}.values():
            yield from _fit(shared)
        for index, synapses in enumerate(program.synapses):
            yield ""
            yield f"/* {_comment(synapses.name)}: {synapses.kind}, times 2^{synapses.exponent} */"
            yield from _array(f"w{index}", synapses.weight, _weight_type(synapses))
        for population in program.populations:
            yield from self._population(population)
        yield ""
        yield "void network_reset(void)"
        yield "{"
        for population in program.populations:
            yield f"    {names[population.name]}_reset();"
        yield "}"
        yield ""
        yield "void network_step(void)"
        yield "{"
        for population in program.populations:
            yield f"    {names[population.name]}_step();"
        yield "}"
        yield from self._host()

    def _population(self, population: Neurons) -> Iterator[str]:
        name, size = self.names[population.name], population.size
        shared = self.rules[population.name]
        *values, start = neuron_registers(population)
        decay, current_decay, threshold, amount, bias, leak = (
            _Register(f"{name}_{key}", array) for key, array in zip(NEURON, values, strict=True)
        )
        v0 = _Register(f"{name}_v0", start)
        yield ""
        yield f"/* {_comment(population.name)}: {size} neurons; reset: {RESETS[shared.reset]} */"
        subtracts = shared.reset in SUBTRACTING
        used = [decay, threshold, bias, v0, *[amount] * subtracts]
        used += [current_decay, leak] * shared.filtered
        for item in used:
            yield from item.lines()
        yield f"static {_state_type(shared)} {name}_v[{size}];"
        if shared.filtered:
            yield f"static {_state_type(shared)} {name}_i[{size}];"
        yield ""
        yield f"static void {name}_reset(void)"
        yield "{"
        yield f"    for (int32_t n = 0; n < {size}; n++) {{"
        yield f"        {name}_v[n] = {_cast(shared)}{v0};"
        if shared.filtered:
            yield f"        {name}_i[n] = 0;"
        yield f"        {name}[n] = 0;"
        yield "    }"
        yield "}"
        yield ""
        yield f"static void {name}_step(void)"
        yield "{"
        yield f"    static int32_t x[{size}];"
        yield f"    for (int32_t n = 0; n < {size}; n++)"
        yield "        x[n] = 0;"
        for index, synapses in enumerate(self.program.synapses):
            if synapses.target == population.name:
                yield from _sum(f"w{index}", synapses, self.names[synapses.source])
        yield f"    for (int32_t n = 0; n < {size}; n++) {{"
        body = _update(name, shared, decay, current_decay, threshold, amount, bias, leak)
        yield from (f"        {line}" for line in body)
        yield "    }"
        yield "}"

    def _host(self) -> Iterator[str]:
        yield ""
        yield f"#ifdef {HOST_MACRO}"
        yield "/* Reads r (reset), or s and the inputs' spikes (step); writes all other spikes. */"
        yield "#include <stdio.h>"
        yield ""
        yield "int main(void)"
        yield "{"
        yield "    int c;"
        yield "    network_reset();"
        yield "    while ((c = getchar()) != EOF) {"
        yield f"        if (c == '{RESET_BYTE.decode()}') {{"
        yield "            network_reset();"
        yield "            continue;"
        yield "        }"
        for port in self.program.inputs:
            name = self.names[port.name]
            yield f"        if (fread({name}, 1, sizeof {name}, stdin) != sizeof {name})"
            yield "            return 1;"
        yield "        network_step();"
        for population in self.program.populations:
            name = self.names[population.name]
            yield f"        if (fwrite({name}, 1, sizeof {name}, stdout) != sizeof {name})"
            yield "            return 1;"
        yield "    }"
        yield "    return fflush(stdout) != 0;"
        yield "}"
        yield "#endif"


class _Register:
    """A constant, or a table where neurons differ; its text is what stands in formulas."""

    def __init__(self, name: str, values: IntArray) -> None:
        self.name, self.values = name, values
        self.constant = int(values[0]) if (values == values[0]).all() else None

    def lines(self) -> Iterator[str]:
        if self.constant is None:
            yield from _array(self.name, self.values, "int32_t")

    def __str__(self) -> str:
        return f"{self.name}[n]" if self.constant is None else _number(self.constant)

    def __bool__(self) -> bool:
        return self.constant != 0


def _update(
    name: str,
    shared: Rules,
    decay: _Register,
    current_decay: _Register,
    threshold: _Register,
    amount: _Register,
    bias: _Register,
    leak: _Register,
) -> Iterator[str]:
    """The body of the loop over neurons n."""
    reset, fit = shared.reset, f"fit_{_key(shared)}"
    v, drive = "v", f"(int64_t)x[n]{_plus(bias)}"
    yield f"int32_t v = {name}_v[n];"
    if shared.filtered:
        memory = _decayed(f"{name}_i[n]", current_decay, shared)
        yield f"const int32_t i = {fit}({memory} + {drive});"
        yield f"{name}_i[n] = {_cast(shared)}i;"
        drive = f"i{_plus(leak)}"
    if reset == arithmetic.ZERO_DELAYED:
        yield f"if ({name}[n])"
        yield "    v = 0;"
    if reset == arithmetic.SUBTRACT_HELD:
        yield f"const int32_t held = v > {threshold};"
    y = f"{_decayed(v, decay, shared)} + {drive}"
    if reset == arithmetic.SUBTRACT_DELAYED:
        y += f" - ({name}[n] ? {amount} : 0)"
    elif reset == arithmetic.SUBTRACT_HELD:
        y += f" - (held ? {amount} : 0)"
    elif reset == arithmetic.ZERO_AFTER_INPUT:
        y = f"{name}[n] ? 0 : {y}"
    yield f"v = {fit}({y});"
    yield f"{name}[n] = v {'>=' if shared.closed else '>'} {threshold};"
    if reset == arithmetic.ZERO:
        yield f"if ({name}[n])"
        yield "    v = 0;"
    elif reset == arithmetic.SUBTRACT:
        yield f"if ({name}[n])"
        yield f"    v = {fit}((int64_t)v - {amount});"
    elif reset == arithmetic.SUBTRACT_HELD:
        yield f"v = {fit}(v - (int64_t){amount} * ({name}[n] - held));"
    yield f"{name}_v[n] = {_cast(shared)}v;"


def _cast(shared: Rules) -> str:
    """What makes an int32_t what a state is stored as."""
    return f"({_state_type(shared)})" if shared.state_bits <= 16 else ""


def _plus(value: _Register) -> str:
    return f" + {value}" if value else ""


def _decayed(state: str, factor: _Register, shared: Rules) -> str:
    """`state` after its decay, int64_t."""
    bits = shared.decay_bits
    if bits:
        if factor.constant in (0, 1 << bits):
            return f"(int64_t){state}" if factor else "(int64_t)0"
        half = f" + {1 << (bits - 1)}" if shared.nearest else ""
        return f"(((int64_t){state} * {factor}{half}) >> {bits})"
    if factor.constant == shared.state_bits:
        return f"(int64_t){state}"
    half = f" + (((int64_t)1 << {factor}) >> 1)" if shared.nearest else ""
    lost = f"(((int64_t){state}{half}) >> {factor})"
    if factor.constant is None:
        lost = f"({factor} < {shared.state_bits} ? {lost} : 0)"
    return f"((int64_t){state} - {lost})"


def _sum(weight: str, synapses: Synapses, source: str) -> Iterator[str]:
    """Add the weights that spikes reach to x."""
    scale = f" * {1 << synapses.exponent}" if synapses.exponent else ""
    outputs, inputs = math.prod(synapses.out_shape), math.prod(synapses.in_shape)
    if synapses.kind == "one-to-one":
        yield f"    for (int32_t n = 0; n < {outputs}; n++)"
        yield f"        if ({source}[n])"
        yield f"            x[n] += (int32_t){weight}[n]{scale};"
    elif synapses.kind == "dense":
        yield f"    for (int32_t j = 0; j < {inputs}; j++)"
        yield f"        if ({source}[j])"
        yield f"            for (int32_t n = 0; n < {outputs}; n++)"
        yield f"                x[n] += (int32_t){weight}[n * {inputs} + j]{scale};"
    else:
        yield from _convolve(weight, synapses, source, scale)


def _convolve(weight: str, synapses: Synapses, source: str, scale: str) -> Iterator[str]:
    channels, height, width = synapses.in_shape
    out, rows, columns = synapses.out_shape
    _, per_group, tall, wide = synapses.weight.shape
    each = out // synapses.groups
    (sy, sx), (py, px), (dy, dx) = synapses.stride, synapses.padding, synapses.dilation
    place = f"((o * {per_group} + c % {per_group}) * {tall} + k) * {wide} + m"
    yield f"    for (int32_t c = 0; c < {channels}; c++)"
    yield f"    for (int32_t a = 0; a < {height}; a++)"
    yield f"    for (int32_t b = 0; b < {width}; b++) {{"
    yield f"        if (!{source}[(c * {height} + a) * {width} + b])"
    yield "            continue;"
    yield f"        const int32_t first = c / {per_group} * {each};"
    yield f"        for (int32_t k = 0; k < {tall}; k++)"
    yield f"        for (int32_t m = 0; m < {wide}; m++) {{"
    yield f"            const int32_t y = a + {py} - k * {dy}, z = b + {px} - m * {dx};"
    yield f"            if (y < 0 || y % {sy} || y / {sy} >= {rows} ||"
    yield f"                z < 0 || z % {sx} || z / {sx} >= {columns})"
    yield "                continue;"
    yield f"            for (int32_t o = first; o < first + {each}; o++)"
    yield f"                x[(o * {rows} + y / {sy}) * {columns} + z / {sx}] +="
    yield f"                    (int32_t){weight}[{place}]{scale};"
    yield "        }"
    yield "    }"


def _fit(shared: Rules) -> Iterator[str]:
    """What a state register holds after a value was written to it."""
    most = (1 << (shared.state_bits - 1)) - 1
    yield ""
    if shared.saturate:
        yield f"/* States saturate at {shared.state_bits} bits. */"
    else:
        yield f"/* States wrap at {shared.state_bits} bits. */"
    yield f"static int32_t fit_{_key(shared)}(int64_t y)"
    yield "{"
    if shared.saturate:
        yield f"    if (y > {most})"
        yield f"        return {most};"
        yield f"    if (y < {_number(-most - 1)})"
        yield f"        return {_number(-most - 1)};"
        yield "    return (int32_t)y;"
    else:
        yield f"    const int32_t low = (int32_t)(y & {most});"
        yield f"    return y & {most + 1}{'LL' * (most == INT32_MAX)} ? low - {most} - 1 : low;"
    yield "}"


def _key(shared: Rules) -> str:
    return f"{shared.state_bits}_{'saturate' if shared.saturate else 'wrap'}"


def _state_type(shared: Rules) -> str:
    return "int16_t" if shared.state_bits <= 16 else "int32_t"


def _weight_type(synapses: Synapses) -> str:
    largest = max(-int(synapses.weight.min()), int(synapses.weight.max()))
    return "int8_t" if largest <= 127 else "int16_t" if largest <= 32767 else "int32_t"


def _number(value: int) -> str:
    """As C understands it: -2^31 is not a constant, but an expression."""
    if value == -INT32_MAX - 1:
        return f"(-{INT32_MAX} - 1)"
    return str(value) if value >= 0 else f"({value})"


def _array(name: str, values: IntArray, kind: str) -> Iterator[str]:
    flat = [str(value) for value in values.reshape(-1).tolist()]
    yield f"static const {kind} {name}[{len(flat)}] = {{"
    for start in range(0, len(flat), 16):
        yield "    " + ", ".join(flat[start : start + 16]) + ","
    yield "};"


def _memory(program: Program, shared: dict[str, Rules]) -> str:
    width = {"int8_t": 1, "int16_t": 2, "int32_t": 4}
    weights = sum(s.weight.size * width[_weight_type(s)] for s in program.synapses)
    neurons = sum(p.size for p in program.populations)
    states = sum(
        p.size * width[_state_type(shared[p.name])] * (1 + shared[p.name].filtered)
        for p in program.populations
    )
    spikes = neurons + sum(math.prod(port.shape) for port in program.inputs)
    return (
        f"Bytes: weights {weights}, states {states}, sums of weights {4 * neurons}, "
        f"spikes {spikes}."
    )


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)


def _comment(text: str) -> str:
    """Safe within a C comment."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text).replace("*/", "* /")
