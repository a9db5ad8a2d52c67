"""What a run has seen the server do, shared by all that read pages."""

from dataclasses import dataclass, field

import anyio

from harvester.dialects import Page


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
    given_up: int = 0
    """Requests that failed on every try since the last good page."""
    offset_ignored: bool = False
    order_kept: bool | None = None
    """Whether rows come in the order that was asked for; None until it was tried."""
    order_trials: int = 0
    """How often the rows did not tell."""
    proving: anyio.Lock = field(default_factory=anyio.Lock)
    """One reader at a time proves the order, the others wait for what it finds."""

    def note(self, page: Page) -> None:
        self.pages += 1
        self.given_up = 0
        self.records += len(page.rows)
        if len(page.rows) + len(page.rejects) > self.whole_page:
            different = len({row[1] for row in page.rows}) + len(page.rejects)
            self.whole_page = max(self.whole_page, different)

    def note_more_followed(self, items: int) -> None:
        if self.caps is None:
            self.caps = set()
        self.caps.add(items)
