"""Formats: how lines become a file's bytes, and back.

The bytes depend on the lines and on nothing else: an encoder is fed blocks whose borders the content
decides, since a compressor's output may depend on how its input was cut. Levels are fixed, headers carry no
time and no name.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from isal import igzip

from harvester.errors import StorageError
from harvester.shards.disk import plain

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_LEVEL: Final = 1
"""Level 1 costs a quarter of level 3's time for 10 % more bytes on these records."""
GZIP_LEVEL: Final = 1
ZSTD_WINDOW_LOG: Final = 18
"""256 KiB back: some 90 records, as many as are alike. Half of what level 1 looks back to by itself stays in
the cache: a tenth less CPU, and fewer bytes too."""
_READ_BYTES: Final = 1 << 20

T = TypeVar("T")

PARQUET: Final = ".parquet"
_SUFFIXES: Final = {"none": ".jsonl", "gzip": ".jsonl.gz", "zstd": ".jsonl.zst"}


class Encoder(Protocol):
    """Turns blocks of whole lines into file bytes; `finish` returns the last of them."""

    def encode(self, block: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _Plain:
    def encode(self, block: bytes) -> bytes:
        return block

    def finish(self) -> bytes:
        return b""


class _Zstd:
    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: ZSTD_LEVEL,
                zstd.CompressionParameter.checksum_flag: 1,
                zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG,
            }
        )

    def encode(self, block: bytes) -> bytes:
        return self._compressor.compress(block)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Gzip:
    """zlib with a bare gzip header: no name, no time, so equal lines give equal bytes."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def encode(self, block: bytes) -> bytes:
        return self._compressor.compress(block)

    def finish(self) -> bytes:
        return self._compressor.flush()


_ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {"none": _Plain, "gzip": _Gzip, "zstd": _Zstd}


def suffix(compression: str) -> str:
    return _SUFFIXES[compression]


def encoder(compression: str) -> Encoder:
    return _ENCODERS[compression]()


def _opened(path: Path) -> Any:
    plain(path)
    if path.name.endswith(".zst"):
        return zstd.open(path, "rb")
    if path.name.endswith(".gz"):
        return igzip.open(path, "rb")  # type: ignore[no-untyped-call]
    return path.open("rb")


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a shard without their line ends; memory stays at a block and the longest line. Of Parquet
    the records as JSON again, with equal values.

    Raises StorageError where the file is missing, cut or damaged, or its last line has no end.
    """
    if path.suffix == PARQUET:
        from harvester.shards import parquet  # an extra: only where there are such shards

        yield from parquet.read_lines(path)
        return
    try:
        with _opened(path) as file:
            rest = b""
            while block := file.read(_READ_BYTES):
                lines = (rest + block).split(b"\n")
                rest = lines.pop()
                yield from lines
            if rest:
                raise StorageError(f"{path}: the last line is cut; run harvester verify")
    except (
        OSError,
        EOFError,
        zlib.error,
        zstd.ZstdError,
        gzip.BadGzipFile,
        io.UnsupportedOperation,
    ) as error:
        raise StorageError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); run harvester verify"
        ) from error


def read_rows(path: Path, row: Callable[[bytes], T]) -> Iterator[T]:
    """What `row` makes of each line. Raises StorageError where `read_lines` does, and for a line of which
    `row` says that it is no record (ValueError): bytes that nothing has a checksum of may have changed.
    """
    for number, line in enumerate(read_lines(path), start=1):
        try:
            one = row(line)
        except ValueError as error:
            raise StorageError(
                f"{path}: line {number} is no record ({error}); run harvester verify"
            ) from None
        yield one
