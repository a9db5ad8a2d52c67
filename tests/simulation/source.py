"""The innermost layer of the stack: a source that answers out of a table, fails as the story wants, and
watches its own door.

What it watches is what a server could: that no more requests are inside than the job says, that they come no
faster than the job says, and that nobody comes while everybody was asked to wait.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

import anyio
import msgspec
import orjson

from harvester.dialects import Request
from harvester.errors import Broken, ConnectFailed, TimedOut
from harvester.events import Emit, RequestSent
from harvester.transport import Answer, Layer, ServerClock, TransportSettings
from harvester.transport import status as statuses
from harvester.transport.arrears import LATENESS_S
from tests.simulation.scenario import STORM_AFTER, WEATHERS, Episode, Record, Scenario
from tests.simulation.trace import Trace

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ASKS_S: Final = (0.0, 1.0, 7.0, 40.0)
_BODIES: Final = {
    "html": b"<html><body>502</body></html>",
    "empty": b"",
    "code": b'{"resultCode":5,"resultCodeName":"Failure","data":null}',
    "null": b'{"resultCode":0,"resultCodeName":"Success","data":null}',
}
_SLACK: Final = 1e-5


class Clock:
    """The loop's time, beside a wall that starts where the story begins. The source's wall is right, the
    client's may be off.
    """

    def __init__(self, begins: datetime, skew_s: float) -> None:
        self._begins = begins
        self._skew = timedelta(seconds=skew_s)
        self.monotonic = asyncio.get_running_loop().time  # the shortest way: it is asked at each step

    def now(self) -> datetime:
        return self.there() + self._skew

    def there(self) -> datetime:
        return self._begins + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(seconds)


class Source:
    """One for each episode; `open` is what a harvest is given for its session."""

    def __init__(
        self, scenario: Scenario, episode: Episode, clock: Clock, trace: Trace, token: str, *, seed: str
    ) -> None:
        self._scenario = scenario
        self._weather = WEATHERS[episode.weather]
        self._episode = episode
        self._clock = clock
        self._trace = trace
        self._rng = random.Random(seed)
        self._began_s = clock.monotonic()
        self.token = token
        self.expired = anyio.Event()
        self.requests = 0
        self.most_inside = 0
        self._inside = 0
        self._bucket = 0.0
        self._last_s = -1e9
        self._told_until_s = 0.0

    @asynccontextmanager
    async def open(
        self, settings: TransportSettings, *, emit: Emit, server_clock: ServerClock
    ) -> AsyncIterator[Layer[Request, Answer]]:
        self._settings = settings
        self._server_clock = server_clock
        self._emit = emit
        yield self

    async def send(self, ask: Request, /) -> Answer:
        self._emit(RequestSent())
        self.requests += 1
        at_s = self._clock.monotonic()
        self._trace.note("arrived", ask.path, ask.body)
        self._inside += 1
        self.most_inside = max(self.most_inside, self._inside)
        self._watch(at_s)
        try:
            return await self._answer(ask, at_s)
        finally:
            self._inside -= 1

    def _watch(self, at_s: float) -> None:
        wrong, limit = self._trace.wrong, self._settings.concurrency
        if self._inside > limit:
            wrong.append(f"in flight: {self._inside} requests at once, {limit} allowed")
        if at_s + _SLACK < self._told_until_s:
            wrong.append(f"a pause: asked to wait until {self._told_until_s:.3f} s, one came at {at_s:.3f} s")
        if at_s + _SLACK < self._trace.paused_until_s:
            wrong.append(
                f"a pause until {self._trace.paused_until_s:.3f} s was told, one came at {at_s:.3f} s"
            )
        rate = self._settings.requests_per_second
        if rate is not None:
            self._bucket = max(0.0, self._bucket - rate * (at_s - self._last_s)) + 1
            self._last_s = at_s
            if self._bucket > 1 + rate * LATENESS_S + _SLACK:
                wrong.append(f"the rate: more than {rate:g} a second, at {at_s:.3f} s")

    async def _answer(self, ask: Request, at_s: float) -> Answer:
        what = f"{ask.method} {ask.path}"
        run_s = at_s - self._began_s
        if any(begin_s <= run_s < end_s for begin_s, end_s in self._episode.outages):
            await anyio.sleep(0.05)
            raise ConnectFailed(f"{what}: no connection: refused")
        kind = self._kind()
        limit_s = self._settings.request_timeout_s
        wait_s = self._rng.uniform(1.0, limit_s - 1) if kind == "slow" else self._rng.uniform(0.01, 0.4)
        if kind == "hang":
            await anyio.sleep(limit_s)
            raise TimedOut(f"{what}: not whole within {limit_s:g} s")
        await anyio.sleep(wait_s)
        if kind == "cut":
            raise Broken(f"{what}: the answer was cut short")
        if self._episode.expires_after == self.requests:
            self.token += "+"
            self.expired.set()
        if ("Authorization", f"apikey {self.token}") not in ask.headers:
            raise self._failure(401, {}, what)
        if kind[:3].isdigit():
            self._refuse(kind, what, at_s)
        body = _BODIES.get(kind) or self._page(ask)
        if kind == "empty":
            body = b""
        elif kind == "cut json":
            body = body[: self._rng.randrange(1, len(body))]
        elif kind == "pretty":
            body = msgspec.json.format(body, indent=2)
        self._trace.note("answered", kind, len(body))
        self._server_clock.hear({"date": self._date()})
        return Answer(
            status=200,
            headers={},
            body=body,
            received_bytes=len(body),
            elapsed_s=self._clock.monotonic() - at_s,
        )

    def _kind(self) -> str:
        if self._episode.weather == "storm" and self.requests <= STORM_AFTER:
            return ""
        drawn = self._rng.random()
        for kind, share in self._weather.items():
            drawn -= share
            if drawn < 0:
                return kind
        return ""

    def _refuse(self, kind: str, what: str, left_s: float) -> None:
        status, _, manner = kind.partition(" ")
        headers: dict[str, str] = {}
        asked_s = 0.0
        if manner:
            asked_s = self._rng.choice(_ASKS_S)
            now = self._clock.there()
            headers["retry-after"] = f"{asked_s:.0f}"
            if manner == "date":
                headers["date"] = self._date()
                until = now.replace(microsecond=0) + timedelta(seconds=asked_s)
                headers["retry-after"] = _date_of(until)
        now_s = self._clock.monotonic()
        # What left before a pause began says nothing about the time after it; inside one it makes it longer.
        if manner and (left_s > self._trace.pause_began_s or now_s < self._trace.paused_until_s):
            self._told_until_s = max(self._told_until_s, now_s + asked_s)
        raise self._failure(int(status), headers, what)

    def _failure(self, status: int, headers: dict[str, str], what: str) -> Exception:
        self._trace.note("refused", status, headers)
        failure = statuses.failure(
            status, headers, what=what, now=self._clock.now(), max_outage_s=self._settings.max_outage_s
        )
        assert failure is not None
        return failure

    def _date(self) -> str:
        return _date_of(self._clock.there().replace(microsecond=0))

    # --- the table

    def _page(self, ask: Request) -> bytes:
        asked = orjson.loads(ask.body or b"{}")
        low, high = self._bounds(asked["StartDateTime"], asked["EndDateTime"])
        now_ms, now_s = _ms(self._clock.there()), self._clock.monotonic()
        rows = [
            one
            for one in self._scenario.records
            if low <= one.ms <= high and one.ms <= now_ms and one.there_from_s <= now_s < one.there_until_s
        ]
        rows = self._ordered(rows, asked.get("OrderBy"))
        offset = asked.get("Offset", 0)
        page = rows[offset : offset + min(asked["Limit"], self._scenario.page_cap)]
        return b'{"resultCode":0,"resultCodeName":"Success","data":[%s]}' % b",".join(
            [one.raw for one in page]
        )

    def _bounds(self, start: str, end: str) -> tuple[int, int]:
        """First and last millisecond, both counted."""
        low, high = (_ms(datetime.fromisoformat(text)) for text in (start, end))
        match self._scenario.ends:
            case "exclusive":
                return low, high - 1
            case "open":
                return low + 1, high - 1
            case "seconds":
                return low // 1000 * 1000, high // 1000 * 1000 + 999
        return low, high

    def _ordered(self, rows: list[Record], order_by: str | None) -> list[Record]:
        match self._scenario.order:
            case "ties":
                chance = {id(one): self._rng.random() for one in rows}
                return sorted(rows, key=lambda one: (one.ms, chance[id(one)]))
            case "by date":
                return rows
            case "descending":
                return rows[::-1]
        return sorted(rows, key=lambda one: one.key) if order_by == "_id" else rows


@lru_cache
def _date_of(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
