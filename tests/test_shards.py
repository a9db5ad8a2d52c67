"""shards: the same rows give the same files, however they come, and a sealed file is whole."""

import gzip
import hashlib
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dialects import Row
from harvester.errors import StorageError
from harvester.shards import Receipt, formats, read_lines
from harvester.shards.disk import Disk
from harvester.shards.sink import BLOCK_BYTES, Sink
from tests.zstd import zstd

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def rows(sizes: list[int]) -> list[Row]:
    return [
        (NOON + timedelta(seconds=i), f"{i:06d}", "", f'{{"i":{i},"x":"{"y" * size}"}}'.encode())
        for i, size in enumerate(sizes)
    ]


def write(
    root: Path, some: list[Row], *, cuts: list[int], shard_bytes: int, compression: str = "zstd"
) -> list[Receipt]:
    """Adds the rows in batches that end at `cuts`."""
    sink = Sink(
        Disk(root),
        compression=compression,
        shard_bytes=shard_bytes,
        name=lambda number: f"part-{number:05d}{formats.suffix(compression)}",
    )
    receipts: list[Receipt] = []
    edges = [0, *sorted({min(cut, len(some)) for cut in cuts}), len(some)]
    for start, end in pairwise(edges):
        receipts += sink.add([some[start:end]])
    return receipts + sink.finish()


@given(
    sizes=st.lists(st.integers(0, 400), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    shard_bytes=st.integers(1, 2000),
    compression=st.sampled_from(["zstd", "gzip", "none"]),
)
def test_shards_depend_on_their_rows_and_not_on_how_they_were_batched(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    cuts: list[int],
    shard_bytes: int,
    compression: str,
) -> None:
    some = rows(sizes)
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    whole = write(one, some, cuts=[], shard_bytes=shard_bytes, compression=compression)
    assert write(other, some, cuts=cuts, shard_bytes=shard_bytes, compression=compression) == whole
    lines = [line for receipt in whole for line in read_lines(one / receipt.path)]
    assert lines == [row[3] for row in some]


def test_blocks_are_cut_by_content_also_where_batches_are_larger_than_a_block(tmp_path: Path) -> None:
    some = rows([3000] * 1200)
    assert sum(len(row[3]) for row in some) > 3 * BLOCK_BYTES
    for name in "ab":
        (tmp_path / name).mkdir()
    whole = write(tmp_path / "a", some, cuts=[], shard_bytes=1 << 30)
    assert write(tmp_path / "b", some, cuts=list(range(7, 1200, 7)), shard_bytes=1 << 30) == whole


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=40), shard_bytes=st.integers(1, 1500))
def test_no_shard_is_larger_than_asked_unless_it_is_a_single_record(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shard_bytes: int
) -> None:
    receipts = write(
        tmp_path_factory.mktemp("out"), rows(sizes), cuts=[], shard_bytes=shard_bytes, compression="none"
    )
    for receipt, after in zip(receipts, [*receipts[1:], None], strict=True):
        assert receipt.raw_bytes <= shard_bytes or receipt.records == 1
        assert after is None or receipt.raw_bytes + after.raw_bytes > shard_bytes


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_a_receipt_tells_the_file_as_it_is(tmp_path: Path, compression: str) -> None:
    some = rows([10, 20, 30])
    (receipt,) = write(tmp_path, some, cuts=[1], shard_bytes=10_000, compression=compression)
    content = (tmp_path / receipt.path).read_bytes()
    undo: dict[str, Callable[[bytes], bytes]] = {
        "zstd": zstd.decompress,
        "gzip": gzip.decompress,
        "none": bytes,
    }
    plain = undo[compression](content)
    assert plain == b"".join(bytes(row[3]) + b"\n" for row in some)
    assert receipt.sha256 == hashlib.sha256(content).hexdigest()
    assert (receipt.records, receipt.size_bytes, receipt.raw_bytes) == (3, len(content), len(plain))
    assert (receipt.first, receipt.last) == (some[0][0], some[-1][0])


def test_gzip_headers_hold_no_time(tmp_path: Path) -> None:
    (receipt,) = write(tmp_path, rows([5]), cuts=[], shard_bytes=100, compression="gzip")
    assert (tmp_path / receipt.path).read_bytes()[4:8] == bytes(4)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        disk = Disk(tmp_path / "out")
        disk.make_folder("a/b")
        disk.replace("a/b/c", b"x")
    finally:
        os.umask(old)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    }
    assert modes == {"out": 0o700, "a": 0o700, "b": 0o700, "c": 0o600}


def test_a_planted_symlink_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "part").symlink_to(victim)
    with Disk(tmp_path).create("part") as file:
        file.write(b"other")
    assert victim.read_text() == "precious"


def test_no_name_leads_out_of_the_output(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "out")
    disk.make_folder("a")
    (tmp_path / "precious").write_text("stays")
    for path in ("../precious", "a/../../precious", ".."):
        with pytest.raises(StorageError):
            disk.remove(path)
        with pytest.raises(StorageError):
            disk.replace(path, b"other")
    assert (tmp_path / "precious").read_text() == "stays"


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_a_cut_shard_is_an_error_and_never_a_shorter_one(tmp_path: Path, compression: str) -> None:
    (receipt,) = write(tmp_path, rows([500] * 50), cuts=[], shard_bytes=1 << 20, compression=compression)
    path = tmp_path / receipt.path
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StorageError, match=receipt.path):
        list(read_lines(path))


def test_a_link_replaces_what_stands_and_leaves_no_spare_file(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.replace("sealed", b"new")
    disk.replace("shown", b"old")
    disk.link("sealed", "shown")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sealed", "shown"]
    assert (tmp_path / "shown").read_bytes() == b"new"


def test_a_file_that_has_both_names_already_keeps_them_and_gets_no_third(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.replace("one", b"same")
    disk.link("one", "two")
    disk.link("one", "two")
    assert disk.files("") == ["one", "two"]


def test_where_links_are_not_to_be_had_the_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    disk = Disk(tmp_path)
    disk.replace("sealed", b"new")
    disk.link("sealed", "shown")
    assert (tmp_path / "shown").read_bytes() == b"new"


def test_a_write_that_fails_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere/part.*run again"):
        Disk(tmp_path).create("nowhere/part")
