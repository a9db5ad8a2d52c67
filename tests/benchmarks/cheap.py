"""A source that costs next to nothing: records of 130 bytes, evenly spaced and made when they are asked for,
so that millions of them fit on any machine. `python -m tests.benchmarks.cheap RECORDS START END` prints where
it is, and serves until it is ended.

It knows what `interactions` asks and nothing more. Each record follows from its number, and so does the
truth.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import orjson
import uvloop

from harvester.output import read_manifest
from harvester.shards import read_lines
from tests.benchmarks.checks import Digests, Wrong, digests
from tests.benchmarks.measure import clean
from tests.benchmarks.server import Server

TOKEN = "cheap"


class Records:
    """`count` records in start <= t < end."""

    def __init__(self, count: int, start: datetime, end: datetime) -> None:
        self.count = count
        self._start_us = round(start.timestamp() * 1e6)
        self._span_us = round(end.timestamp() * 1e6) - self._start_us

    def moment_us(self, number: int) -> int:
        """Whole milliseconds."""
        return self._start_us + number * self._span_us // self.count // 1000 * 1000

    def first_from(self, moment_us: int) -> int:
        """The number of the first record at or after a moment."""
        number = max(0, min(self.count, (moment_us - self._start_us) * self.count // self._span_us - 1))
        while number < self.count and self.moment_us(number) < moment_us:
            number += 1
        return number

    def lines(self, first: int, behind: int) -> Iterator[bytes]:
        for number in range(first, behind):
            moment = datetime.fromtimestamp(self.moment_us(number) / 1e6, UTC)
            text = moment.isoformat(timespec="milliseconds")[:-6]
            yield (
                f'{{"_id":"{number:024x}","StartedDateTimeUtc":"{text}Z","RecordWrittenAtUtc":"{text}Z",'
                f'"AgentId":{number % 977}}}'
            ).encode()

    def check(self, out: Path, *, start: str = "", end: str = "") -> Digests:
        """Raises Wrong where the shards do not hold each record once, in order, to the byte."""
        expected = self.lines(0, self.count)
        for shard in sorted(read_manifest(out).shards, key=lambda shard: shard.path):
            for line in read_lines(out / shard.path):
                if line != next(expected, None):
                    raise Wrong(f"{out / shard.path}: {line.decode()} is not the record that follows")
        if next(expected, None) is not None or not (out / "_SUCCESS").exists():
            raise Wrong(f"{out}: records are missing")
        return digests(out)


@contextmanager
def serving_cheaply(count: int, start: datetime, end: datetime) -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.benchmarks.cheap", str(count), start.isoformat(), end.isoformat()]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean())
    try:
        assert process.stdout is not None
        url = orjson.loads(process.stdout.readline())["url"]
        yield Server(url=url, token=TOKEN, records=count, start=start, end=end)
    finally:
        process.terminate()
        process.wait()


class _Source:
    def __init__(self, records: Records) -> None:
        self._records = records
        self._requests = 0

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            size = next(
                (int(line[15:]) for line in head[1:] if line.lower().startswith("content-length:")), 0
            )
            body = await reader.readexactly(size)
            answer = self._answer(head[0].split(" ")[1], body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
        writer.close()

    def _answer(self, path: str, body: bytes) -> bytes:
        if path == "/_simulator/stats":
            return orjson.dumps({"requests": self._requests})
        if path == "/_simulator/reset":
            self._requests = 0
            return b"{}"
        self._requests += 1
        asked = orjson.loads(body)
        first = self._records.first_from(_us(asked["StartDateTime"]))
        behind = self._records.first_from(_us(asked["EndDateTime"]) + 1)
        lines = self._records.lines(first + asked["Offset"], behind)
        return b'{"resultCode":0,"data":[' + b",".join(islice(lines, asked["Limit"])) + b"]}"


async def _head(reader: asyncio.StreamReader) -> list[str]:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return []


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


async def _serve(records: Records) -> None:
    server = await asyncio.start_server(_Source(records).attend, "127.0.0.1", 0)
    print(
        orjson.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}).decode(), flush=True
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Records(int(sys.argv[1]), *map(datetime.fromisoformat, sys.argv[2:]))))
