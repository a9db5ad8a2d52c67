"""Connections that the server closes without a word, over a real socket."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream

from harvester.dialects import Request
from harvester.errors import Broken, Stale
from harvester.events import Event, Paused, RequestFailed, RequestSent
from harvester.transport import Answer, Layer, LoopClock, Session, TransportSettings, stack
from harvester.transport.budget import RESERVE, Budget
from harvester.transport.fresh import ALONE, Fresh
from harvester.transport.limits import Steady
from tests.loopback import Loopback, Peer, Script, answer, serving

End = Callable[[Peer], Awaitable[None]]
ENDS: dict[str, End] = {"closed": Peer.close, "reset": Peer.reset}
PAGE = answer(b"{}")


class Waits(LoopClock):
    """Notes each wait, and waits for none."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def sleep(self, seconds: float, /) -> None:
        self.waits_s.append(seconds)
        await anyio.lowlevel.checkpoint()


class Turns(Steady):
    """Counts what leaves, and lets it leave at once."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(1e9, clock)
        self.turns = 0

    async def turn(self) -> None:
        self.turns += 1


def once_each(end: End, before: bytes = b"") -> Script:
    """Each connection serves one request; it ends when the next one has come on it, so that this one met a
    kept connection, whatever the machine's speed."""
    served: set[SocketStream] = set()

    async def script(peer: Peer) -> None:
        if peer.stream not in served:
            served.add(peer.stream)
            await peer.send(PAGE)
            return
        await peer.send(before)
        await end(peer)

    return script


def ask(method: str = "POST") -> Request:
    body = b"{}" if method == "POST" else None
    return Request(method=method, path="/x", query=(), headers=(), body=body)


def plain(inner: Layer[Request, Answer]) -> Layer[Request, Answer]:
    return inner


async def _harvest(
    script: Script, use: Callable[[Layer[Request, Answer], Loopback], Awaitable[None]], events: list[Event]
) -> tuple[Waits, Turns]:
    clock = Waits()
    pace = Turns(clock)
    async with serving(script) as server:
        settings = TransportSettings(base_url=server.url, auth="none", max_attempts=3)
        async with Session(settings, emit=events.append) as session:
            layer = stack(
                session,
                settings,
                read=plain,
                emit=events.append,
                rng=random.Random(1),
                clock=clock,
                pace=pace,
            )
            with anyio.fail_after(20):
                await use(layer, server)
    return clock, pace


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_kept_connection_that_ended_costs_a_request_and_neither_an_attempt_nor_a_wait(
    end: End, method: str
) -> None:
    events: list[Event] = []

    async def use(layer: Layer[Request, Answer], server: Loopback) -> None:
        for _ in range(8):
            assert (await layer.send(ask(method))).body == b"{}"
        assert len(server.requests) == 12, "every second page met a kept connection"

    clock, pace = anyio.run(_harvest, once_each(end), use, events)
    assert [event for event in events if isinstance(event, RequestFailed | Paused)] == []
    assert [wait_s for wait_s in clock.waits_s if wait_s] == []
    assert pace.turns == sum(isinstance(event, RequestSent) for event in events) == 12


def test_where_each_connection_ends_without_an_answer_it_is_a_failure_after_the_second() -> None:
    events: list[Event] = []

    async def script(peer: Peer) -> None:
        await (peer.send(PAGE) if peer.number == 0 else peer.close())

    async def use(layer: Layer[Request, Answer], server: Loopback) -> None:
        await layer.send(ask())
        with pytest.raises(Broken, match="without an answer"):
            await layer.send(ask())
        assert len(server.requests) == 1 + 1 + 3

    anyio.run(_harvest, script, use, events)
    assert [event.error for event in events if isinstance(event, RequestFailed)] == ["Broken"] * 2


@pytest.mark.parametrize(
    ("end", "before", "expected"),
    [
        (Peer.close, b"", Stale),
        (Peer.reset, b"", Stale),
        (Peer.close, b"HTTP/1.1 200 OK\r\nContent-", Broken),
        (Peer.close, PAGE[:-1], Broken),
        (Peer.reset, PAGE[:-1], Broken),
    ],
)
def test_only_what_ended_before_a_byte_of_the_answer_came_goes_again(
    end: End, before: bytes, expected: type[Exception]
) -> None:
    async def drained(peer: Peer) -> None:
        await anyio.sleep(0.05)  # else a reset overtakes what was written
        await end(peer)

    async def main() -> None:
        async with serving(once_each(drained, before)) as server:
            settings = TransportSettings(base_url=server.url, auth="none")
            async with Session(settings) as session:
                await session.send(ask())
                with pytest.raises(Broken) as caught:
                    await session.send(ask())
                assert type(caught.value) is expected
                assert caught.value.__context__ is None

    anyio.run(main)


def test_it_goes_again_once_with_a_share_of_the_budget() -> None:
    class Closed:
        def __init__(self) -> None:
            self.asks: list[Request] = []

        async def send(self, ask: Request) -> Any:
            self.asks.append(ask)
            raise Stale("closed")

    async def main() -> None:
        budget, clock, server = Budget(), Waits(), Closed()
        layer = Fresh[Any](server, budget, clock)
        with pytest.raises(Stale):
            await layer.send(ask())
        assert [ALONE in one.headers for one in server.asks] == [False, True]
        assert budget.tokens == RESERVE - 1
        budget.tokens = 0.0
        with pytest.raises(Stale):
            await layer.send(ask())
        assert clock.waits_s[-1] > 0

    anyio.run(main)
