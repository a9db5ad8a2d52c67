"""Content-Encoding undone: whole or an error, and never more than was agreed. Pure.

aiohttp could do this too, but takes a stream without its end for a whole one and has no bound on the sum.
Here the stream must come to its own end, checksum and length included, so that a gzip or zstd body cut
short is noticed even where nothing else tells its length. (A plain body without Content-Length and not
chunked ends where the connection ends: cut or not, it looks the same from here. The JSON inside it shows.)
"""

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol, cast

from isal import igzip_lib, isal_zlib

from harvester.errors import BadPage, Broken, Rejected

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

ACCEPTED: Final = "gzip, zstd"
"""gzip because every server has it, zstd because it costs half of that to undo."""

_MAX_MEMBERS: Final = 64
"""Both formats may be concatenated, and nobody does it to a page; a body of a million empty members is a
trap."""
_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_DAMAGED: Final = (cast(type[Exception], igzip_lib.IsalError), ZstdError)  # isal's stubs say: an instance


class TooLarge(Rejected):
    """More than `max_answer_bytes`, on the wire or decompressed. Counts as the 413 that the server did not
    send: the same request will not do better, a smaller page may."""

    def __init__(self, what: str, max_bytes: int) -> None:
        super().__init__(
            f"{what}: the answer is larger than {max_bytes} bytes; ask for less at a time", status_code=413
        )


class _Stream(Protocol):
    """One member or frame; what zlib, isal and zstd have in common."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def _gzip_stream() -> _Stream:
    return isal_zlib.decompressobj(wbits=_GZIP_WBITS)


_STREAMS: Final[dict[str, Callable[[], _Stream]]] = {
    "gzip": _gzip_stream,
    "x-gzip": _gzip_stream,
    "zstd": ZstdDecompressor,
}


def decode(wire: bytes, encoding: str, *, max_bytes: int, what: str) -> bytes:
    """The body that came as `wire`. Raises Broken where it ends early or is damaged, BadPage for an
    encoding that nobody asked for, TooLarge beyond `max_bytes`; `what` names the request in the message."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return wire
    if encoding not in _STREAMS:
        raise BadPage(f"{what}: content-encoding {encoding[:40]!r} was not asked for")
    try:
        body = _whole(_STREAMS[encoding], wire, max_bytes)
    except _DAMAGED:
        body = None
    if body is None:
        raise Broken(f"{what}: the {encoding} stream is cut short or damaged")
    if len(body) > max_bytes:
        raise TooLarge(what, max_bytes)
    return body


def _whole(new_stream: Callable[[], _Stream], wire: bytes, max_bytes: int) -> bytes | None:
    """At most one byte more than `max_bytes`; None where the input ends before the stream does."""
    parts: list[bytes] = []
    left_bytes = max_bytes + 1
    while wire:
        if len(parts) == _MAX_MEMBERS:
            return None
        stream = new_stream()
        part = stream.decompress(wire, left_bytes)
        parts.append(part)
        left_bytes -= len(part)
        if left_bytes == 0:
            break
        if not stream.eof:
            return None
        wire = stream.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)
