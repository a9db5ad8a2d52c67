"""What the ledger keeps of the way to the source: how fast, and by how many at once, it may be asked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harvester.ledger import Ledger
from harvester.transport import Clock, Pace, TransportSettings, Width, pace_of, width_of

RATE = "rate"
WIDTH = "width"


def begin_where_it_ended(
    settings: TransportSettings, ledger: Ledger, clock: Clock
) -> tuple[TransportSettings, Pace, Width]:
    """As the job says, and else as the run before left it."""
    learned = ledger.learned()
    width = _positive(learned, WIDTH)
    access = replace(
        settings,
        initial_rate=_positive(learned, RATE),
        initial_width=None if width is None else max(1, int(width)),
    )
    return access, pace_of(access, clock), width_of(access)


def news(began: TransportSettings, pace: Pace, width: Width) -> dict[str, Any]:
    """What is to be learned; empty where nothing is new. A width of None: as many as the job allows."""
    found: dict[str, Any] = {}
    if pace.learned_rate is not None and pace.learned_rate != began.initial_rate:
        found[RATE] = pace.learned_rate
    if width.worth_remembering != began.initial_width:
        found[WIDTH] = width.worth_remembering
    return found


def _positive(learned: Mapping[str, Any], name: str) -> float | None:
    value = learned.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 < value < float("inf") else None
