"""How an answer leaves: as it should, or cut, dripping, reset, compressed into a bomb.

A good answer goes through aiohttp. A broken one is written straight to the transport, because no well-meaning
library sends half a body; the connection is closed behind it.
"""

import asyncio
import socket
import struct
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Never

from aiohttp import web

from .faults import Fault

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Part = bytes | memoryview

# Faults that `send_broken` carries out; of several that strike, the first one here.
BROKEN = ("hang_s", "reset", "cut", "drip")


@dataclass(slots=True)
class Answer:
    """A response before it is sent. `parts` are joined on the wire only."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(len(part) for part in self.parts)


async def send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = answer.size_bytes
    try:
        await response.prepare(request)
        for part in answer.parts:
            await response.write(part)
        await response.write_eof()
    except ConnectionError:  # the client has gone, which is no concern of the server's
        return _Gone()
    return response


async def send_broken(
    request: web.BaseRequest, answer: Answer, struck: Mapping[str, Fault]
) -> web.StreamResponse:
    """Carries out the wire's faults. aiohttp closes the connection when it finds that nothing more can be
    sent.
    """
    transport = request.transport
    if not isinstance(transport, asyncio.WriteTransport):
        return _Gone()
    body = b"".join(answer.parts)
    half = body[: len(body) // 2]
    head = _head(answer, {"Content-Length": str(len(body))})
    fault = next(struck[name] for name in BROKEN if name in struck)
    match fault.name, fault.value:
        case "hang_s", seconds:
            await asyncio.sleep(seconds)
        case "drip", per_second:
            transport.write(head)
            await _drip(transport, body, per_second)
        case "reset", "before":
            _reset(transport)
        case "reset", _:
            transport.write(head + half)
            await asyncio.sleep(0.02)  # else the reset overtakes what was written
            _reset(transport)
        case "cut", "chunked":
            announced = b"%x\r\n" % len(body)
            transport.write(_head(answer, {"Transfer-Encoding": "chunked"}) + announced + half)
        case "cut", "close":
            transport.write(_head(answer, {"Connection": "close"}) + half)
        case "cut", "gzip":
            packed = zlib.compress(body, 1, 31)
            packed = packed[: len(packed) * 2 // 3]
            headers = {"Content-Encoding": "gzip", "Content-Length": str(len(packed))}
            transport.write(_head(answer, headers) + packed)
        case _:
            transport.write(head + half)
    return _Gone()


def compressed(answer: Answer, encoding: str) -> Answer:
    """`encoding` is gzip or zstd."""
    whole = b"".join(answer.parts)
    packed = zstd.compress(whole, 3) if encoding == "zstd" else zlib.compress(whole, 1, 31)
    return Answer(answer.status, {**answer.headers, "Content-Encoding": encoding}, [packed])


def bomb(size_mib: int) -> bytes:
    """A well-formed gzip'ed page of white space: a thousand times as large when it is unpacked."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blank = b" " * 2**20
    parts = [packer.compress(b'{"resultCode":0,"resultCodeName":"Success","data":[')]
    parts += [packer.compress(blank) for _ in range(size_mib)]
    return b"".join([*parts, packer.compress(b"]}"), packer.flush()])


def _head(answer: Answer, headers: dict[str, str]) -> bytes:
    lines = [f"{name}: {value}" for name, value in {**answer.headers, **headers}.items()]
    return "\r\n".join([f"HTTP/1.1 {answer.status} Answer", *lines, "", ""]).encode()


async def _drip(transport: asyncio.WriteTransport, body: bytes, per_second: float) -> None:
    step = max(1, int(per_second / 20))
    for at in range(0, len(body), step):
        transport.write(body[at : at + step])
        await asyncio.sleep(step / per_second)


def _reset(transport: asyncio.WriteTransport) -> None:
    """Makes the close a reset: no lingering, set on a second handle of the same socket."""
    handle = transport.get_extra_info("socket")
    if handle is not None:
        with socket.fromfd(handle.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Gone(web.Response):
    """Handed to aiohttp in the place of a response that has left by another way, or never will."""

    async def prepare(self, request: web.BaseRequest) -> Never:
        raise ConnectionResetError("the simulator has broken this answer on purpose")
