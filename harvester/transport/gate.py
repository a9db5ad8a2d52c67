"""Who may leave, and when: one gate for all tasks, so that a server which says "wait" has to say it once.

    ==========  =============================================  ===============================================
    state       who leaves                                     goes on when
    ==========  =============================================  ===============================================
    RETURNING   as many at a time as the quota says            each answer raises the quota by one; when all
                                                               fit it is OPEN
    OPEN        everybody                                      the server throttles or nobody answers: PAUSED
    PAUSED      nobody                                         the time is over: the first to come knocks
    KNOCKING    one                                            answered: RETURNING. Failed: PAUSED, and longer
    ==========  =============================================  ===============================================

A run begins RETURNING: what a server with a hidden limit thinks of sixteen at once is not known yet, and a
quota that goes up with each answer doubles in each round trip. `Door` decides and does no I/O; `Gate` is
the layer around it.

A 503 that names no pause may mean everybody or one machine of many, so the answers beside it decide. Each of
them takes trust, each good answer gives three times as much. Where trust is left the request alone is tried
again, and all the others only take a breath, `BREATH` of the time at most; where none is left everybody waits
as after a 429. A pause leaves a single step of trust, and so does the start: what was ill has to show that it
is well.

What came from a request that left before the pause says nothing about the time after it: its ticket is of
an older epoch. It may lengthen the pause, it never ends or begins one.

An outage (nobody answered, or everybody throttled) that outlives `max_outage_s` is given up by all who
wait, and from then on by everybody who meets one more failed knock, with a knock each second: the run comes
to its end, and goes on by itself where the server comes back. The longest pause that the server itself
asked for does not count against it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final, Generic

import anyio

from harvester.errors import ConnectFailed, SourceError, Stale, Throttled, TransientError
from harvester.events import Emit, Paused
from harvester.transport.backoff import full_jitter
from harvester.transport.clock import Clock
from harvester.transport.layer import A, Layer, Q
from harvester.transport.limits import Pace
from harvester.transport.width import Width

GIVEN_UP_KNOCK_S: Final = 1.0
"""Between knocks once an outage was given up: often enough to see each remaining window fail in bearable
time, too seldom to hurt."""

TRUST: Final = 16
"""503s, after which they mean everybody where nothing good comes between them."""
GAINED: Final = 3
"""By each good answer: where every second one is a 503 at random, the trust is used up once in some ten
thousand answers; where four of five are, soon."""
AFRESH: Final = 1
"""After a pause, and at the start: what was ill has to show that it is well."""
BREATH: Final = 0.05
"""Of the time since the last breath: what hiccups may cost altogether."""
MAX_BREATH_S: Final = 0.5


class OutageOutlived(TransientError):
    """Everybody waited for `max_outage_s` in vain. The window fails; trying again at once is no use."""


class State(Enum):
    RETURNING = "returning"
    OPEN = "open"
    PAUSED = "paused"
    KNOCKING = "knocking"


class News(Enum):
    LEFT = "left"
    SERVED = "served"
    """Answered, if only with a no to this very request: the server is there and lets us in."""
    SERVED_ALL = "served all"
    """The same, and with it the quota lets everybody in."""
    FAILED = "failed"
    """No good: an error of the server's own, an answer cut short or too late."""
    UNSURE = "unsure"
    """Perhaps everybody's business: somebody else was served not long ago."""
    SHUT = "shut"
    """Throttled, or nobody answered the door: everybody's business."""
    LOST = "lost"
    """Cancelled, or never got there; nothing is known."""


TRANSITIONS: Final[Mapping[tuple[State, News], State]] = {
    (State.RETURNING, News.LEFT): State.RETURNING,
    (State.RETURNING, News.SERVED): State.RETURNING,
    (State.RETURNING, News.SERVED_ALL): State.OPEN,
    (State.RETURNING, News.FAILED): State.RETURNING,
    (State.RETURNING, News.UNSURE): State.RETURNING,
    (State.RETURNING, News.SHUT): State.PAUSED,
    (State.RETURNING, News.LOST): State.RETURNING,
    (State.OPEN, News.LEFT): State.OPEN,
    (State.OPEN, News.SERVED): State.OPEN,
    (State.OPEN, News.FAILED): State.OPEN,
    (State.OPEN, News.UNSURE): State.OPEN,
    (State.OPEN, News.SHUT): State.PAUSED,
    (State.OPEN, News.LOST): State.OPEN,
    (State.PAUSED, News.LEFT): State.KNOCKING,
    (State.KNOCKING, News.SERVED): State.RETURNING,
    (State.KNOCKING, News.SERVED_ALL): State.OPEN,
    (State.KNOCKING, News.FAILED): State.PAUSED,
    (State.KNOCKING, News.SHUT): State.PAUSED,
    (State.KNOCKING, News.LOST): State.PAUSED,
}
"""What is not here cannot happen: nobody leaves while one knocks, nobody with a new ticket is under way in a
pause, and a knock leaves no doubt."""


@dataclass(slots=True, kw_only=True)
class Door:
    """The gate's mind. Times are seconds of one monotonic clock."""

    concurrency: int
    max_outage_s: float
    rng: random.Random
    state: State = State.RETURNING
    given_up: int = 0
    """How often all who waited were sent away."""
    _epoch: int = 0
    """The ticket of those who leave now."""
    _quota: int = 1
    _under_way: int = 0
    """Of this epoch."""
    _opens_s: float = 0.0
    """Not before then, be it a pause or a breath."""
    _trust: int = AFRESH
    _breathed_s: float = 0.0
    _failed_knocks: int = 0
    _outage_since_s: float | None = None
    _longest_asked_s: float = 0.0
    _outage_is_given_up: bool = False

    def blocked_s(self, now_s: float) -> float | None:
        """None: go. Else how long nobody goes; infinite where only news can tell."""
        if now_s < self._opens_s:
            return self._opens_s - now_s
        match self.state:
            case State.OPEN | State.PAUSED:
                return None
            case State.RETURNING:
                return None if self._under_way < self._quota else inf
            case State.KNOCKING:
                return inf

    def leave(self, now_s: float) -> int | None:
        """A ticket, or None where the door has shut or somebody was faster."""
        if self.blocked_s(now_s) is not None:
            return None
        self._become(News.LEFT)
        self._under_way += 1
        return self._epoch

    def served(self, ticket: int) -> None:
        self._outage_since_s = None  # an old ticket says so too: the server served somebody
        if ticket != self._epoch:
            return
        self._under_way -= 1
        self._trust = min(TRUST, self._trust + GAINED)
        if self.state is State.OPEN:
            return
        self._failed_knocks = 0
        self._longest_asked_s = 0.0
        self._outage_is_given_up = False
        self._quota += 1
        self._become(News.SERVED_ALL if self._quota >= self.concurrency else News.SERVED)

    def failed(self, ticket: int, now_s: float) -> float | None:
        """How long everybody waits from now on; None where nobody has to."""
        if ticket != self._epoch:
            return None
        self._under_way -= 1
        if self.state is State.KNOCKING:
            return self._pause(News.FAILED, now_s, None)
        self._become(News.FAILED)
        return None

    def unsure(self, ticket: int, now_s: float) -> float | None:
        """How long everybody waits from now on; None where the request alone is concerned."""
        if ticket != self._epoch:
            return None
        self._trust -= 1
        if self._trust <= 0 or self.state is State.KNOCKING:
            return self._pause(News.SHUT, now_s, None)
        self._under_way -= 1
        self._become(News.UNSURE)
        breath_s = min(BREATH * (now_s - self._breathed_s), self.rng.uniform(0.0, MAX_BREATH_S))
        self._breathed_s = self._opens_s = max(self._opens_s, now_s + breath_s)
        return None

    def shut(self, ticket: int, now_s: float, asked_s: float | None) -> float | None:
        """How long everybody waits from now on; None where they do already. `asked_s`: what the server
        asked for."""
        self._longest_asked_s = max(self._longest_asked_s, asked_s or 0.0)
        if ticket == self._epoch:
            return self._pause(News.SHUT, now_s, asked_s)
        if self.state is State.PAUSED and asked_s is not None:
            self._opens_s = max(self._opens_s, now_s + asked_s)
        return None

    def lost(self, ticket: int, now_s: float) -> None:
        if ticket != self._epoch:
            return
        self._under_way -= 1
        self._become(News.LOST)
        if self.state is State.PAUSED:
            self._opens_s = now_s  # the next one knocks in its stead

    def _pause(self, news: News, now_s: float, asked_s: float | None) -> float:
        if self._outage_since_s is None:
            self._outage_since_s = now_s
        if self.state is State.KNOCKING:
            self._failed_knocks += 1
            if now_s - self._outage_since_s >= self.max_outage_s + self._longest_asked_s:
                self._outage_is_given_up = True
            self.given_up += self._outage_is_given_up
        if asked_s is not None:
            wait_s = asked_s
        elif self._outage_is_given_up:
            wait_s = GIVEN_UP_KNOCK_S
        else:
            wait_s = full_jitter(self._failed_knocks + 1, self.rng)
        self._become(news)
        self._epoch += 1
        self._trust = AFRESH
        self._quota = 1
        self._under_way = 0
        self._opens_s = now_s + wait_s
        return wait_s

    def _become(self, news: News) -> None:
        self.state = TRANSITIONS[self.state, news]


class Gate(Generic[Q, A]):
    """The layer: waits at the door, takes a turn of the pace, and tells the door how it went."""

    def __init__(
        self, inner: Layer[Q, A], door: Door, *, pace: Pace, width: Width, emit: Emit, clock: Clock
    ) -> None:
        self._inner = inner
        self._door = door
        self._pace = pace
        self._width = width
        self._emit = emit
        self._clock = clock
        self._news = anyio.Event()
        self._waiting = 0
        self._last_failure = ""

    async def send(self, ask: Q) -> A:
        ticket = await self._leave()
        door = self._door
        left_s = self._clock.monotonic()
        self._pace.left(left_s)
        level = self._width.left()
        given_up = door.given_up
        try:
            answer = await self._inner.send(ask)
        except (Throttled, ConnectFailed) as error:
            wait_s = self._shut(error, ticket, level=level, left_s=left_s)
            self._pause_began(wait_s, error)
            if door.given_up != given_up:
                raise self._outlived() from None
            raise
        except Stale:  # it never got there
            door.lost(ticket, self._clock.monotonic())
            raise
        except TransientError as error:
            self._pause_began(door.failed(ticket, self._clock.monotonic()), error)
            if door.given_up != given_up:
                raise self._outlived() from None
            raise
        except SourceError:
            door.served(ticket)
            raise
        except BaseException:
            door.lost(ticket, self._clock.monotonic())
            raise
        else:
            door.served(ticket)
            now_s = self._clock.monotonic()
            self._pace.answered(left_s, now_s)
            self._width.served(level, now_s - left_s)
            return answer
        finally:
            self._width.came_back()
            self._pace.came_back(left_s, self._clock.monotonic())
            if self._waiting:
                self._news.set()
                self._news = anyio.Event()

    def _shut(
        self, error: Throttled | ConnectFailed, ticket: int, *, level: int, left_s: float
    ) -> float | None:
        door, pace, now_s = self._door, self._pace, self._clock.monotonic()
        # A failed knock tells how long the server is out, not how fast or by how many it may be asked.
        knocked = door.state is State.KNOCKING
        if not isinstance(error, Throttled):
            return door.shut(ticket, now_s, error.retry_after_s)
        if error.may_be_chance:
            wait_s = door.unsure(ticket, now_s)
            if not knocked and not self._width.refused(level, may_be_chance=True):
                pace.unsure(left_s, now_s)
            if wait_s is not None:
                pace.paused(wait_s)
            return wait_s
        wait_s = door.shut(ticket, now_s, error.retry_after_s)
        if wait_s is not None and not knocked and not self._width.refused(level):
            pace.throttled(left_s, now_s)
        return wait_s

    async def _leave(self) -> int:
        door, clock = self._door, self._clock
        while True:
            await self._admitted()
            await self._pace.turn()
            # No await from here to the request: whoever finds the door open now does not knock during a
            # pause.
            ticket = door.leave(clock.monotonic()) if self._width.has_room else None
            if ticket is not None:
                return ticket

    async def _admitted(self) -> None:
        given_up = self._door.given_up
        while (blocked_s := self._blocked_s()) is not None:
            if blocked_s < inf:
                await self._clock.sleep(blocked_s)
                continue
            self._waiting += 1
            try:
                await self._news.wait()
            finally:
                self._waiting -= 1
            if self._door.given_up != given_up:
                raise self._outlived()

    def _blocked_s(self) -> float | None:
        """As the door says; and who had a slot before there were fewer waits here."""
        blocked_s = self._door.blocked_s(self._clock.monotonic())
        return inf if blocked_s is None and not self._width.has_room else blocked_s

    def _pause_began(self, wait_s: float | None, error: TransientError) -> None:
        if wait_s is not None:
            self._last_failure = str(error)
            self._emit(Paused(reason=f"{type(error).__name__}: {error}", wait_s=wait_s))

    def _outlived(self) -> OutageOutlived:
        return OutageOutlived(
            f"nobody was served for longer than max_outage_s = {self._door.max_outage_s:g} s; "
            f"the last failure was: {self._last_failure}"
        )
