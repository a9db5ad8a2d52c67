"""What a walk that goes on for long is asked for: something of the middle of it once more.

Where nothing of that has come before, records are made up for each request, and the walk would have no end.
"""

from collections.abc import Callable
from typing import Final

from harvester.dialects import Ask, Page
from harvester.errors import ContractBroken
from harvester.pages.asking import Asking, Split, named
from harvester.windows import Window

MOST_PAGES: Final = 16_384
"""In one walk; 16 million records where pages are full."""
SAME_PAGES: Final = 12
"""How often a page of a few rows has to come again for another offset before the server counts as one that
ignores it: rows in random order may look like it now and then."""
_FIRST: Final = 128
"""After so many pages, and each time that there are twice as many."""


class Endless(Split):
    """So many pages came that there may be no end."""


class Recalls:
    """Of one walk."""

    def __init__(self, asking: Asking, part: Window) -> None:
        self._asking = asking
        self._part = part
        self._next = _FIRST

    async def after(self, pages: int, ask: Callable[[], Ask], knows: Callable[[Page], bool]) -> int:
        """Whether what stood here before, or where else it has moved since, was seen; how many pages were
        asked for. More than one only where pages are small and come in another order each time.
        """
        if pages < self._next:
            return 0
        self._next = 2 * pages
        if pages >= MOST_PAGES:
            raise Endless(
                pages,
                ContractBroken(
                    f"{named(self._part)}: {pages:,} pages and no end; raise [fetch] page_size or choose a "
                    "smaller [span] resolution, if there are so many records"
                ),
            )
        for trial in range(SAME_PAGES):
            page = await self._asking.page(ask, self._part, pages)
            if knows(page) or not (page.rows or page.rejects):
                return trial + 1
        raise ContractBroken(
            f"{named(self._part)}: after {pages:,} pages none of their records comes again; the server sends "
            "other ones for each request"
        )


def same_page(part: Window) -> ContractBroken:
    return ContractBroken(f"{named(part)}: the server sends the same page for every offset")
