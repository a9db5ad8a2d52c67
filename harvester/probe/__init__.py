"""probe: measures what a source does where its description is silent, with a few dozen harmless requests.

Nothing but reading is asked, one request at a time, through the same pace, gate and token as a run. What the
data does not allow to tell is "not measured", with the reason. judge.py decides, measures.py asks, place.py
finds where to.
"""

import random
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from harvester import contract
from harvester.contract import Contract, Fact
from harvester.dialects import Ask, Page, Request
from harvester.errors import BadPage, ContractBroken, Refused, Rejected, SourceError, Throttled
from harvester.events import Emit, Event, RequestFailed, nobody
from harvester.job import Job
from harvester.probe import judge, measures, place
from harvester.probe.asker import MOST_REQUESTS, Asker, Exhausted, Noted, Reading
from harvester.probe.judge import TITLES
from harvester.shards.disk import Disk
from harvester.transport import LOOP_CLOCK, Clock, Layer, Session, stack
from harvester.windows import Span

__all__ = ["MOST_REQUESTS", "TITLES", "probe", "write"]

_T = TypeVar("_T")
_DAY: Final = timedelta(days=1)
_MS: Final = timedelta(milliseconds=1)
_BOUND: Final = "the bound of requests was reached"


async def probe(
    job: Job,
    *,
    emit: Emit = nobody,
    clock: Clock = LOOP_CLOCK,
    rng: random.Random | None = None,
    most_requests: int = MOST_REQUESTS,
) -> Contract:
    """Raises Refused, ContractBroken where not one good page comes, and what else the first request meets."""
    noted, throttled = Noted(), 0

    def hear(event: Event) -> None:
        nonlocal throttled
        throttled += isinstance(event, RequestFailed) and event.error == Throttled.__name__
        emit(event)

    dialect = job.dialect
    record = dialect.declaration.record
    if record is not None:
        fields = (*(key.path for key in record.keys), record.when.path, *filter(None, [record.version]))
        dialect = replace(dialect, selection=replace(dialect.selection, fields=fields))
    async with Session(job.transport, clock) as session:
        layer: Layer[tuple[Request, Ask], Page] = stack(
            session,
            job.transport,
            read=lambda inner: Reading(dialect, inner, noted=noted, clock=clock),
            emit=hear,
            rng=rng or random.Random(),
            clock=clock,
        )
        asker = Asker(layer, dialect, noted, most_requests)
        now = clock.now()
        facts = await _Probe(asker, job).run(now)
    facts += [
        judge.rate(noted.headers, throttled),
        judge.clock_skew(noted.skews_s),
        judge.compression(noted.encodings, noted.received_bytes, noted.decoded_bytes),
    ]
    places = list(TITLES)
    return Contract(
        source=job.transport.base_url,
        dialect=job.dialect.name,
        measured_at=now,
        requests=asker.requests,
        facts=tuple(sorted(facts, key=lambda fact: places.index(fact.name))),
    )


class _Probe:
    """The order of the measurements: each stands on what those before it have found."""

    def __init__(self, asker: Asker, job: Job) -> None:
        self._asker = asker
        self._job = job
        self._facts: list[Fact] = []

    async def run(self, now: datetime) -> list[Fact]:
        """Facts about everything but what answers show by the way."""
        span, job, asker = self._job.span, self._job, self._asker
        past = span.overlap(Span(start=span.start, end=max(now, span.start + _MS)))
        assert past is not None
        try:
            length = await place.reach(asker, past)
        except (BadPage, Rejected) as error:
            raise ContractBroken(f"not one good page: {error}") from error
        self._facts.append(Fact(name="access", value="granted", told=self._access(past, length)))
        if asker.dialect.membership == "window" or asker.dialect.declaration.record is None:
            return self._rest("the source gives sums without key and time")
        busy = await self._try(("limit", "largest_page"), place.busy(asker, past, length))
        if busy is None:
            return self._rest("there are no records in the span")
        if (ladder := await self._try(("limit", "largest_page"), place.ladder(asker, busy))) is None:
            return self._rest("no page could be had")
        names = ("ends", "sub_second", "order", "order_by_date", "ties", "offset", "past_end", "deep_offset")
        settling = place.settle(asker, past, length, ladder)
        settled = await self._try((*names, "seek", "lateness"), settling)
        found: place.Place | None = None
        if settled is not None:
            found, ladder = settled
        elif length < past.end - past.start:
            ladder = replace(ladder, more=ladder.more or None)  # of a part, perhaps not the fullest
        if found is not None:
            await self._measure(("ends", "sub_second"), measures.ends(asker, found))
            await self._measure(("order", "order_by_date", "ties"), measures.order(asker, found))
            await self._measure(("offset", "past_end", "deep_offset"), measures.offset(asker, found, ladder))
            await self._measure(("seek",), measures.seek(asker, found))
            self._facts += measures.lateness(found.rows, job)
        may_be_cut = ladder.more is not False
        asking = measures.relative_days(asker, job, now, ladder.top, may_be_cut=may_be_cut)
        await self._measure(("relative_days",), asking)
        noted = asker.noted
        self._facts += judge.limit(
            ladder.asked,
            ladder.items,
            more=ladder.more,
            refused=ladder.refused,
            beyond=noted.beyond,
            largest=noted.largest,
        )
        return self._rest("there is no stretch whose records fit one page")

    def _access(self, span: Span, length: timedelta) -> str:
        whole = span.end - span.start
        days = "1 day is" if length == _DAY else f"{length / _DAY:g} days are"
        return "granted" if length == whole else f"granted; the whole span is refused at once, {days} not"

    async def _measure(self, names: tuple[str, ...], asking: Awaitable[list[Fact]]) -> None:
        self._facts += await self._try(names, asking) or []

    async def _try(self, names: tuple[str, ...], asking: Awaitable[_T]) -> _T | None:
        """None where the source fails or the bound is reached; then `names` are unknown, and why is told."""
        try:
            return await asking
        except Exhausted:
            why = _BOUND
        except (Refused, ContractBroken):
            raise
        except SourceError as error:
            why = str(error)
        self._facts += [judge.unknown(name, why) for name in names]
        return None

    def _rest(self, why: str) -> list[Fact]:
        """What was found, and for all that nobody has spoken of yet: why."""
        known = {fact.name for fact in self._facts} | {"rate", "clock_skew", "compression"}
        return [*self._facts, *(judge.unknown(name, why) for name in TITLES if name not in known)]


def write(found: Contract, out: Path) -> Path:
    """Writes it into the output, which may not be begun yet; readers see the old one or the new one."""
    disk = Disk(out)
    disk.make_folder("")
    disk.make_folder(contract.FILE.rpartition("/")[0])
    disk.replace(contract.FILE, found.encode())
    return disk.path(contract.FILE)
