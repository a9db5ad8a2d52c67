"""The layers together, over a real socket."""

import random
import traceback
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.dialects import Request
from harvester.errors import BadPage, ConfigError, Refused, SourceError
from harvester.events import Event, Paused, RequestFailed, TokenRejected
from harvester.transport import LOOP_CLOCK, Answer, Layer, Session, TransportSettings, stack
from harvester.transport.learned import Learned, Rate
from tests.loopback import Loopback, Peer, answer, serving

CANARY = "CANARY-0123456789"
ECHO = "ECHO-9876543210"
"""What a server says back; it may be the token."""


class Reading:
    """The caller's layer: a page is good where it begins with a brace."""

    def __init__(self, inner: Layer[Request, Answer]) -> None:
        self._inner = inner

    async def send(self, ask: str) -> bytes:
        got = await self._inner.send(Request(method="POST", path=ask, query=(), headers=(), body=b"{}"))
        if not got.body.startswith(b"{"):
            raise BadPage(f"POST {ask}: not JSON")
        return got.body


class Hasty(random.Random):
    """No jitter, and no wait either: what is measured here is the order of things."""

    def random(self) -> float:
        return 0.0


def stacked(session: Session, settings: TransportSettings, events: list[Event]) -> Layer[str, bytes]:
    return stack(session, settings, read=Reading, emit=events.append, rng=Hasty(), environ={"TOKEN": CANARY})


def settings(url: str, **more: Any) -> TransportSettings:
    return TransportSettings(base_url=url, **({"token_env": "TOKEN"} | more))


def test_many_tasks_get_through_a_server_that_does_all_sorts_of_things() -> None:
    troubles = [
        answer(b"", "429 Too Many Requests", "Retry-After: 0"),
        answer(b"", "503 Service Unavailable"),
        answer(b"", "500 Internal Server Error"),
        answer(b"<html>"),
        answer(b"{", "200 OK", "Content-Encoding: gzip"),
        None,
    ]
    events: list[Event] = []

    async def script(peer: Peer) -> None:
        if peer.number % 3 == 1:
            trouble = troubles[peer.number // 3 % len(troubles)]
            await peer.send(trouble or answer(b"{}")[:-1])
            if trouble is None:
                await peer.close()
        else:
            await peer.send(answer(b'{"path":"%s"}' % peer.head.split()[1].encode()))

    async def main() -> None:
        async with serving(script) as server:
            given = settings(server.url, concurrency=4, requests_per_second=5000.0)
            async with Session(given) as session:
                await through(stacked(session, given, events), server)

    async def through(layer: Layer[str, bytes], server: Loopback) -> None:

        async def one(path: str) -> None:
            assert await layer.send(path) == b'{"path":"%s"}' % path.encode()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(60):
                    tasks.start_soon(one, f"/{number}")
        failed = [event for event in events if isinstance(event, RequestFailed)]
        assert len(server.requests) == 60 + len(failed)
        assert {event.error for event in failed} == {"Throttled", "ServerFailed", "BadPage", "Broken"}
        assert any(isinstance(event, Paused) for event in events)

    anyio.run(main)


def test_a_bad_page_takes_a_place_and_a_turn_each_time_it_is_tried() -> None:
    async def main() -> None:
        async with serving(answer(b"<html>")) as server, Session(settings(server.url)) as session:
            layer = stacked(session, settings(server.url, max_attempts=3), [])
            with pytest.raises(BadPage):
                await layer.send("/x")
            assert len(server.requests) == 3

    anyio.run(main)


def test_the_rate_that_was_learned_can_be_asked_for() -> None:
    async def script(peer: Peer) -> None:
        busy = peer.number == 4
        await peer.send(answer(b"", "429 No", "Retry-After: 0") if busy else answer(b"{}"))

    async def main() -> None:
        async with serving(script) as server, Session(settings(server.url)) as session:
            rate = Rate.remembered(1000.0)
            pace = Learned(rate, LOOP_CLOCK)
            layer = stack(
                session,
                settings(server.url),
                read=Reading,
                emit=lambda event: None,
                rng=Hasty(),
                pace=pace,
                environ={"TOKEN": "t"},
            )
            for _ in range(4):
                await layer.send("/x")
            assert (pace.learned_rate, rate.rate) == (1000, 1000)
            await layer.send("/x")
            assert (pace.learned_rate, rate.rate) == (1000, 500)

    anyio.run(main)


def test_a_missing_token_is_told_before_anything_is_asked() -> None:
    async def main() -> None:
        async with Session(settings("https://localhost")) as session:
            with pytest.raises(ConfigError, match=r"source\.token_env"):
                stack(
                    session,
                    settings("https://localhost"),
                    read=Reading,
                    emit=lambda event: None,
                    rng=Hasty(),
                    environ={},
                )

    anyio.run(main)


def test_the_token_is_in_no_repr_event_error_or_traceback(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(CANARY)
    troubles = [
        answer(b"{}"),
        answer(b"", f"302 {ECHO}", f"Location: https://evil.example/?key={ECHO}"),
        answer(b"", "400 Bad Request"),
        answer(b"", "500 Internal Server Error"),
        answer(ECHO.encode(), "200 OK", f"Content-Encoding: {ECHO}"),
        answer(b"\x1f\x8b" + ECHO.encode(), "200 OK", "Content-Encoding: gzip"),
        f"{ECHO} is not HTTP\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nbad header {ECHO}\r\n\r\n".encode(),
        answer(b"", "429 Too Many Requests", f"Retry-After: {ECHO}"),
        answer(b"", "403 Forbidden"),
        answer(b"", "401 Unauthorized"),
    ]
    given = {
        "token_env": None,
        "token_file": path,
        "max_attempts": 1,
        "token_wait_s": 0.0,
        "max_outage_s": 0.0,
    }
    events: list[Event] = []
    errors: list[BaseException] = []
    sent: list[str | None] = []
    shown: list[str] = []

    async def script(peer: Peer) -> None:
        sent.append(peer.header("Authorization"))
        await peer.send(troubles[peer.number])

    async def main() -> None:
        async with serving(script) as server, Session(settings(server.url, **given)) as session:
            layer = stacked(session, settings(server.url, **given), events)
            for _ in troubles:
                with anyio.fail_after(5):
                    try:
                        shown.append(repr(await layer.send("/x")))
                    except SourceError as error:
                        errors.append(error)
        dead = settings(server.url, **given)
        async with Session(dead) as session:
            layer = stacked(session, dead, events)
            try:
                await layer.send("/x")
            except SourceError as error:
                errors.append(error)
            things: list[Any] = [layer]
            while things:
                thing = things.pop()
                shown.append(repr(thing))
                if type(thing).__module__.startswith("harvester.") and hasattr(thing, "__dict__"):
                    shown.append(repr(vars(thing)))
                    things.extend(vars(thing).values())

    anyio.run(main)
    assert sent == [f"apikey {CANARY}"] * len(troubles)
    assert len(errors) == len(troubles)
    assert isinstance(errors[-2], Refused)
    assert any(isinstance(event, TokenRejected) for event in events)
    seen: list[BaseException] = []
    while errors:
        error = errors.pop()
        seen.append(error)
        errors.extend(e for e in (error.__cause__, error.__context__) if e is not None)
    assert all(type(error).__module__.startswith("harvester.") for error in seen)
    shown += [repr(event) for event in events]
    for error in seen:
        shown += [str(error), repr(error), repr(vars(error))]
    for text in shown:
        assert CANARY not in text
        assert ECHO not in text
    for error in seen:
        rich = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert any("/transport/" in frame.filename for frame in rich.stack)
        for frame in rich.stack:
            assert frame.filename == __file__ or CANARY not in repr(frame.locals)
