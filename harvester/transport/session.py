"""The innermost layer: one aiohttp session, and the only module that knows aiohttp.

It promises: an Answer with a 2xx status and a whole body within `max_answer_bytes`, or one of our errors.
No redirect is followed (aiohttp's would take an `x-api-key` along), no cookie is kept, TLS is always
verified, no proxy or netrc of the environment is looked at. aiohttp's errors end here, and so does their
context: their repr holds the headers of the request, and with them the token.

What cannot be seen from here: a plain body with neither Content-Length nor chunks that was cut. It ends
where the connection ends, and so does a whole one.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from harvester import __version__
from harvester.dialects import Request
from harvester.errors import (
    BadPage,
    Broken,
    ConnectFailed,
    ContractBroken,
    SourceError,
    Stale,
    TimedOut,
    TransientError,
    Untrusted,
)
from harvester.events import Emit, RequestSent, nobody
from harvester.transport import status
from harvester.transport.auth import Secret
from harvester.transport.blot import Blotter
from harvester.transport.clock import LOOP_CLOCK, Clock
from harvester.transport.decoding import ACCEPTED, FIRST_LOOK_BYTES, TooLarge, decode
from harvester.transport.fresh import ALONE
from harvester.transport.layer import Answer, Layer
from harvester.transport.server_clock import ServerClock
from harvester.transport.settings import TransportSettings, check_base_url
from harvester.transport.tls import client_context


class OpenSession(Protocol):
    """Opens the innermost layer for a run; `Session` is one."""

    def __call__(
        self, settings: TransportSettings, *, emit: Emit, server_clock: ServerClock
    ) -> AbstractAsyncContextManager[Layer[Request, Answer]]: ...


_READ_AHEAD_BYTES: Final = 64 * 1024
"""Per answer, before the socket is told to wait (aiohttp stops at twice that). More is slower: gulps of 1 MiB
took a page of 3 MB up to 1.8 times the CPU, for memory that is fetched from the system each time."""
_INLINE_BYTES: Final = 64 * 1024
"""Compressed bodies up to this are undone on the loop in less time than the way to a thread and back
takes."""
_LONGEST_LINE: Final = 8190
_MOST_HEADERS: Final = 128
"""Of an answer's head: what web servers allow in a request, and ten times what any answer has; so that a head
without an end costs a megabyte at most."""
_CLOSE_S: Final = 5.0
_DECODERS: Final = 2
"""At a time: memory for so many first looks, and there are no more cores to feed."""

_MEANING: Final[tuple[tuple[type[BaseException], type[TransientError], str], ...]] = (
    # The first that fits: aiohttp's errors inherit from one another and from the built-in ones.
    (aiohttp.ConnectionTimeoutError, ConnectFailed, "no connection within {connect:g} s"),
    (aiohttp.ClientConnectorDNSError, ConnectFailed, "the host's name does not resolve"),
    (aiohttp.ClientConnectorError, ConnectFailed, "no connection: {why}"),
    (aiohttp.SocketTimeoutError, TimedOut, "nothing came for {idle:g} s"),
    (TimeoutError, TimedOut, "not whole within {whole:g} s"),
    (aiohttp.ClientPayloadError, Broken, "the answer was cut short"),
    (aiohttp.ServerDisconnectedError, Broken, "the server closed the connection without an answer"),
    (
        aiohttp.ClientResponseError,
        BadPage,
        f"the answer is not HTTP, or has more than {_MOST_HEADERS} headers or {_LONGEST_LINE:,} bytes in one",
    ),
    (aiohttp.ClientError, Broken, "the connection broke: {why}"),
    (OSError, Broken, "the connection broke: {why}"),
)


_ENDED: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)
"""What an end of the connection looks like before the answer's head is there; behind it aiohttp has another
error."""


class Session:
    """Use it as `async with`; requests only inside."""

    def __init__(
        self,
        settings: TransportSettings,
        clock: Clock = LOOP_CLOCK,
        *,
        emit: Emit = nobody,
        server_clock: ServerClock | None = None,
    ) -> None:
        """`emit` hears of each request that really leaves, whoever wanted to send it; `server_clock` of each
        answer's `Date`. Raises ConfigError where `ca_file` holds no certificate."""
        self._settings = settings
        self._clock = clock
        self._emit = emit
        self._server_clock = server_clock
        self._blotter = Blotter()
        self._base = check_base_url(settings.base_url)
        self._tls = client_context(settings.ca_file) if self._base.scheme == "https" else None
        self._urls: dict[str, URL] = {}
        self._decoders: anyio.CapacityLimiter
        self._large: anyio.CapacityLimiter
        self._http: aiohttp.ClientSession
        self._alone: aiohttp.ClientSession
        """For requests that want a connection of their own."""

    async def __aenter__(self) -> Self:
        self._decoders = anyio.CapacityLimiter(_DECODERS)
        self._large = anyio.CapacityLimiter(1)
        self._http, self._alone = self._client(keeps=True), self._client(keeps=False)
        return self

    def _client(self, *, keeps: bool) -> aiohttp.ClientSession:
        """Which keeps connections for the next request, or none."""
        settings = self._settings
        client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.concurrency,
                ssl=self._tls or True,
                resolver=None if self._tls else _ThisMachine(),
                force_close=not keeps,
            ),
            timeout=aiohttp.ClientTimeout(
                total=settings.request_timeout_s,
                sock_connect=settings.connect_timeout_s,
                sock_read=settings.idle_timeout_s,
            ),
            headers={"User-Agent": f"harvester/{__version__}", "Accept-Encoding": ACCEPTED},
            skip_auto_headers=("Content-Type",),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_AHEAD_BYTES,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
            trace_configs=[_telling(self._emit)],
        )
        client._retry_connection = False  # aiohttp would send a GET once more, past the gate and its pace
        return client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await self._http.close()
            await self._alone.close()

    async def send(self, ask: Request) -> Answer:
        """Raises SourceError, never anything of aiohttp's."""
        what = f"{ask.method} {ask.path}"
        way = _Way(waits_for_body=bool(ask.body))
        failure: SourceError
        try:
            answer = await self._exchange(ask, what, way)
            return replace(answer, headers=self._blotted(answer.headers, ask))
        except SourceError as error:
            failure = error
            told = dict(self._blotted({"": str(error)} | dict(error.announced), ask))
            failure.args = (told.pop(""),)
            failure.announced = told
        except aiohttp.ClientConnectorCertificateError as error:
            failure = self._untrusted(error, what)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            failure = self._meaning(error, what)
            if way.is_kept and isinstance(error, _ENDED) and not _has_begun(error):
                failure = Stale(str(failure))
        # Out of the except, else its context would hold aiohttp's error, and that the token; and without the
        # frames below, which hold what has come of the answer: an error may live as long as its window.
        raise failure.with_traceback(None)

    async def _exchange(self, ask: Request, what: str, way: "_Way") -> Answer:
        began_s = self._clock.monotonic()
        http = self._alone if ALONE in ask.headers else self._http
        async with http.request(
            ask.method,
            self._url(ask),
            headers=ask.headers,
            data=ask.body,
            allow_redirects=False,
            trace_request_ctx=way,
        ) as response:
            headers = _lower(response.headers)
            if self._server_clock is not None:
                self._server_clock.hear(headers)
            failure = status.failure(
                response.status,
                headers,
                what=what,
                now=self._clock.now(),
                max_outage_s=self._settings.max_outage_s,
            )
            if failure is not None:
                failure.announced = status.announced(headers)
                # Not waiting for the body: a 429 that drips would pause nobody. A short one has come with its
                # headers and the connection is used again; else it is closed.
                raise failure
            wire = await self._whole(response.content, what)
        received_bytes = len(wire)
        encoding = headers.get("content-encoding", "")
        body = await self._undone(wire, encoding, what) if encoding else wire
        return Answer(
            status=response.status,
            headers=headers,
            body=body,
            received_bytes=received_bytes,
            elapsed_s=self._clock.monotonic() - began_s,
        )

    async def _whole(self, content: aiohttp.StreamReader, what: str) -> bytes:
        blocks: list[bytes] = []
        size_bytes = 0
        while block := await content.readany():
            blocks.append(block)
            size_bytes += len(block)
            if size_bytes > self._settings.max_answer_bytes:
                raise TooLarge(what, self._settings.max_answer_bytes)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    async def _undone(self, wire: bytes, encoding: str, what: str) -> bytes:
        """A large body is undone for a second time, and alone: that costs little, and many at once would cost
        `max_answer_bytes` each."""
        most_bytes = self._settings.max_answer_bytes
        try:
            least_bytes = min(FIRST_LOOK_BYTES, most_bytes)
            if len(wire) <= _INLINE_BYTES:
                return decode(wire, encoding, max_bytes=least_bytes, what=what)
            return await self._in_thread(wire, encoding, least_bytes, what, self._decoders)
        except TooLarge:
            if least_bytes == most_bytes:
                raise
        return await self._in_thread(wire, encoding, most_bytes, what, self._large)

    async def _in_thread(
        self, wire: bytes, encoding: str, max_bytes: int, what: str, limiter: anyio.CapacityLimiter
    ) -> bytes:
        undone = partial(decode, wire, encoding, max_bytes=max_bytes, what=what)
        return await anyio.to_thread.run_sync(undone, limiter=limiter)

    def _blotted(self, told: Mapping[str, str], ask: Request) -> Mapping[str, str]:
        """What a server repeats of the token goes no further: a header may come to be told to somebody."""
        secrets = [value for _, value in ask.headers if isinstance(value, Secret)]
        for secret in secrets:
            self._blotter.learn(secret.rpartition(" ")[2])
        return {name: self._blotter.text(value) for name, value in told.items()} if secrets else told

    def _url(self, ask: Request) -> URL:
        if ask.origin is not None and URL(ask.origin).origin() != self._base.origin():
            raise ContractBroken(
                f"{ask.method} {ask.path}: leads to {ask.origin}, but the token is for "
                f"{self._base.origin()} only"
            )
        url = self._urls.get(ask.path)
        if url is None:
            # Text after text and never a join: a path that begins with // names no other host.
            url = self._urls[ask.path] = URL(f"{self._base}/{ask.path.lstrip('/')}")
        return url.extend_query(ask.query) if ask.query else url

    def _untrusted(self, error: aiohttp.ClientConnectorCertificateError, what: str) -> Untrusted:
        authorities = self._settings.ca_file or "this machine"
        return Untrusted(
            f"{what}: the certificate of {self._base.host} does not stand up: {_why(error)}; nothing was "
            f"sent. It was held against the authorities of {authorities}; for a private one set "
            "source.ca_file (--ca-file)"
        )

    def _meaning(self, error: BaseException, what: str) -> SourceError:
        for kind, ours, text in _MEANING:
            if isinstance(error, kind):
                settings = self._settings
                return ours(
                    f"{what}: "
                    + text.format(
                        connect=settings.connect_timeout_s,
                        idle=settings.idle_timeout_s,
                        whole=settings.request_timeout_s,
                        why=_why(error),
                    )
                )
        raise AssertionError(f"{type(error).__name__} is in no row")


class _ThisMachine(AbstractResolver):
    """For plain http: whatever the name servers say of a name below `localhost`, the token stays here."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, address in addresses.items()
            if family in (kind, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        pass


@dataclass(slots=True)
class _Way:
    """What became of one request on its way, for as long as it takes."""

    waits_for_body: bool
    is_told: bool = False
    is_kept: bool = False
    """It left on a connection that had served another."""


def _telling(emit: Emit) -> aiohttp.TraceConfig:
    """Tells a request when its bytes go to the socket. aiohttp holds the headers back until the first bytes
    of the body; what is cancelled before that, or finds nobody to connect to, never left.
    """

    async def connection_kept(session: Any, way: _Way, kept: Any) -> None:
        way.is_kept = True

    async def headers_sent(session: Any, way: _Way, sent: Any) -> None:
        if not way.waits_for_body:
            tell(way)

    async def chunk_sent(session: Any, way: _Way, sent: Any) -> None:
        tell(way)

    def tell(way: _Way) -> None:
        if not way.is_told:
            way.is_told = True
            emit(RequestSent())

    def given(trace_request_ctx: Any) -> _Way:
        way: _Way = trace_request_ctx
        return way

    trace = aiohttp.TraceConfig(trace_config_ctx_factory=given)  # type: ignore[arg-type]  # stubs: a class
    trace.on_connection_reuseconn.append(connection_kept)  # type: ignore[arg-type]
    trace.on_request_headers_sent.append(headers_sent)  # type: ignore[arg-type]
    trace.on_request_chunk_sent.append(chunk_sent)  # type: ignore[arg-type]
    return trace


def _has_begun(error: BaseException) -> bool:
    """Whether a part of the answer's head came before the end; of one that was reset nobody knows."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    lower: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        lower[name] = f"{lower[name]}, {value}" if name in lower else value
    return lower


def _why(error: BaseException) -> str:
    """The system's own words; never str(error), which may quote what was sent."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        error = error.os_error  # it is an SSLError itself, but one without a reason
    if isinstance(error, ssl.SSLError):
        return f"TLS failed, {error.reason}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text says only that it failed
    return type(error).__name__
