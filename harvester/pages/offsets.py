"""Whether a server ignores offsets.

That a page comes again for another offset does not show it: a record may stand in the source many times,
rows may come in front of a page as fast as it moves on, and ties may change places. What no server that
counts can do is to bring one of the first records from a place that is far behind all of them. So that is
asked for before anything is concluded. Where an offset has led on before (`offset_works`) that is not enough,
for a server may bring its last rows for whatever lies behind them: then one record has to come for each of
several offsets where others stood a moment ago.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from harvester.dialects import Ask, Page
from harvester.errors import ServerFailed, TimedOut
from harvester.pages.asking import Asking, Split
from harvester.pages.served import Served
from harvester.windows import Window

FAR_BEHIND: Final = (1 << 20, 1 << 10, 1 << 5)
"""Tried in turn, where those before are refused; the least is twice as many rows as one record may have."""
ROUNDS: Final = 3
"""Of four requests; a server may ignore offsets now and then."""
WIDER: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=30))
"""By how much a range is made wider on both sides, until enough records stand in it."""


async def try_out(
    at: Callable[[int], Callable[[], Ask]],
    knows: Callable[[Page], bool],
    rows: int,
    part: Window,
    *,
    asking: Asking,
    served: Served,
) -> int:
    """Notes in `served` whether offsets are ignored; how many pages were asked for.

    `at` makes the request from an offset, `knows` tells whether a page holds what stands in front of it,
    `rows` were on the page that came again. Where offsets are ignored and another number comes, pages are cut
    to more than one size.
    """
    asked = 0
    if served.offset_ignored:
        return asked
    for offset in FAR_BEHIND:
        asked += 1
        try:
            page = await asking.page(at(offset), part, asked)
        except (Split, ServerFailed, TimedOut):
            continue
        is_ignored = bool(page.rows) and knows(page)
        if is_ignored and served.offset_works:
            more, is_ignored = await _try_all(at, offset, part, asked, asking=asking)
            asked += more
        if is_ignored:
            has_worked = served.offset_works
            served.note_offset_ignored()
            served.is_cap_moving |= not has_worked and len(page.rows) != rows
        elif not page.rows and not page.rejects:
            served.offset_works = True
        break
    return asked


async def _try_all(
    at: Callable[[int], Callable[[], Ask]], far: int, part: Window, before: int, *, asking: Asking
) -> tuple[int, bool]:
    """How many pages were asked for, and whether the first record of a page came from every offset."""
    asked = 0
    try:
        for wider in (timedelta(0), *WIDER):
            asked += 1
            first = await asking.page(_wider(at(0), wider), part, before + asked)
            keys = [row[1] for row in first.rows]
            others = [n for n, key in enumerate(keys) if key != keys[0]]
            if first.rejects or others:
                break
        if first.rejects or not others:
            return asked, False
        for _ in range(ROUNDS):
            for offset in (far, others[0], others[len(others) // 2], others[-1]):
                asked += 1
                page = await asking.page(_wider(at(offset), wider, limit=1), part, before + asked)
                came = [row[1] for row in page.rows]
                if not came or page.rejects or came != keys[: len(came)]:
                    return asked, False
    except (Split, ServerFailed, TimedOut):
        return asked, False
    return asked, True


def _wider(asks: Callable[[], Ask], wider: timedelta, *, limit: int | None = None) -> Callable[[], Ask]:
    def ask() -> Ask:
        one = asks()
        return replace(one, start=one.start - wider, end=one.end + wider, limit=limit or one.limit)

    return ask
