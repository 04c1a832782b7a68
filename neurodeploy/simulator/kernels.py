"""Messages as bits and as events, and exact sums of integer weights over events.

A *row* is one step of one sample, samples first.  Neurons lie in *tiles* of 128 *lanes*; a `Layout`
says which neuron is in which lane.  Bit i of word w is lane 64 w + i.  Sums are exact: the planner
chooses accumulators that cannot overflow (see `synapses`), so the order of additions does not
matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.simulator.jit import kernel
from neurodeploy.simulator.layout import TILE, WORD
from neurodeploy.simulator.vectors import (
    flags,
    load,
    lowest,
    nonzero,
    ones,
    splat,
    store,
    widen,
)

INT8_MAX = 127
AHEAD = 8
"""Events are written this many at a time, so `list_events` needs room for as many more."""


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


@kernel
def list_events(words: Any, valid: Any, start: Any, stop: Any, events: Any, first: Any) -> None:
    """The lanes that spike in steps start..stop - 1, row by row; before step 0 none does.

    Parameters
    ----------
    words: uint64 (samples, steps, words).
    valid: uint64 (words,), the lanes that hold a neuron.
    events: uint32 (rows lanes + AHEAD,), filled: those of row r lie at first[r]..first[r + 1] - 1.
    first: uint64 (rows + 1,), filled; unsigned, so that kernels take no index from the end.
    """
    samples, _, width = words.shape
    n, r = np.uint64(0), 0
    first[0] = 0
    for b in range(samples):
        for t in range(start, stop):
            for w in range(width if t >= 0 else 0):
                word = words[b, t, w] & valid[w]
                at, n = n, n + np.uint64(ones(word))
                while word:
                    for j in range(AHEAD):  # those beyond the last are written over
                        events[at + np.uint64(j)] = w * WORD + lowest(word)
                        word &= word - np.uint64(1)
                    at += np.uint64(AHEAD)
            r += 1
            first[r] = n


@kernel
def list_values(messages: Any, start: Any, stop: Any, events: Any, first: Any, values: Any) -> None:
    """The messages of the events that `list_events` finds in the same steps.

    Parameters
    ----------
    messages: int32 (samples, steps, at least as many as lanes that hold a neuron).
    values: int32, of the events' shape, filled.
    """
    r = 0
    for b in range(len(messages)):
        for t in range(start, stop):
            for e in range(first[r], first[r + 1]):
                values[e] = messages[b, t, events[e]]
            r += 1


@kernel
def add_pairs(
    events: Any, first: Any, pairs: Any, most: Any, shift: Any, fresh: Any, current: Any
) -> None:
    """current[o] (+)= (sum over events i of weight[i, o]) 2^shift, for each row; 8-bit weights.

    Two weights lie in one 16-bit number, 256 h + (l + 128), so that neither has to be widened: the
    sum H of the h comes from the numbers shifted right, and the sum of the l is what is left of the
    sum of the numbers, modulo 2^16, without 256 H and 128 per event.

    Parameters
    ----------
    events, first: see `list_events`.
    pairs: int16 (tiles, source lanes, 64); in the k-th of a tile h is the weight of lane 64 + k and
        l that of lane k.
    most: how many weights can be added in 16 bits.
    fresh: whether `current` is overwritten.
    current: int32 (tiles, rows, 128), changed.
    """
    tiles, inputs, _ = pairs.shape
    rows = len(first) - 1
    for tile in range(tiles):
        base = tile * inputs * WORD
        for r in range(rows):
            at = (tile * rows + r) * TILE
            low = splat(0, np.int32, WORD) if fresh else load(current, at, WORD)
            high = splat(0, np.int32, WORD) if fresh else load(current, at + WORD, WORD)
            start = first[r]
            while start < first[r + 1]:
                stop = min(start + np.uint64(most), first[r + 1])
                both, upper = splat(0, np.int16, WORD), splat(0, np.int16, WORD)
                for e in range(start, stop):
                    row = load(pairs, base + np.intp(events[e]) * WORD, WORD)
                    both = both + row
                    upper = upper + (row >> 8)
                lower = both - (upper << 8) - 128 * (stop - start)
                low = low + (widen(lower, np.int32) << shift)
                high = high + (widen(upper, np.int32) << shift)
                start = stop
            store(current, at, low)
            store(current, at + WORD, high)


@kernel
def add_rows(
    events: Any, first: Any, values: Any, weight: Any, shift: Any, fresh: Any, current: Any
) -> None:
    """As `add_pairs`, for wider weights, which `values` multiply if there are any.

    Parameters
    ----------
    values: int32, a message for each event, or None where all are 1.
    weight: int16 or int32 (tiles, source lanes, 128), whose sums 32 bits hold.
    current: int32, or int64 for messages, which holds the products' sums.
    """
    tiles, inputs, _ = weight.shape
    rows = len(first) - 1
    for tile in range(tiles):
        base = tile * inputs * TILE
        for r in range(rows):
            at = (tile * rows + r) * TILE
            total = splat(0, current.dtype, TILE)
            for e in range(first[r], first[r + 1]):
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
        events, first: see `list_events`.
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
        rows = len(first) - 1
        zero = splat(0, field.dtype, lanes)
        for j in range(0, len(field), lanes):
            store(field, j, zero)
        for r in range(start, stop):
            for e in range(first[r], first[r + 1]):
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
