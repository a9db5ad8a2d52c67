"""Asks single questions through the whole transport, counts them, and notes what every answer shows by the
way.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from anyio import to_thread

from harvester.dialects import Ask, Dialect, Page, Request, Row
from harvester.errors import ContractBroken, SourceError
from harvester.probe.judge import EDGE
from harvester.transport import Answer, Clock, Layer
from harvester.transport.status import announced, http_date

MOST_REQUESTS: Final = 60
"""Of one probe, retries aside: the measurements need 20 to 50, by how far the search for records goes."""


class Exhausted(Exception):
    """The probe has asked as often as it may."""


@dataclass(slots=True)
class Noted:
    """What answers show whatever was asked."""

    headers: dict[str, str] = field(default_factory=dict)
    """Those that speak of a rate; the last value of each."""
    skews_s: list[float] = field(default_factory=list)
    encodings: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    decoded_bytes: int = 0
    records: int = 0
    largest: int = 0
    """Records of the largest page."""
    beyond: tuple[int, int] | None = None
    """Of the pages that held more different records than were asked for, the one that held the most more: how
    many were asked for, and how many came."""
    strays: bool = False
    """Records came that lie outside of the range asked for."""
    instant: tuple[int, datetime] | None = None
    """The instant that the most records of one page share, and how many."""


class Reading:
    """The layer between questions and requests, below the retries: so a bad page is asked for again."""

    def __init__(
        self, dialect: Dialect, inner: Layer[Request, Answer], *, noted: Noted, clock: Clock
    ) -> None:
        self._dialect = dialect
        self._inner = inner
        self._noted = noted
        self._clock = clock

    async def send(self, ask: tuple[Request, Ask], /) -> Page:
        request, asked = ask
        try:
            answer = await self._inner.send(request)
        except SourceError as error:
            self._noted.headers |= error.announced
            raise
        self._note(answer)
        page = await to_thread.run_sync(self._dialect.read, answer.body, asked)
        self._noted.records += len(page.rows)
        self._note_instants(page)
        return page

    def _note_instants(self, page: Page) -> None:
        for at, count in Counter({row[1]: row[0] for row in page.rows}.values()).most_common(1):
            if count > 1 and (self._noted.instant is None or count > self._noted.instant[0]):
                self._noted.instant = count, at

    def _note(self, answer: Answer) -> None:
        noted = self._noted
        noted.headers |= announced(answer.headers)
        noted.encodings[answer.headers.get("content-encoding", "")] += 1
        noted.received_bytes += answer.received_bytes
        noted.decoded_bytes += len(answer.body)
        there = http_date(answer.headers.get("date", ""))
        if there is not None:
            noted.skews_s.append((there - self._clock.now()).total_seconds() + answer.elapsed_s / 2)


class Asker:
    """One question at a time; raises Exhausted, or what the transport raises."""

    def __init__(
        self,
        layer: Layer[tuple[Request, Ask], Page],
        dialect: Dialect,
        noted: Noted,
        most: int = MOST_REQUESTS,
    ) -> None:
        self._layer = layer
        self._most = most
        self.dialect = dialect
        self.noted = noted
        self.requests = 0

    async def page(
        self,
        start: datetime,
        end: datetime,
        *,
        limit: int,
        offset: int = 0,
        order_by: str | None = None,
        filter: dict[str, Any] | None = None,
    ) -> Page:
        """`filter` takes the place of the job's own."""
        dialect = self.dialect
        if filter is not None:
            dialect = replace(dialect, selection=replace(dialect.selection, filter=filter))
        ask = Ask(start=start, end=end, limit=limit, offset=offset, order_by=order_by)
        page = await self.send(dialect.request(ask), ask)
        self.noted.strays |= len(inside(page.rows, start, end)) < len(page.rows)
        return page

    async def send(self, request: Request, ask: Ask) -> Page:
        if self.requests >= self._most:
            raise Exhausted
        self.requests += 1
        page = await self._layer.send((request, ask))
        self._measure(page, ask.limit)
        if page.unfit and not page.rows and not self.noted.records:
            raise ContractBroken(
                f"no record has the declared key and date ({page.unfit.reason}); "
                "check [source] dialect and date_field"
            )
        return page

    def _measure(self, page: Page, asked: int) -> None:
        """A record that came twice is counted once where the Limit is in question."""
        noted = self.noted
        noted.largest = max(noted.largest, size(page))
        items = len({row[1] for row in page.rows}) + len(page.rejects)
        if items > asked and (noted.beyond is None or items - asked > noted.beyond[1] - noted.beyond[0]):
            noted.beyond = asked, items


def size(page: Page) -> int:
    return len(page.rows) + len(page.rejects)


def inside(rows: Iterable[Row], start: datetime, end: datetime) -> list[Row]:
    """Those that may belong to a range, whatever its ends mean: some sources send others as well."""
    return [row for row in rows if start - EDGE <= row[0] <= end + EDGE]
