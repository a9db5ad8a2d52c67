"""What a hostile answer may cost: each bound ends in one error that says so, and memory stays bounded."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from harvester.dialects import Ask, load
from harvester.dialects.bounds import LARGE_BYTES, MOST_RECORDS, TooMany, may_be_too_many
from harvester.errors import BadPage, Broken
from harvester.transport.decoding import Bomb, TooLarge, decode
from tests.harvesting import SPAN
from tests.loopback import answer, serving
from tests.zstd import zstd

HEAD: Final = b'{"resultCode":0,"resultCodeName":"Success","data":['
TAIL: Final = b"]}"
RECORD: Final = b'{"_id":"%024d","StartedDateTimeUtc":"2024-01-01T00:00:00.000Z"%b}'
DEEP: Final = 100_000


def page(*parts: bytes) -> bytes:
    return HEAD + b",".join(parts) + TAIL


def read(body: bytes, limit: int = 1000) -> Any:
    ask = Ask(start=SPAN.start, end=SPAN.end, limit=limit, offset=0, order_by=None)
    return load("interactions").read(body, ask)


# --- records in a page

MANY: Final[dict[str, Callable[[int], bytes]]] = {
    "nothing": lambda count: page(*[b"{}"] * count),
    "numbers": lambda count: page(*[b"1"] * count),
    "lists": lambda count: page(*[b"[]"] * count),
    "tiny records": lambda count: page(*[RECORD % (number, b"") for number in range(count)]),
    "one bad among them": lambda count: page(b"7", *[RECORD % (number, b"") for number in range(count - 1)]),
}


@pytest.mark.parametrize("kind", MANY)
def test_a_page_of_too_many_records_is_refused_as_a_whole(kind: str) -> None:
    """As if the server had said 413: a smaller page or window may pass."""
    count = 1_000_000 if kind != "one bad among them" else MOST_RECORDS + 1
    with pytest.raises(TooMany, match="more than 100,000 records; ask for less at a time") as caught:
        read(MANY[kind](count))
    assert caught.value.status_code == 413


def test_a_page_of_too_many_records_is_not_read_to_find_that_out() -> None:
    """A million of them would take 600 MiB; small bodies cannot hold so many as would hurt."""
    many = MANY["tiny records"](1_000_000)
    assert len(many) > LARGE_BYTES
    assert may_be_too_many(many, MOST_RECORDS)
    assert not may_be_too_many(many, 1_000_002)
    assert not may_be_too_many(many[:LARGE_BYTES], MOST_RECORDS)


def test_who_asks_for_more_gets_twice_of_it() -> None:
    body = MANY["tiny records"](MOST_RECORDS + 1)
    assert len(read(body, limit=MOST_RECORDS).rows) == MOST_RECORDS + 1
    with pytest.raises(TooMany, match="100,000"):
        read(body)


def test_a_page_of_just_as_many_as_may_be_is_read() -> None:
    assert len(read(MANY["tiny records"](MOST_RECORDS)).rows) == MOST_RECORDS


# --- depth, size


@pytest.mark.parametrize(
    "item",
    [b"[" * DEEP + b"]" * DEEP, RECORD % (1, b',"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP)],
    ids=["an item", "a field"],
)
def test_what_is_nested_too_deeply_is_one_reject(item: bytes) -> None:
    got = read(page(RECORD % (2, b""), item))
    assert len(got.rows) == 1
    assert [reject.reason for reject in got.rejects] == ["nested too deeply"]


@pytest.mark.parametrize("closed", [True, False])
def test_an_envelope_nested_too_deeply_is_a_bad_page(closed: bool) -> None:
    deep = b"[" * DEEP + (b"]" * DEEP + b',"data":[]}' if closed else b"")
    with pytest.raises(BadPage, match="nested too deeply" if closed else "cut short"):
        read(b'{"resultCode":' + deep)


def test_an_envelope_full_of_other_things_is_not_read_into_memory() -> None:
    with pytest.raises(BadPage, match="far more than records"):
        read(b'{"x":[' + b",".join([b"[]"] * 1_000_000) + b'],"resultCode":5,"data":[]}')


def test_a_huge_text_in_a_record_passes_untouched() -> None:
    big = RECORD % (1, b',"x":"' + b"y" * (10 << 20) + b'"')
    assert [bytes(row[3]) for row in read(page(big)).rows] == [big]


def test_a_line_of_any_length_is_read_within_the_answers_bound() -> None:
    """200 MiB for who allows it; else `max_answer_bytes` has ended it before."""
    big = RECORD % (1, b',"x":"' + b"y" * (200 << 20) + b'"')
    assert len(read(page(big)).rows[0][3]) == len(big)


# --- bombs


def gzipped(mib: int, members: int = 1) -> bytes:
    blank, wire = b" " * 2**20, b""
    for _ in range(members):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        wire += b"".join(packer.compress(blank) for _ in range(mib // members)) + packer.flush()
    return wire


def zstandard(mib: int, frames: int = 1) -> bytes:
    blank, wire = b" " * 2**20, b""
    for _ in range(frames):
        packer = zstd.ZstdCompressor()
        wire += b"".join(packer.compress(blank) for _ in range(mib // frames)) + packer.flush()
    return wire


BOMBS: Final[dict[str, tuple[Callable[[], bytes], str, str]]] = {
    "gzip": (lambda: gzipped(300), "gzip", "of gzip become more than"),
    "gzip members": (lambda: gzipped(300, 30), "gzip", "of gzip become more than"),
    "zstd": (lambda: zstandard(300), "zstd", "of zstd become more than"),
    "zstd frames": (lambda: zstandard(300, 30), "zstd", "of zstd become more than"),
    "twice": (lambda: gzip.compress(gzipped(300)), "gzip, gzip", "'gzip, gzip' was not asked for"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_told_from_a_page_that_is_just_large(name: str) -> None:
    made, encoding, words = BOMBS[name]
    with pytest.raises(BadPage, match=words):
        decode(made(), encoding, max_bytes=64 << 20, what="x")


def test_a_large_page_is_too_large_and_no_bomb() -> None:
    """What shrinks as reports do may pass in a smaller piece."""
    body = b"".join(b'{"n":%d,"square":%d,"cube":%d},' % (n, n * n, n**3) for n in range(600_000))
    wire = gzip.compress(body, 1)
    assert decode(wire, "gzip", max_bytes=64 << 20, what="x") == body
    with pytest.raises(TooLarge, match="larger than 20000000 bytes"):
        decode(wire, "gzip", max_bytes=20_000_000, what="x")
    assert decode(gzipped(12), "gzip", max_bytes=64 << 20, what="x") == b" " * (12 << 20)


def test_members_without_end_are_broken() -> None:
    with pytest.raises(Broken):
        decode(gzip.compress(b"") * 1000, "gzip", max_bytes=64 << 20, what="x")
    assert issubclass(Bomb, BadPage)


CHILD: Final = """
import sys
from harvester.cli import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("VmHWM")).split()[1], file=sys.stderr)
sys.exit(code)
"""
JOB: Final = """
[source]
auth = "none"
[span]
start = 2024-01-01T00:00:00Z
end = 2024-01-03T00:00:00Z
[fetch]
concurrency = 16
max_attempts = 1
[output]
url = "out"
"""


@pytest.mark.parametrize("name", ["gzip", "gzip members", "zstd frames"])
def test_a_bomb_of_300_mib_costs_less_than_100_mib_of_memory(name: str, tmp_path: Path) -> None:
    """Though each of sixteen answers at once is one; and the run ends with one error."""
    (tmp_path / "job.toml").write_text(JOB)
    made, encoding, words = BOMBS[name]

    async def peak(served: bytes, out: str) -> tuple[float, dict[str, Any]]:
        async with serving(served) as server:
            command = [sys.executable, "-c", CHILD, "run", "job.toml", "-q", "--out", out]
            command += ["--set", f"source.base_url={server.url}"]
            done = await anyio.run_process(command, check=False, cwd=tmp_path)
        return int(done.stderr.split()[-1]) / 1024, json.loads(done.stdout.splitlines()[-1])

    async def main() -> None:
        usual, told = await peak(answer(HEAD + TAIL), "usual")
        assert told["exit_code"] == 0
        bombed, told = await peak(answer(made(), "200 OK", f"Content-Encoding: {encoding}"), "bombed")
        assert told["exit_code"] == 6
        assert words in told["error"]
        assert bombed - usual < 100

    anyio.run(main)
