"""How many rows at the end of a page the next one has to begin with. Pure.

One row is enough where no two can change places: it stands where it stood, so as many rows as before stand
in front of it. Where rows are ordered by time, those of one instant may come in another order on each call,
and one that leaves in front of them can bring the row that is looked for to the very place where it is looked
for, with another one, never seen, in front of it. So all rows of the last instant are asked for again, and
one of an earlier instant: if that one and nothing else stands in front of them, as many rows as before are
earlier than they, and whatever order they come in, all of them are behind it. An instant is a second, as long
as nothing shows that milliseconds count.
"""

from datetime import datetime
from itertools import pairwise
from math import log
from typing import Final

from harvester.dialects import Key, Row

_PROOF: Final = log(40_000)
"""Eight rows in order by chance come once in so many times."""


_PAIRS: Final = 16
"""So many neighbours ascend by chance once in 60,000 times."""
RECENT: Final = 64
"""So many rows, or those of a page where they are more, are remembered to find the overlap in."""


def remembered(rows: list[Row]) -> list[Row]:
    """Of rows what finds them again: without their bytes, each of which may keep a whole page in memory."""
    return [(time, key, version, b"") for time, key, version, _ in rows]


def overlap_of(rows: list[Row]) -> tuple[int, bool]:
    """How many of these rows, which follow each other, at least one; and whether they begin with one that
    holds them. It is none where all are of one instant: then nothing shows what is in front of them.
    """
    times = [row[0] for row in rows]
    if not _tells_milliseconds(times):
        times = [at.replace(microsecond=0) for at in times]
    earlier_first = times == sorted(times)
    if not earlier_first and times != sorted(times, reverse=True):
        return 1, True  # by no time, so by something else
    if earlier_first and _is_by_key(rows):
        return 1, True
    ties = 1
    while ties < len(rows) and times[-1 - ties] == times[-1]:
        ties += 1
    return (ties + 1, True) if ties < len(rows) else (ties, False)


def _tells_milliseconds(times: list[datetime]) -> bool:
    """Whether rows of one second come by their milliseconds, by more than chance."""
    inside = sum(
        one != other and one.replace(microsecond=0) == other.replace(microsecond=0)
        for one, other in pairwise(times)
    )
    return inside >= _PAIRS and times == sorted(times)


def _is_by_key(rows: list[Row]) -> bool:
    """Whether rows of one instant come by key, and so many that it is no chance."""
    keys = [row[1] for row in rows]
    try:
        if keys != sorted(set(keys)):
            return False
    except TypeError:  # keys of two kinds
        return False
    surprise, ties = 0.0, 1
    for one, other in pairwise(rows):
        ties = ties + 1 if one[0] == other[0] else 1
        surprise += log(ties)  # adds up to the logarithm of ties!
    return surprise >= _PROOF


def begins_with(rows: list[Row], overlap: list[Key], *, is_strict: bool) -> bool:
    """Whether rows begin with what was asked for again, those of the last instant in any order.

    `is_strict`: in the same order, where no row of an earlier instant is among them.
    """
    keys = [row[1] for row in rows[: len(overlap)]]
    if keys == overlap or is_strict:
        return keys == overlap
    return keys[:1] == overlap[:1] and set(keys) == set(overlap)


def end_of_overlap(rows: list[Row], overlap: list[Key], *, is_strict: bool) -> int:
    """The same, where copies may stand between the rows: the place behind the overlap, -1 where it is not."""
    keys: dict[Key, None] = {}
    for place, row in enumerate(rows):
        keys.setdefault(row[1])
        if len(keys) == len(overlap):
            listed = list(keys)
            is_there = listed == overlap or (
                not is_strict and listed[0] == overlap[0] and keys.keys() == set(overlap)
            )
            return place + 1 if is_there else -1
    return -1
