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
    """The most different records, rejects counted, that came in one page from the first on: others may be
    cut to another size. A page is no larger for a double in it.
    """
    caps: set[int] | None = None
    """Sizes of pages after which more followed."""
    steady: int = 0
    """Pages of up to so many items came whole again, as often as they were asked for in ranges that differ by
    next to nothing."""
    is_cap_moving: bool = False
    """Such ranges brought pages of different sizes: a page may be cut to any size but one."""
    pages: int = 0
    """Good pages, at least an empty one."""
    records: int = 0
    """Valid records among them."""
    has_versions: bool = False
    """One of them told its version."""
    given_up: int = 0
    """Requests that failed on every try since the last good page."""
    offset_ignored: bool = False
    """A page from far behind all rows held the first ones, and no offset led on since (offsets.py)."""
    offset_works: bool = False
    """An offset has led to rows behind a page, or to nothing behind all of them. So where one does not lead
    on, it is not because there are none."""
    has_changed: bool = False
    """Offsets led on earlier in this run and are ignored by now."""
    copies_in_doubt: bool = False
    """A record came twice in an answer though it stands at one position: its copy was only in the answer."""
    seeks: bool = False
    """Records behind a key may be asked for: a probe found that the server knows how, and nothing else has
    been seen since."""
    seek_seen: str = ""
    """What was seen else."""
    order_kept: bool | None = None
    """Whether rows come in the order that was asked for; None until it was tried."""
    order_trials: int = 0
    """How often the rows did not tell."""
    moved: int = 0
    """Pages by time that left out what had come before."""
    proving: anyio.Lock = field(default_factory=anyio.Lock)
    """One reader at a time proves the order, the others wait for what it finds."""
    is_limit_in_doubt: bool = False
    """Ranges were refused whatever the limit, so a refusal may be for either until a page comes."""
    _first_limit: int = 0
    _ranges_refused: bool = False

    def __post_init__(self) -> None:
        self._first_limit = self.limit

    def refuse_range(self) -> None:
        """A page of one record was refused too: it was the range, and the limit was made small in vain."""
        self._ranges_refused = not self.pages or self.is_limit_in_doubt

    def note(self, page: Page, *, offset: int = 0) -> None:
        self.pages += 1
        self.is_limit_in_doubt = self._ranges_refused
        if self._ranges_refused:
            self.limit, self._ranges_refused = self._first_limit, False
        self.given_up = 0
        self.records += len(page.rows)
        self.has_versions = self.has_versions or any(row[2] for row in page.rows)
        if offset == 0 and len(page.rows) + len(page.rejects) > self.whole_page:
            different = len({row[1] for row in page.rows}) + len(page.rejects)
            self.whole_page = max(self.whole_page, different)

    def note_offset_led_on(self) -> None:
        """To what stands there, or to nothing: it takes back that offsets are ignored."""
        self.offset_works, self.offset_ignored = True, False

    def note_offset_ignored(self) -> None:
        """Where offsets led on before, the server is another one by now: the sizes that pages were cut to say
        no more of it than in a run that begins here."""
        if self.offset_works:
            self.has_changed, self.offset_works = True, False
            self.caps, self.whole_page, self.steady, self.is_cap_moving = None, 0, 0, False
        self.offset_ignored = True

    def may_be_last(self, items: int) -> bool:
        """Whether a page of so many items is smaller than any after which more followed."""
        return items < self.limit and all(items < cap for cap in self.caps or ())

    def note_more_followed(self, items: int) -> None:
        if self.caps is None:
            self.caps = set()
        self.caps.add(items)
