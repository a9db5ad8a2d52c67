"""One request, one whole answer or one of our errors: over a real socket."""

import gzip
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from harvester.dialects import Request
from harvester.errors import (
    Astray,
    BadPage,
    Broken,
    ConnectFailed,
    ContractBroken,
    Rejected,
    ServerFailed,
    SourceError,
    Throttled,
    TimedOut,
)
from harvester.events import Event, RequestSent
from harvester.transport import Answer, Session, TransportSettings
from harvester.transport.auth import Secret
from harvester.transport.decoding import TooLarge
from tests.loopback import Loopback, Peer, Script, answer, serving
from tests.zstd import zstd

BODY = b'{"data":[]}' * 1000
CHUNKED = answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False)


def ask(path: str = "/x", **more: Any) -> Request:
    given: dict[str, Any] = {"method": "POST", "query": (), "headers": (), "body": b"{}"} | more
    return Request(path=path, **given)


def settings(url: str, **more: Any) -> TransportSettings:
    return TransportSettings(base_url=url, auth="none", **more)


async def _with_session(
    script: Script | bytes,
    use: Callable[[Session, Loopback], Awaitable[Any]],
    prefix: str,
    more: dict[str, Any],
) -> Any:
    failed = None
    async with serving(script) as server, Session(settings(server.url + prefix, **more)) as session:
        try:
            with anyio.fail_after(20):
                return await use(session, server)
        except Exception as error:
            failed = error
    raise failed  # out here: the server's task group would wrap it


def using(
    script: Script | bytes,
    use: Callable[[Session, Loopback], Awaitable[Any]],
    *,
    prefix: str = "",
    **more: Any,
) -> Any:
    return anyio.run(_with_session, script, use, prefix, more)


def answer_to(script: Script | bytes, request: Request | None = None, **more: Any) -> Answer:
    async def use(session: Session, server: Loopback) -> Answer:
        return await session.send(request or ask())

    got: Answer = using(script, use, **more)
    return got


def error_of(script: Script | bytes, request: Request | None = None, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        answer_to(script, request, **more)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "aiohttp's error holds the request's headers"
    return caught.value


def and_close(*parts: bytes) -> Script:
    async def script(peer: Peer) -> None:
        for part in parts:
            await peer.send(part)
        await peer.close()

    return script


async def silence(peer: Peer) -> None:
    await anyio.sleep_forever()


# --- what is sent


def test_a_request_goes_out_as_it_was_built_below_the_base_url() -> None:
    async def use(session: Session, server: Loopback) -> None:
        await session.send(
            ask(
                "/a/b",
                query=(("q", "a b&c=d+e/ä"), ("q", "2")),
                headers=(("X-One", "1"),),
                body=b'{"Limit":1}',
            )
        )
        await session.send(ask("c", method="GET", body=None))
        await session.send(ask("//evil.example/x"))
        first, second, third = server.requests
        assert first.head.startswith("POST /v1/a/b?q=a+b%26c%3Dd%2Be/%C3%A4&q=2 HTTP/1.1\r\n")
        assert first.header("X-One") == "1"
        assert first.header("Accept-Encoding") == "gzip, zstd"
        assert (first.header("User-Agent") or "").startswith("harvester/")
        assert first.header("Content-Type") is None
        assert first.body == b'{"Limit":1}'
        assert second.head.startswith("GET /v1/c HTTP/1.1\r\n")
        assert third.head.startswith("POST /v1/evil.example/x HTTP/1.1\r\n")
        assert server.connections == 1

    using(answer(BODY), use, prefix="/v1/")


def test_no_request_leaves_for_another_origin() -> None:
    async def use(session: Session, server: Loopback) -> None:
        await session.send(ask(origin=server.url))
        with pytest.raises(ContractBroken):
            await session.send(ask(origin="https://other.example"))
        assert len(server.requests) == 1

    using(answer(BODY), use)


def test_no_cookie_is_kept() -> None:
    async def main() -> None:
        async with serving(answer(BODY, "200 OK", "Set-Cookie: a=b")) as server:
            by_name = server.url.replace("127.0.0.1", "localhost")  # nobody keeps cookies of a bare address
            async with Session(settings(by_name)) as session:
                await session.send(ask())
                await session.send(ask())
            assert [peer.header("Cookie") for peer in server.requests] == [None, None]

    anyio.run(main)


def test_there_are_as_many_connections_as_requests_in_flight() -> None:
    async def use(session: Session, server: Loopback) -> None:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(session.send, ask())
        assert server.connections == 2

    using(answer(BODY), use, concurrency=2)


# --- a good answer


@pytest.mark.parametrize(
    ("body", "wire", "encoding"),
    [
        (BODY, BODY, ""),
        (BODY, gzip.compress(BODY), "gzip"),
        (BODY, zstd.compress(BODY), "zstd"),
        (BODY * 20, gzip.compress(BODY * 20, 0), "gzip"),  # larger than what is undone on the loop
    ],
    ids=["plain", "gzip", "zstd", "large"],
)
def test_an_answer_is_undone_and_measured(body: bytes, wire: bytes, encoding: str) -> None:
    encoded = [f"Content-Encoding: {encoding}"] if encoding else []
    got = answer_to(answer(wire, "200 OK", "X-Two: a", "X-TWO: b", *encoded))
    assert (got.status, got.received_bytes) == (200, len(wire))
    assert got.body == body
    assert got.headers["x-two"] == "a, b"
    assert got.elapsed_s >= 0


def test_a_chunked_body_and_one_that_ends_with_the_connection_are_whole() -> None:
    whole = b"".join(b"%x\r\n%s\r\n" % (len(BODY), BODY) for _ in range(3)) + b"0\r\n\r\n"
    assert answer_to(CHUNKED + whole).body == BODY * 3
    assert answer_to(and_close(answer(BODY, length=False))).body == BODY


@pytest.mark.parametrize(
    ("status", "header"),
    [
        ("200 OK", "x-ratelimit-limit: {}"),
        ("302 Found", "Location: /login/{}"),
        ("200 OK", "Content-Encoding: {}"),
    ],
)
def test_what_a_server_repeats_of_the_token_goes_no_further(status: str, header: str) -> None:
    """Not in an answer's headers, which may be told, and not in an error."""
    secret = "sk-canary-12345"
    signed = ask(headers=(("Authorization", Secret(f"apikey {secret}")),))
    try:
        told = repr(answer_to(answer(b"{}", status, header.format(secret)), signed))
    except SourceError as error:
        told = f"{error} {error.args}"
    assert secret not in told
    assert "***" in told


def test_an_empty_answer_is_an_answer() -> None:
    assert answer_to(answer(b"", "200 OK")).body == b""


def test_plain_http_stays_on_this_machine_whatever_the_name_servers_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`api.localhost` is a name that they may answer for; it is not even asked for."""

    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("a name server was asked")

    async def use(session: Session, server: Loopback) -> None:
        port = server.url.rpartition(":")[2]
        monkeypatch.setattr(socket, "getaddrinfo", asked)
        for name in ("localhost", "api.localhost"):
            async with Session(settings(f"http://{name}:{port}")) as named:
                assert (await named.send(ask())).body == b"{}"
        assert len(server.requests) == 2

    using(answer(b"{}"), use)


def test_no_proxy_and_no_password_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever sets them would see the token, or put another in its place."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def use(session: Session, server: Loopback) -> None:
        assert (await session.send(ask())).body == b"{}"
        assert server.requests[0].header("Authorization") is None

    using(answer(b"{}"), use)


# --- what is none


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        ("429 Too Many Requests", ["Retry-After: 7"], Throttled),
        ("500 Internal Server Error", [], ServerFailed),
        ("400 Bad Request", [], Rejected),
        ("302 Found", ["Location: https://evil.example/"], Astray),
    ],
)
def test_a_status_becomes_its_error(status: str, headers: list[str], expected: type[SourceError]) -> None:
    error = error_of(answer(b"no", status, *headers))
    assert type(error) is expected
    assert "POST /x" in str(error)
    assert not isinstance(error, Throttled) or error.retry_after_s == 7


def test_no_redirect_is_followed() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(answer(b"", "307 Temporary Redirect", "Location: /y"))

    async def use(session: Session, server: Loopback) -> None:
        with pytest.raises(Astray, match="redirects to /y"):
            await session.send(ask())
        assert len(server.requests) == 1

    using(script, use)


@pytest.mark.parametrize("status", ["429 No", "503 No", "400 No", "500 No"])
def test_what_an_error_announces_of_a_rate_comes_with_it_and_no_token(status: str) -> None:
    told = answer(b"no", status, "X-RateLimit-Limit: 10 for good-token-12345", "RateLimit: r=0", "X-Other: 1")

    async def use(session: Session, server: Loopback) -> None:
        with pytest.raises(SourceError) as caught:
            await session.send(ask(headers=(("Authorization", Secret("apikey good-token-12345")),)))
        announced = {"x-ratelimit-limit": "10 for ***", "ratelimit": "r=0"}
        assert caught.value.announced == announced
        assert "***" not in str(caught.value)

    using(told, use)


def test_an_error_is_told_before_its_body_has_come_and_its_connection_is_closed() -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.send(b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 1000\r\n\r\n")
        else:
            await peer.send(answer(BODY))

    async def use(session: Session, server: Loopback) -> None:
        with pytest.raises(Throttled):
            await session.send(ask())
        assert (await session.send(ask())).body == BODY
        assert server.connections == 2

    using(script, use)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (and_close(answer(BODY)[:-5]), Broken),
        (and_close(CHUNKED + b"2a\r\n" + BODY[:20]), Broken),
        (and_close(CHUNKED + b"nonsense\r\n"), BadPage),
        (
            and_close(answer(gzip.compress(BODY)[:-4], "200 OK", "Content-Encoding: gzip", length=False)),
            Broken,
        ),
        (
            and_close(answer(zstd.compress(BODY)[:-4], "200 OK", "Content-Encoding: zstd", length=False)),
            Broken,
        ),
        (and_close(), Broken),
        (and_close(b"HTTP/1.1 200 OK\r\nContent-"), Broken),
        (and_close(b"SSH-2.0-OpenSSH_9.6\r\n"), BadPage),
        (and_close(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n"), BadPage),
        (answer(b"x", "200 OK", "Content-Encoding: br"), BadPage),
    ],
    ids=range(10),
)
def test_what_is_cut_short_or_no_http_is_one_of_our_errors(script: Any, expected: type[SourceError]) -> None:
    assert type(error_of(script)) is expected


@pytest.mark.parametrize(
    "head",
    [
        [f"X-{number}: y" for number in range(200)],
        [f"X-{number}: y" for number in range(100_000)],
        ["X: " + "y" * 9000],
        ["X" * 9000 + ": y"],
    ],
    ids=["200", "100,000", "a long value", "a long name"],
)
def test_a_head_beyond_its_bounds_says_which(head: list[str]) -> None:
    error = error_of(answer(BODY, "200 OK", *head))
    assert type(error) is BadPage
    assert "more than 128 headers or 8,190 bytes in one" in str(error)
    assert "yyy" not in str(error)


def test_a_head_within_its_bounds_is_read() -> None:
    assert (
        answer_to(answer(BODY, "200 OK", "X: " + "y" * 8000, *(f"X-{n}: y" for n in range(100)))).body == BODY
    )


def test_an_error_keeps_nothing_of_the_answer() -> None:
    """It may live as long as its window, and its frames would keep up to `max_answer_bytes` each."""
    for served in (
        answer(bytes(2000)),
        answer(gzip.compress(bytes(9000)), "200 OK", "Content-Encoding: gzip"),
    ):
        error = error_of(served, max_answer_bytes=1000)
        frames, trace = [], error.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert frames[-1] == "send"


def test_a_reset_midway_is_broken() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(answer(BODY)[:500])
        await peer.reset()

    assert type(error_of(script)) is Broken


@pytest.mark.parametrize(
    ("wire", "headers"),
    [
        (bytes(2000), []),
        (gzip.compress(bytes(200_000)), ["Content-Encoding: gzip"]),
        (zstd.compress(bytes(200_000)), ["Content-Encoding: zstd"]),
    ],
    ids=["plain", "gzip", "zstd"],
)
def test_an_answer_beyond_the_cap_is_rejected(wire: bytes, headers: list[str]) -> None:
    assert type(error_of(answer(wire, "200 OK", *headers), max_answer_bytes=1000)) is TooLarge


def test_a_body_without_an_end_is_left_at_the_cap() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(CHUNKED)
        while True:
            await peer.stream.send(b"4000\r\n" + bytes(0x4000) + b"\r\n")

    assert type(error_of(script, max_answer_bytes=100_000)) is TooLarge


# --- no answer in time


def test_a_server_that_says_nothing_is_left_after_the_idle_time() -> None:
    error = error_of(silence, idle_timeout_s=0.05)
    assert type(error) is TimedOut
    assert "nothing came for 0.05 s" in str(error)


@pytest.mark.parametrize(
    "head", [b"", answer(b"", "200 OK", "Content-Length: 1000000", length=False)], ids=["no head", "head"]
)
def test_a_server_that_drips_is_left_after_the_whole_time(head: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(head)
        while True:
            await peer.send(b"x" if head else b"HTTP/1.1 100 Continue\r\n\r\n")
            await anyio.sleep(0.01)

    error = error_of(script, idle_timeout_s=5.0, request_timeout_s=0.1)
    assert type(error) is TimedOut
    assert "not whole within 0.1 s" in str(error)


def test_nobody_there_is_a_failed_connection() -> None:
    async def main() -> None:
        async with serving(answer(BODY)) as server:
            url = server.url
        async with Session(settings(url)) as session:
            with pytest.raises(ConnectFailed, match=r"POST /x: no connection: .*refused"):
                await session.send(ask())

    anyio.run(main)


def test_a_name_that_does_not_resolve_is_a_failed_connection() -> None:
    async def main() -> None:
        async with Session(settings("https://harvester.invalid")) as session:
            with pytest.raises(ConnectFailed):
                await session.send(ask())

    anyio.run(main)


def test_a_connection_that_is_not_accepted_in_time_is_a_failed_one() -> None:
    async def main() -> None:
        with socket.socket() as full, socket.socket() as one, socket.socket() as two:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in (one, two):  # Linux lets one more in than it was told
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            async with Session(settings(url, connect_timeout_s=0.05)) as session:
                with pytest.raises(ConnectFailed, match=r"no connection within 0.05 s"):
                    await session.send(ask())

    anyio.run(main)


def test_cancelling_ends_a_request_and_its_connection() -> None:
    async def use(session: Session, server: Loopback) -> None:
        with anyio.move_on_after(0.02) as scope:
            await session.send(ask())
        assert scope.cancelled_caught

    using(silence, use)


@pytest.mark.parametrize("body", [b"{}", None], ids=["with body", "without"])
def test_what_is_cancelled_before_its_bytes_left_is_not_told_as_sent(body: bytes | None) -> None:
    """Whatever the moment: what is told is what the server got."""

    async def main(turns: int) -> int:
        told: list[Event] = []
        async with (
            serving(answer(BODY)) as server,
            Session(settings(server.url), emit=told.append) as session,
        ):
            async with anyio.create_task_group() as group:
                group.start_soon(session.send, ask(body=body))
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            await session.send(ask(body=body))
            with anyio.fail_after(5):
                while len(told) != len(server.requests):
                    await anyio.lowlevel.checkpoint()
        assert set(told) == {RequestSent()}
        return len(told)

    assert {anyio.run(main, turns) for turns in range(40)} == {1, 2}


def test_what_finds_nobody_is_not_told_as_sent() -> None:
    async def main() -> None:
        told: list[Event] = []
        async with serving(answer(BODY)) as server:
            url = server.url
        async with Session(settings(url), emit=told.append) as session:
            with pytest.raises(ConnectFailed):
                await session.send(ask())
        assert told == []

    anyio.run(main)
