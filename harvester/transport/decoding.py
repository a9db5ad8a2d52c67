"""Content-Encoding undone: whole or an error, and never more than was agreed. Pure.

aiohttp could do this too, but takes a stream without its end for a whole one and has no bound on the sum.
Here the stream must come to its own end, checksum and length included, so that a gzip or zstd body cut
short is noticed even where nothing else tells its length. (A plain body without Content-Length and not
chunked ends where the connection ends: cut or not, it looks the same from here. The JSON inside it shows.)
"""

import sys
from collections.abc import Callable
from typing import Final, Protocol, cast

from isal import igzip_lib

from harvester.errors import BadPage, Broken, Rejected

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

ACCEPTED: Final = "gzip, zstd"
"""gzip because every server has it, zstd because it costs half of that to undo."""

FIRST_LOOK_BYTES: Final = 8 * 1024 * 1024
"""Undone at first: more than twice a usual page. Whatever is larger waits for its turn, one at a time."""
_BOMB_BYTES: Final = 16 * 1024 * 1024
_BOMB_RATIO: Final = 200
"""Reports shrink to a tenth, and to a hundredth where records repeat each other. What is larger than five
usual pages and than 200 times itself was made to be; deflate goes up to 1032."""
_PIECE_BYTES: Final = 4 * 1024 * 1024
"""Undone in one go: a usual page, so that it is not copied once more."""
_MAX_MEMBERS: Final = 64
"""Both formats may be concatenated, and nobody does it to a page; a body of a million empty members is a
trap."""
_DAMAGED: Final = (cast(type[Exception], igzip_lib.IsalError), ZstdError)  # isal's stubs say: an instance


class TooLarge(Rejected):
    """More than `max_answer_bytes`, on the wire or decompressed. Counts as the 413 that the server did not
    send: the same request will not do better, a smaller page may."""

    def __init__(self, what: str, max_bytes: int) -> None:
        super().__init__(
            f"{what}: the answer is larger than {max_bytes} bytes; ask for less at a time", status_code=413
        )


class Bomb(BadPage):
    """A few bytes that become far more than a page of that size can hold. No smaller page will mend it."""


class _Stream(Protocol):
    """One member or frame; what isal and zstd have in common: input that was not used up is kept inside."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def _gzip_stream() -> _Stream:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


_STREAMS: Final[dict[str, Callable[[], _Stream]]] = {
    "gzip": _gzip_stream,
    "x-gzip": _gzip_stream,
    "zstd": ZstdDecompressor,
}


def decode(wire: bytes, encoding: str, *, max_bytes: int, what: str) -> bytes:
    """The body that came as `wire`. Raises Broken where it ends early or is damaged, BadPage for an
    encoding that nobody asked for, TooLarge beyond `max_bytes`, Bomb far beyond its own size; `what` names
    the request in the message. No error holds what was undone so far."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return wire
    if encoding not in _STREAMS:
        raise BadPage(f"{what}: content-encoding {encoding[:40]!r} was not asked for")
    most_bytes = min(max_bytes, max(_BOMB_BYTES, _BOMB_RATIO * len(wire)))
    try:
        parts = _undone(_STREAMS[encoding], wire, most_bytes)
    except _DAMAGED:
        parts = None
    if parts is None:
        raise Broken(f"{what}: the {encoding} stream is cut short or damaged")
    if sum(map(len, parts)) <= most_bytes:
        return parts[0] if len(parts) == 1 else b"".join(parts)
    parts.clear()  # the error's traceback would keep them
    if most_bytes < max_bytes:
        raise Bomb(
            f"{what}: {len(wire):,} bytes of {encoding} become more than {most_bytes:,}; no page does, and "
            "the rest was not unpacked"
        )
    raise TooLarge(what, max_bytes)


def _undone(new_stream: Callable[[], _Stream], wire: bytes, most_bytes: int) -> list[bytes] | None:
    """At most one byte more than `most_bytes`; None where the input ends before the stream does."""
    parts: list[bytes] = []
    left_bytes = most_bytes + 1
    members = 0
    while wire:
        if members == _MAX_MEMBERS:
            return None
        members += 1
        stream = new_stream()
        piece = wire
        while True:
            part = stream.decompress(piece, min(left_bytes, _PIECE_BYTES))
            parts.append(part)
            left_bytes -= len(part)
            if left_bytes == 0:
                return parts
            if stream.eof:
                break
            if stream.needs_input or (not part and not piece):
                return None
            piece = b""
        wire = stream.unused_data
    return parts
