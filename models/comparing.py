"""What an ablation says, computed from its arms."""

from __future__ import annotations

from collections.abc import Sequence

from neurodeploy.models.system import Arm


def against_the_first(arms: Sequence[Arm], what: str) -> str:
    """One sentence: by how many points every other arm differs from the first, for shares.

    A difference that is not larger than the two arms' standard deviations over the seeds together
    is called unclear.

    Parameters
    ----------
    what: the measure, with which the sentence begins.
    """
    first, *others = arms
    parts = []
    for arm in others:
        points = 100 * (arm.mean - first.mean)
        unclear = abs(points) <= 100 * (arm.spread + first.spread)
        parts.append(f"{arm.name} {points:+.1f} points{' (unclear)' if unclear else ''}")
    return f"{what}, against {first.name} ({first.mean:.1%}): {', '.join(parts)}."
