"""Content-Encoding: whole or an error, and never more than was agreed."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import BadPage, Broken, Rejected
from harvester.transport.decoding import TooLarge, decode
from tests.zstd import zstd

BODY = b'{"data":[{"_id":"62deb3372ffcd28a9d589dd4"}]}' * 50
PACK = {"gzip": lambda body: gzip.compress(body, 1), "x-gzip": gzip.compress, "zstd": zstd.compress}
MAX = 100_000


def undone(wire: bytes, encoding: str, max_bytes: int = MAX) -> bytes:
    return decode(wire, encoding, max_bytes=max_bytes, what="POST /x")


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_plain_body_is_itself(encoding: str) -> None:
    assert undone(BODY, encoding) is BODY


@given(st.sampled_from(sorted(PACK)), st.lists(st.binary(max_size=3000), max_size=5))
def test_what_was_packed_comes_out_even_in_several_members(encoding: str, parts: list[bytes]) -> None:
    assert undone(b"".join(PACK[encoding](part) for part in parts), encoding) == b"".join(parts)


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_a_stream_cut_anywhere_is_broken(encoding: str) -> None:
    wire = PACK[encoding](BODY)
    for end in range(1, len(wire)):
        with pytest.raises(Broken, match="cut short"):
            undone(wire[:end], encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("after", [b"\0", b"junk"])
def test_what_follows_the_stream_is_damage(encoding: str, after: bytes) -> None:
    with pytest.raises(Broken):
        undone(PACK[encoding](BODY) + after, encoding)


def test_a_wrong_checksum_is_damage_and_no_piece_of_the_body_stays_with_the_error() -> None:
    wire = bytearray(gzip.compress(BODY))
    wire[-6] ^= 1
    with pytest.raises(Broken) as caught:
        undone(bytes(wire), "gzip")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_the_cap_is_on_the_decompressed_size_to_the_byte(encoding: str) -> None:
    wire = PACK[encoding](BODY)
    assert undone(wire, encoding, len(BODY)) == BODY
    with pytest.raises(TooLarge) as caught:
        undone(wire, encoding, len(BODY) - 1)
    assert isinstance(caught.value, Rejected)
    assert caught.value.status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_costs_no_more_than_the_cap(encoding: str) -> None:
    wire = PACK[encoding](bytes(30_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            undone(wire, encoding, 1_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4_000_000


def test_a_bomb_of_many_small_members_is_noticed_too() -> None:
    with pytest.raises(TooLarge):
        undone(gzip.compress(bytes(30_000)) * 10, "gzip")
    with pytest.raises(Broken):
        undone(gzip.compress(b"") * 100_000, "gzip")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x" * 1000])
def test_an_encoding_that_nobody_asked_for_is_a_bad_page(encoding: str) -> None:
    with pytest.raises(BadPage, match="not asked for") as caught:
        undone(zlib.compress(BODY), encoding)
    assert len(str(caught.value)) < 200
