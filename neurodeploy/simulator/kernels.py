"""Messages as bits and as events, and exact sums of integer weights over events.

A *row* is one step of one sample, samples first.  Neurons lie in *tiles* of 128 *lanes*; a `Layout`
says which neuron is in which lane.  Bit i of word w is lane 64 w + i.  Sums are exact: the planner
chooses accumulators that cannot overflow (see `synapses`), so the order of additions does not
matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.simulator.jit import kernel, primitive
from neurodeploy.simulator.layout import TILE, WORD
from neurodeploy.simulator.vectors import (
    HAS_POSITIONS,
    average,
    flags,
    load,
    lowest,
    nonzero,
    ones,
    part,
    positions,
    reinterpret,
    splat,
    store,
    widen,
)

INT8_MAX = 127
GROUP = 8
"""Events are written and added up this many at a time."""
FEW, REST = 16, WORD - 16
"""Events of a word that are written at once, and the others, rare below a density of a fifth."""
MOST = 168
"""Events whose unsigned bytes `add_bytes` can add at once: 12 MOST / GROUP < 256."""


@kernel
def pack(sent: Any, words: Any) -> None:
    """What is not 0, as bits.

    Parameters
    ----------
    sent: uint8 or int32 (rows, neurons).
    words: uint64 (rows, at least neurons / 64), filled.
    """
    rows, neurons = sent.shape
    for r in range(rows):
        words[r] = 0
        whole = neurons // WORD
        for w in range(whole):
            words[r, w] = nonzero(load(sent, r * neurons + w * WORD, WORD))
        for i in range(whole * WORD, neurons):
            words[r, whole] |= np.uint64(sent[r, i] != 0) << np.uint64(i % WORD)


@kernel
def count(words: Any, totals: Any) -> None:
    """How often each lane spikes.

    Parameters
    ----------
    words: uint64 (samples, steps, words).
    totals: int64 (samples, lanes), filled.
    """
    samples, steps, width = words.shape
    for b in range(samples):
        for w in range(width):
            at = (b * width + w) * WORD
            total = splat(0, np.int64, WORD)
            start = 0
            while start < steps:
                stop = min(start + INT8_MAX, steps)
                part = splat(0, np.int8, WORD)
                for t in range(start, stop):
                    part = part + flags(words[b, t, w])
                total = total + widen(part, np.int64)
                start = stop
            store(totals, at, total)


@primitive
def list_at_once(word: Any, lane: Any, events: Any, n: Any) -> None:
    """Write lane + i for each bit i of a word, from events[n] on, and anything behind."""
    found = positions(word)
    store(events, np.intp(n), widen(part(found, 0, FEW), np.int32) + lane)
    if ones(word) > FEW:
        store(events, np.intp(n) + FEW, widen(part(found, FEW, REST), np.int32) + lane)


@primitive
def list_in_turn(word: Any, lane: Any, events: Any, n: Any) -> None:
    """As `list_at_once`, on any machine."""
    while word:
        for j in range(GROUP):
            events[n + np.uint64(j)] = lane + lowest(word)
            word &= word - np.uint64(1)
        n += np.uint64(GROUP)


list_bits = list_at_once if HAS_POSITIONS else list_in_turn


@kernel
def list_events(
    words: Any, valid: Any, start: Any, stop: Any, none: Any, events: Any, first: Any, last: Any
) -> None:
    """The lanes that spike in steps start..stop - 1, row by row; before step 0 none does.

    Parameters
    ----------
    words: uint64 (samples, steps, words).
    valid: uint64 (words,), the lanes that hold a neuron.
    none: what follows the events of a row, up to a multiple of `GROUP`.
    events: uint32, filled: those of row r lie at first[r]..last[r] - 1; see `room`.
    first, last: uint64 (rows,), filled; unsigned, so that kernels take no index from the end.
    """
    samples, _, width = words.shape
    n, r = np.uint64(0), 0
    for b in range(samples):
        for t in range(start, stop):
            first[r] = n
            for w in range(width if t >= 0 else 0):
                word = words[b, t, w] & valid[w]
                list_bits(word, w * WORD, events, n)
                n += np.uint64(ones(word))
            last[r] = n
            store(events, np.intp(n), splat(none, np.int32, GROUP))
            n += (first[r] - n) & np.uint64(GROUP - 1)
            r += 1


def room(rows: int, lanes: int) -> int:
    """Events that `list_events` may write for `rows` rows of a population of `lanes` lanes."""
    return rows * -(-lanes // GROUP) * GROUP + WORD


@kernel
def list_values(
    messages: Any, start: Any, stop: Any, events: Any, first: Any, last: Any, values: Any
) -> None:
    """The messages of the events that `list_events` finds in the same steps.

    Parameters
    ----------
    messages: int32 (samples, steps, at least as many as lanes that hold a neuron).
    values: int32, of the events' shape, filled.
    """
    r = 0
    for b in range(len(messages)):
        for t in range(start, stop):
            for e in range(first[r], last[r]):
                values[e] = messages[b, t, events[e]]
            r += 1


@primitive
def put(array: Any, at: Any, vector: Any, fresh: Any) -> None:
    """Write a vector, or add it where not `fresh`."""
    store(array, at, vector if fresh else vector + load(array, at, 32))


@primitive
def add_group(weight: Any, offset: Any, at: Any, low: Any, both: Any, upper: Any) -> Any:
    """Add 64 unsigned bytes of each of `GROUP` events; they begin at offset + each of `at`.

    `low` takes the bytes themselves, modulo 256.  The other two take averages, rounded up, of two,
    then four, then eight bytes: 8 times such a mean is the sum and at most 4 + 2 2 + 4 1 = 12 more.
    `upper` takes the means of odd bytes, `both` these times 256 and those of even bytes.
    """
    a, b = load(weight, at[0] + offset, WORD), load(weight, at[1] + offset, WORD)
    c, d = load(weight, at[2] + offset, WORD), load(weight, at[3] + offset, WORD)
    e, f = load(weight, at[4] + offset, WORD), load(weight, at[5] + offset, WORD)
    g, h = load(weight, at[6] + offset, WORD), load(weight, at[7] + offset, WORD)
    first = average(average(a, b), average(c, d))
    second = average(average(e, f), average(g, h))
    mean = reinterpret(average(first, second), np.int16)
    low = low + a + b + c + d + e + f + g + h
    return low, both + mean, upper + ((mean >> 8) & 255)


@primitive
def from_averages(means: Any, low: Any, count: Any) -> Any:
    """The sum of `count` weights: 8 means - ((8 means - low) mod 256) - 128 count.

    8 `means` are at most 255 more than the sum of weight + 128, of which `low` is known modulo 256.
    """
    above = means << 3
    return above - ((above - low) & 255) - 128 * count


@kernel
def add_bytes(
    events: Any, first: Any, last: Any, weight: Any, shift: Any, fresh: Any, current: Any
) -> None:
    """current[o] (+)= (sum over events i of weight[i, o]) 2^shift, for each row; 8-bit weights.

    No weight is widened: bytes are added modulo 256, and averaged, eight at a time, which tells the
    sum within 256; see `add_group`.

    Parameters
    ----------
    events, first, last: see `list_events`; `none` is the last row of the weights.
    weight: uint8 (tiles, source lanes + 1, 128), 128 more than the weights; byte 2 k is that of
        lane k and byte 2 k + 1 that of lane 64 + k.  The last row's weights are 0.
    fresh: whether `current` is overwritten.
    current: int32 (tiles, rows, 128), changed.
    """
    tiles, inputs, _ = weight.shape
    rows = len(first)
    zero, zeros, wide = splat(0, np.int8, 64), splat(0, np.int16, 32), splat(0, np.int32, 32)
    for tile in range(tiles):
        base = tile * inputs * TILE
        for r in range(rows):
            a, b, c, d = wide, wide, wide, wide
            start = first[r]
            while start < last[r]:
                stop = min(start + np.uint64(MOST), last[r])
                low, both, upper = zero, zeros, zeros
                low2, both2, upper2 = zero, zeros, zeros
                e = start
                while e < stop:
                    at = (
                        base + np.intp(events[e]) * TILE,
                        base + np.intp(events[e + np.uint64(1)]) * TILE,
                        base + np.intp(events[e + np.uint64(2)]) * TILE,
                        base + np.intp(events[e + np.uint64(3)]) * TILE,
                        base + np.intp(events[e + np.uint64(4)]) * TILE,
                        base + np.intp(events[e + np.uint64(5)]) * TILE,
                        base + np.intp(events[e + np.uint64(6)]) * TILE,
                        base + np.intp(events[e + np.uint64(7)]) * TILE,
                    )
                    low, both, upper = add_group(weight, 0, at, low, both, upper)
                    low2, both2, upper2 = add_group(weight, WORD, at, low2, both2, upper2)
                    e += np.uint64(GROUP)
                count = np.intp(e - start)
                bytes_, bytes2 = reinterpret(low, np.int16), reinterpret(low2, np.int16)
                a = a + widen(from_averages(both - (upper << 8), bytes_, count), np.int32)
                b = b + widen(from_averages(both2 - (upper2 << 8), bytes2, count), np.int32)
                c = c + widen(from_averages(upper, bytes_ >> 8, count), np.int32)
                d = d + widen(from_averages(upper2, bytes2 >> 8, count), np.int32)
                start = stop
            place = (tile * rows + r) * TILE
            put(current, place, a << shift, fresh)
            put(current, place + 32, b << shift, fresh)
            put(current, place + 64, c << shift, fresh)
            put(current, place + 96, d << shift, fresh)


@primitive
def sum_rows(sums: Any, tile: Any, start: Any, stop: Any, current: Any) -> None:
    """current = what `add_bytes` adds for rows start..stop - 1 of one tile.

    Parameters
    ----------
    sums: events, first, last, weight, shift; see `add_bytes`.
    current: int32, contiguous, at least (stop - start, 128), its beginning filled.
    """
    events, first, last, weight, shift = sums
    one = weight[tile : tile + 1]
    add_bytes(events, first[start:stop], last[start:stop], one, shift, True, current)


@kernel
def add_rows(
    events: Any,
    first: Any,
    last: Any,
    values: Any,
    weight: Any,
    shift: Any,
    fresh: Any,
    current: Any,
) -> None:
    """As `add_bytes`, for wider weights, which `values` multiply if there are any.

    Parameters
    ----------
    values: int32, a message for each event, or None where all are 1.
    weight: int16 or int32 (tiles, source lanes, 128), whose sums 32 bits hold.
    current: int32, or int64 for messages, which holds the products' sums.
    """
    tiles, inputs, _ = weight.shape
    rows = len(first)
    for tile in range(tiles):
        base = tile * inputs * TILE
        for r in range(rows):
            at = (tile * rows + r) * TILE
            total = splat(0, current.dtype, TILE)
            for e in range(first[r], last[r]):
                row = widen(load(weight, base + np.intp(events[e]) * TILE, TILE), current.dtype)
                if values is not None:
                    row = row * values[e]
                total = total + row
            total = total << shift
            if not fresh:
                total = total + load(current, at, TILE)
            store(current, at, total)


def _add_patches(lanes: int) -> Any:
    """The kernel for vectors of `lanes` lanes."""

    @kernel
    def add_patches(
        events: Any,
        first: Any,
        last: Any,
        values: Any,
        corner: Any,
        patch: Any,
        weight: Any,
        steps: Any,
        home: Any,
        field: Any,
        shift: Any,
        fresh: Any,
        start: Any,
        stop: Any,
        current: Any,
    ) -> None:
        """current[home] (+)= (sum over events i of the patch of i, laid at corner[i]) 2^shift.

        If there are `values`, they multiply the patches.

        A patch is a sequence of vectors; vector j is added to the field at corner[i] + steps[j].

        Parameters
        ----------
        events, first, last: see `list_events`.
        values: int32, a message for each event, or None where all are 1.
        corner: int32 (source lanes,), where in the field the patch of a lane begins.
        patch: int32 (source lanes,), where in `weight` it begins.
        weight: all patches, of the field's dtype.
        steps: int32 (vectors of a patch,).
        home: int32 (target lanes / vector lanes,), where in the field each vector of the target is.
        field: accumulators, changed.
        fresh: whether `current` is overwritten.
        start, stop: for rows start..stop - 1.
        current: int32 or int64 (tiles, rows, 128), changed.
        """
        rows = len(first)
        zero = splat(0, field.dtype, lanes)
        for j in range(0, len(field), lanes):
            store(field, j, zero)
        for r in range(start, stop):
            for e in range(first[r], last[r]):
                i = events[e]
                origin, q = corner[i], np.intp(patch[i])
                for j in range(len(steps)):
                    at = np.intp(origin + steps[j])
                    vector = load(weight, q, lanes)
                    if values is not None:
                        vector = vector * values[e]
                    store(field, at, load(field, at, lanes) + vector)
                    q += lanes
            for j in range(len(home)):
                lane = j * lanes
                place = (lane // TILE * rows + r) * TILE + lane % TILE
                at = np.intp(home[j])
                total = widen(load(field, at, lanes), current.dtype) << shift
                store(field, at, zero)  # what lies beside the target's pixels is never read
                if not fresh:
                    total = total + load(current, place, lanes)
                store(current, place, total)

    return add_patches


ADD_PATCHES = {lanes: _add_patches(lanes) for lanes in (8, 16, 32)}
"""`add_patches` by the lanes of a vector."""
