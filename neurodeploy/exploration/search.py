"""Which candidates are tried, in which order.

1. The target's own way.
2. Uniform settings: each value of each choice, for all populations.
3. Each population alone at the last value of each choice: how many decisions that costs is its
   sensitivity.
4. From the best so far, one population by one value up or down, populations that are least
   sensitive first; whatever is better is the next to start from, until nothing is.

What is better, `rank` says.  There is no chance in it: equal answers lead to equal candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from neurodeploy.choices import Choice, Settings
from neurodeploy.exploration.candidate import Candidate


class _SpentError(Exception):
    """The budget is."""


def search(
    populations: Sequence[str],
    choices: Sequence[Choice],
    budget: int,
    evaluate: Callable[[Settings], Candidate],
    ahead: Callable[[Sequence[Settings]], None],
    rank: Callable[[Candidate], tuple[Any, ...]],
) -> tuple[tuple[Candidate, ...], bool]:
    """(the candidates in the order in which they were tried, whether the search came to its end).

    Parameters
    ----------
    budget: how many are tried at most.
    ahead: called with what will be evaluated next, or may be.
    rank: less is better.
    """
    tried: dict[tuple[tuple[int, ...], ...], Candidate] = {}
    own = tuple(tuple(0 for _ in choices) for _ in populations)

    def ask(levels: tuple[tuple[int, ...], ...]) -> Candidate:
        if levels not in tried:
            if len(tried) >= budget:
                raise _SpentError
            tried[levels] = evaluate(_settings(populations, choices, levels))
        return tried[levels]

    def prepare(some: Sequence[tuple[tuple[int, ...], ...]]) -> None:
        new = [levels for levels in dict.fromkeys(some) if levels not in tried]
        ahead([_settings(populations, choices, one) for one in new[: budget - len(tried)]])

    uniform = [
        tuple(_with(levels, c, value) for levels in own)
        for c, choice in enumerate(choices)
        for value in range(1, len(choice.values))
    ]
    alone = {
        (p, c): _with(own, p, _with(own[p], c, len(choice.values) - 1))
        for p in range(len(populations))
        for c, choice in enumerate(choices)
    }
    try:
        prepare([own, *uniform, *alone.values()])
        first = ask(own)
        for levels in uniform:
            ask(levels)
        loss: Mapping[tuple[int, int], int] = {
            pair: first.correct.successes - _successes(ask(levels))
            for pair, levels in alone.items()
        }
        order = sorted(loss, key=lambda pair: (loss[pair], pair))
        best = min(tried, key=lambda levels: rank(tried[levels]))
        while True:
            prepare(list(_moves(best, order, choices)))
            better = next(
                (
                    moved
                    for moved in _moves(best, order, choices)
                    if rank(ask(moved)) < rank(tried[best])
                ),
                None,
            )
            if better is None:
                return tuple(tried.values()), True
            best = better
    except _SpentError:
        return tuple(tried.values()), False


def _moves(
    levels: tuple[tuple[int, ...], ...],
    order: Sequence[tuple[int, int]],
    choices: Sequence[Choice],
) -> Iterator[tuple[tuple[int, ...], ...]]:
    for p, c in order:
        for value in (levels[p][c] + 1, levels[p][c] - 1):
            if 0 <= value < len(choices[c].values):
                yield _with(levels, p, _with(levels[p], c, value))


def _with(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _successes(candidate: Candidate) -> int:
    return candidate.correct.successes if candidate.usable else -1


def _settings(
    populations: Sequence[str], choices: Sequence[Choice], levels: tuple[tuple[int, ...], ...]
) -> Settings:
    return {
        name: {choice.name: choice.values[i] for choice, i in zip(choices, own, strict=True) if i}
        for name, own in zip(populations, levels, strict=True)
        if any(own)
    }
