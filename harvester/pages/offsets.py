"""Whether a server ignores offsets.

That a page comes again for another offset does not show it: a record may stand in the source many times,
rows may come in front of a page as fast as it moves on, and ties may change places. What no server that
counts can do is to bring one of the first records from a place that is far behind all of them. So that is
asked for before anything is concluded, and nothing is where an offset has led on before (`offset_works`).
"""

from collections.abc import Callable
from typing import Final

from harvester.dialects import Ask, Page
from harvester.errors import ServerFailed, TimedOut
from harvester.pages.asking import Asking, Split
from harvester.pages.served import Served
from harvester.windows import Window

FAR_BEHIND: Final = (1 << 20, 1 << 10, 1 << 5)
"""Tried in turn, where those before are refused; the least is twice as many rows as one record may have."""


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
    if served.offset_works or served.offset_ignored:
        return asked
    for offset in FAR_BEHIND:
        asked += 1
        try:
            page = await asking.page(at(offset), part, asked)
        except (Split, ServerFailed, TimedOut):
            continue
        served.offset_ignored = bool(page.rows) and knows(page)
        served.is_cap_moving |= served.offset_ignored and len(page.rows) != rows
        served.offset_works = not page.rows and not page.rejects
        break
    return asked
