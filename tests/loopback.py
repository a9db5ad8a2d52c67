"""A server on loopback that sends exactly the bytes it is told to, for tests of what reads them."""

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener

Script = Callable[["Peer"], Awaitable[None]]


def answer(body: bytes = b"", status: str = "200 OK", *headers: str, length: bool = True) -> bytes:
    """One whole answer."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(slots=True)
class Peer:
    """One request that came, and the way back to who sent it."""

    head: str
    body: bytes
    stream: SocketStream
    number: int
    """Of all requests, from 0."""
    closes: bool = False

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self.stream.send(data)

    async def close(self) -> None:
        self.closes = True
        await self.stream.aclose()

    async def reset(self) -> None:
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.close()


@dataclass(slots=True)
class Loopback:
    url: str
    requests: list[Peer] = field(default_factory=list)
    connections: int = 0


@contextlib.asynccontextmanager
async def serving(script: Script | bytes, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Calls `script` for each request; bytes stand for one that sends them."""

    async def run_script(peer: Peer) -> None:
        await (peer.send(script) if isinstance(script, bytes) else script(peer))

    async def serve(stream: SocketStream) -> None:
        server.connections += 1
        pending = b""
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    while b"\r\n\r\n" not in pending:
                        pending += await stream.receive()
                    head, _, pending = pending.partition(b"\r\n\r\n")
                    peer = Peer(head.decode(), b"", stream, len(server.requests))
                    size = int(peer.header("Content-Length") or 0)
                    while len(pending) < size:
                        pending += await stream.receive()
                    peer.body, pending = pending[:size], pending[size:]
                    server.requests.append(peer)
                    await run_script(peer)
                    if peer.closes:
                        return

    listener: Listener[Any] = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    if tls is not None:
        listener = TLSListener(listener, tls, standard_compatible=False)
    server = Loopback(f"http{'s' if tls else ''}://127.0.0.1:{port}")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield server
        tasks.cancel_scope.cancel()
