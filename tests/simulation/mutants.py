"""The program, broken on purpose: each guard that the simulation is to watch over, taken away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from harvester.output.assembly import Assembly
from harvester.output.folder import Output
from harvester.pages.reader import Pages
from harvester.pages.seek import Seek
from harvester.pages.steps import Step
from harvester.pages.walk import Walk
from harvester.records.gather import Batch, Gather
from harvester.scheduler.fetching import Fetcher
from harvester.shards.sink import Sink
from harvester.transport.budget import Budget
from harvester.transport.gate import Door
from harvester.transport.limits import Concurrency, Steady
from harvester.transport.server_clock import ServerClock
from harvester.transport.width import Width

Patch = tuple[type, str, Any]


def _no_pause(self: Door, ticket: int, now_s: float, asked_s: float | None) -> None:
    """A 429 is a failure like any other: who was told waits, by its retry, and nobody else."""
    if ticket == self._epoch:
        self._under_way -= 1


async def _no_turn(self: Steady) -> None:
    """Everybody leaves at once."""


async def _no_slot(self: Any, ask: Any) -> Any:
    return await self._inner.send(ask)


async def _kept_slot(self: Any, ask: Any) -> Any:
    """A slot comes back from a good answer only."""
    await self._slots.acquire()
    answer = await self._inner.send(ask)
    self._slots.release()
    return answer


def _done_before_seal(whole: Callable[..., None]) -> Callable[..., None]:
    def write(self: Assembly, batch: Batch) -> None:
        whole(self, batch)
        self._ledger.fail(self._settled)
        self._settled = []

    return write


def _first_version(self: Gather, one: Any, other: Any) -> Any:
    return one


def _short_is_last(whole: Callable[..., Any]) -> Callable[..., Any]:
    def take(self: Seek, page: Any) -> Any:
        """A page that is not full is the end."""
        step, fresh = whole(self, page)
        if step is Step.MORE and self.is_by_offset and len(page.rows) < self._served.limit:
            return self._prove(), fresh
        return step, fresh

    return take


def _always_over(whole: Callable[..., Any]) -> Callable[..., Any]:
    def done(self: Fetcher, batch: Batch, asked_at: Any, *rest: Any) -> Any:
        return whole(self, batch, asked_at + timedelta(days=10_000), *rest)

    return done


def _not_narrow(whole: Callable[..., None]) -> Callable[..., None]:
    def begin(self: Pages, *values: Any, **named: Any) -> None:
        whole(self, *values, **named)
        self._widen = timedelta(0)

    return begin


def _unanchored(whole: Callable[..., Any]) -> Callable[..., Any]:
    def take(self: Walk, page: Any) -> Any:
        """Whatever stands first is taken for the overlap."""
        if not self._is_behind:
            self._overlap = [row[1] for row in page.rows[: len(self._overlap)]]
        return whole(self, page)

    return take


def _cut_by_arrival(whole: Callable[..., Any]) -> Callable[..., Any]:
    def add(self: Sink, rows: Any) -> Any:
        """A shard ends with each batch."""
        return [*whole(self, rows), *self.finish()]

    return add


def _kept_staging(self: Output) -> None:
    """What killed runs left is not swept."""


MUTANTS: Final[dict[str, Callable[[], list[Patch]]]] = {
    "a pause is not shared": lambda: [(Door, "shut", _no_pause)],
    "the retry budget is off": lambda: [(Budget, "draw", lambda self, now_s: 0.0)],
    "the pace is off": lambda: [(Steady, "turn", _no_turn)],
    "no limit in flight": lambda: [
        (Concurrency, "send", _no_slot),
        (Width, "has_room", property(lambda self: True)),
    ],
    "a slot is not returned": lambda: [(Concurrency, "send", _kept_slot)],
    "done before it is sealed": lambda: [(Assembly, "write", _done_before_seal(Assembly.write))],
    "the first version wins": lambda: [(Gather, "_newest", _first_version)],
    "a short page is the end": lambda: [(Seek, "take", _short_is_last(Seek.take))],
    "ends are not widened": lambda: [(Pages, "__init__", _not_narrow(Pages.__init__))],
    "a window is over before its time": lambda: [(Fetcher, "_done", _always_over(Fetcher._done))],
    "the server's clock is not asked": lambda: [(ServerClock, "earlier", lambda self, moment: moment)],
    "no anchor": lambda: [(Walk, "take", _unanchored(Walk.take))],
    "shards are cut by arrival": lambda: [(Sink, "add", _cut_by_arrival(Sink.add))],
    "staging is not swept": lambda: [(Output, "_sweep_staging", _kept_staging)],
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    patches = MUTANTS[name]()
    whole = [(owner, attribute, owner.__dict__[attribute]) for owner, attribute, _ in patches]
    for owner, attribute, broken in patches:
        setattr(owner, attribute, broken)
    try:
        yield
    finally:
        for owner, attribute, method in whole:
            setattr(owner, attribute, method)
