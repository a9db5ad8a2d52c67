"""What a run has seen the server do, shared by all that read pages."""

from dataclasses import dataclass
from typing import Final

from harvester.dialects import Page

_ROUND: Final = 50
"""Caps are round numbers: a page of 500 is never the end by its size."""


@dataclass(slots=True)
class Served:
    """What this run has seen the server do; shared by all walks."""

    limit: int
    """What is asked for at present; halved where the server refuses it."""
    whole_page: int = 0
    """The most different records, rejects counted, that came in one page. A page is no larger for a double
    in it.
    """
    caps: set[int] | None = None
    """Sizes of pages after which more followed."""
    pages: int = 0
    """Good pages, at least an empty one."""
    records: int = 0
    """Valid records among them."""
    offset_ignored: bool = False
    order_kept: bool | None = None
    """Whether rows come in the order that was asked for; None until it was tried."""

    def note(self, page: Page) -> None:
        self.pages += 1
        self.records += len(page.rows)
        if len(page.rows) + len(page.rejects) > self.whole_page:
            different = len({row[1] for row in page.rows}) + len(page.rejects)
            self.whole_page = max(self.whole_page, different)

    def note_more_followed(self, items: int) -> None:
        if self.caps is None:
            self.caps = set()
        self.caps.add(items)

    def is_last(self, items: int) -> bool:
        """Whether a page of so many items proves the end by being short."""
        if items == 0:
            return True
        return (
            items < min(self.whole_page, self.limit)
            and items % _ROUND != 0
            and items not in (self.caps or ())
        )
