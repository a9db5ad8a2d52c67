"""When the simulator's records happen: a seeded, sorted list of instants with the traits that break
harvesters.

Four rhythms: `business` (working hours with a peak before noon, thin nights, thinner weekends), `flat`,
`bursty` (whole days and most nights empty, everything in a few crowded quarter hours), and `office` (working
hours of weekdays alone, not one instant in between). A twentieth of the instants lies exactly on edges
(midnights first, then hours, then quarter hours: the edge itself, one millisecond before and after, and half
a second before midnight), and another twentieth in clusters that share one instant; with `office` those of
them that fall into its hours.

The draws use `random()` alone: its sequence is the same in every Python release, that of `choices` is not
promised.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from random import Random

RHYTHMS = ("business", "flat", "bursty", "office")

_QUARTER_MS = 900_000
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000

# Calls per hour of the local working day; the shape of an inbound service line with a dip at lunch.
_BY_HOUR = (
    0.02, 0.01, 0.01, 0.01, 0.02, 0.05, 0.15, 0.40, 0.80, 1.00, 1.10, 1.05,
    0.80, 0.90, 1.00, 0.95, 0.85, 0.65, 0.40, 0.25, 0.15, 0.10, 0.05, 0.03,
)  # fmt: skip
_BY_WEEKDAY = (1.15, 1.05, 1.0, 1.0, 0.95, 0.30, 0.12)
_OFFICE_OFFSET_MS = -5 * _HOUR_MS


def instants(
    count: int, *, start_ms: int, end_ms: int, seed: str, rhythm: str = "business", cluster: int = 25
) -> "array[int]":
    """`count` sorted instants in `start_ms <= t < end_ms`, in milliseconds of Unix time."""
    if rhythm not in RHYTHMS:
        raise ValueError(f"no rhythm {rhythm!r}; there are {', '.join(RHYTHMS)}")
    random = Random(f"{seed}/instants").random
    marked = _on_edges(count // 20, start_ms, end_ms)
    marked += _in_clusters(count, cluster, start_ms, end_ms, random)
    edges = range(start_ms - start_ms % _QUARTER_MS, end_ms, _QUARTER_MS)
    cumulative = list(accumulate(_weight(edge, rhythm, random) for edge in edges))
    if not cumulative[-1]:  # a short span may hold no busy day at all
        cumulative = list(accumulate(1.0 for _ in edges))
    elif rhythm == "office":
        marked = [t for t in marked if _is_worked(t)]
    total = cumulative[-1]
    chosen = array("q", marked)
    while len(chosen) < count:
        edge = edges[min(bisect_right(cumulative, random() * total), len(edges) - 1)]
        t = edge + int(random() * _QUARTER_MS)
        if start_ms <= t < end_ms:
            chosen.append(t)
    return array("q", sorted(chosen[:count]))


def _weight(edge_ms: int, rhythm: str, random: Callable[[], float]) -> float:
    noise = 0.7 + 0.6 * random()
    if rhythm == "flat":
        return 1.0
    local_ms = edge_ms + _OFFICE_OFFSET_MS
    day, hour = local_ms // _DAY_MS, local_ms % _DAY_MS // _HOUR_MS
    if rhythm == "bursty":
        return 1.0 if day % 3 == 0 and noise > 1.27 else 0.0001 if day % 3 == 0 else 0.0
    if rhythm == "office":
        return _BY_HOUR[hour] * noise if _is_worked(edge_ms) else 0.0
    return _BY_WEEKDAY[(day + 3) % 7] * _BY_HOUR[hour] * noise


def _is_worked(ms: int) -> bool:
    """From 8 to 18 on weekdays."""
    day, in_day = divmod(ms + _OFFICE_OFFSET_MS, _DAY_MS)
    return (day + 3) % 7 < 5 and 8 <= in_day // _HOUR_MS < 18


def _on_edges(budget: int, start_ms: int, end_ms: int) -> list[int]:
    """Instants on and around edges, the coarsest edges first, thinned evenly where the budget does not
    reach.
    """
    found = [t for t in (start_ms, start_ms, end_ms - 1) if start_ms <= t < end_ms] if budget else []
    for step, around in (
        (_DAY_MS, (-500, -1, 0, 1)),
        (_HOUR_MS, (-1, 0, 1)),
        (_QUARTER_MS, (-1, 0)),
    ):
        edges = range(start_ms - start_ms % step + step, end_ms, step)
        left = (budget - len(found)) // len(around)
        if left <= 0:
            break
        every = max(1, -(-len(edges) // left))
        found += [edge + d for edge in edges[::every] for d in around if start_ms <= edge + d < end_ms]
    return found


def _in_clusters(count: int, size: int, start_ms: int, end_ms: int, random: Callable[[], float]) -> list[int]:
    """Whole seconds that `size` records share; one cluster at least, if it is not most of the data."""
    if size < 2 or size > count // 2:
        return []
    seconds = (end_ms - start_ms) // 1000
    found: list[int] = []
    for _ in range(max(1, count // 20 // size)):
        at = min(start_ms + int(random() * seconds) * 1000, end_ms - 1)
        found += [at] * size
    return found
