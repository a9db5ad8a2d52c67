"""Two records may share a second key: both are kept, and how many do stands in the manifest, for the same
records always the same, however they came there."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import dialects
from harvester.dialects import Row
from harvester.dialects.second_key import second_key_reader
from harvester.errors import StorageError
from harvester.output import second_keys
from harvester.output.second_keys import SecondKeys
from harvester.scheduler import Harvest
from harvester.testing.truth import harvested
from harvester.windows import Resolution, Span
from tests.harvesting import DAY, START, World, hours, live, manifest

LIKE = [
    b'{"_id":"a","InteractionId":"xyz","o":1}',
    b'{"_id":"b","InteractionId":"zyx","o":1}',
    b'{"_id":"a","InteractionId":"x","o":"z"}',
    b'{"_id":"a","InteractionId":"xyzxyz"}',
    b'{"_id":"a","InteractionId":"x\\"z"}',
    b'{"_id":"a","InteractionId":"\\u0078"}',
    b'{"_i":{"a":1,"InteractionId":"abc"}}',
    b'{"_i":["a",{"InteractionId":"abc"}]}',
    b'{"_id":"{","InteractionId":"abc"}',
    b'{"_id":"a","InteractionId":null}',
    b'{"_id":"a"}',
    b"{}",
]
"""Where the first differs from the others only in what a glance at one place does not show."""


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"_id":"a","InteractionId":"x"}', b"x"),
        (b'{"InteractionId":"x"}', b"x"),
        (b'{"_id":"a", "InteractionId" : "x"}', b"x"),
        (b'{"InteractionId":"\\u0078"}', b"x"),
        (b'{"Interaction\\u0049d":"x"}', b"x"),
        (b'{"o":{"InteractionId":"no"},"InteractionId":"x"}', b"x"),
        (b'{"o":[{"InteractionId":"no"}]}', None),
        (b'{"o":"\\",\\"InteractionId\\":\\"no","InteractionId":"x"}', b"x"),
        (b'{"o":"{","InteractionId":"x"}', b"x"),
        (b'{"InteractionId":null}', None),
        (b'{"InteractionId":7}', b"7"),
        (b'{"InteractionId":""}', b""),
        (b'{"InteractionIdStr":"no"}', None),
        (b"{}", None),
    ],
)
def test_the_second_key_is_what_stands_at_the_top_of_the_record(raw: bytes, found: bytes | None) -> None:
    read = second_key_reader("InteractionId")
    assert read([raw]) == [found]
    assert read([raw, raw]) == [found, found]


def test_records_that_look_alike_at_first_are_looked_at_each() -> None:
    read = second_key_reader("InteractionId")
    for pair in product(LIKE, repeat=2):
        assert read(pair) == [read([raw])[0] for raw in pair], pair


def test_the_second_key_may_lie_deeper() -> None:
    read = second_key_reader("a.b")
    assert read([b'{"b":"no","a":{"b":"x"}}', b'{"a":7}', b'{"b":"no"}']) == [b"x", None, None]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=60), st.integers(1, 8))
def test_those_that_share_it_under_another_key_are_counted(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]], at_once: int
) -> None:
    keys = defaultdict(set)
    for key, second in pairs:
        keys[second].add(key)
    expected = sum(len(keys[second]) > 1 for _, second in pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_keys, "AT_ONCE", at_once)
        patch.setattr(second_keys, "NOTED", 4)
        counting = SecondKeys(lambda raws: list(map(bytes, raws)), tmp_path_factory.getbasetemp())
        rows: list[Row] = [(START, str(key), "", b"%d" % second) for key, second in pairs]
        chunks = [rows[:7], rows[7:]]
        assert list(counting.through(chunks)) == chunks
        assert counting.shared() == expected
        counting.close()


def test_a_disk_that_is_full_when_they_are_counted_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """What was noted last leaves its buffer only then."""
    counting = SecondKeys(lambda raws: list(map(bytes, raws)), tmp_path)
    counting.note([[(START, "1", "", b"1"), (START, "2", "", b"1")]])
    with Path("/dev/full").open("w+b") as full:
        counting._file = full
        with pytest.raises(StorageError, match="No space left on device; see that there is space"):
            counting.shared()
        counting.close()


def counted(world: World) -> dict[str, int]:
    """By the lines themselves, for each partition."""
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in map(orjson.loads, harvested(world.out)):
        keys[one["StartedDateTimeUtc"][:10], one["InteractionId"]].add(one["_id"])
    found: dict[str, int] = defaultdict(int)
    for (day, _), ids in keys.items():
        found[day] += len(ids) if len(ids) > 1 else 0
    return found


def told(world: World) -> dict[str, int]:
    said = manifest(world.out)
    by_day = {one["partition"]: one["second_key_shared"] for one in said["partitions"]}
    assert said["second_key_shared"] == sum(by_day.values())
    return by_day


@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_the_manifest_counts_them_and_all_are_there(tmp_path: Path, resolution: Resolution) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([{"versions": 0.1}, {"duplicates": 0.1}])
        assert (await world.run(resolution=resolution)).exit_code == 0
        assert not world.difference()
        assert told(world) == counted(world)
        assert min(told(world).values()) > 10

    live(tmp_path, story, records=300, twins=0.1)


def test_the_count_is_the_same_however_the_partition_grew(tmp_path: Path) -> None:
    """In two spans, the second in the middle of a shard, and with a run that was stopped."""

    async def story(world: World) -> None:
        output: dict[str, Any] = {"shard_bytes": 60_000}
        await world.run(span=hours(0, 20), output=output)
        part = told(world)

        async def stop(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() > 25)
            harvest.drain("signal")

        await world.run(output=output, with_harvest=stop, transport={"concurrency": 1})
        assert (await world.run(output=output)).exit_code == 0
        assert told(world) == counted(world)
        assert part["2024-01-01"] <= told(world)["2024-01-01"]
        assert len(manifest(world.out)["shards"]) > 10

    live(tmp_path, story, records=300, twins=0.1, latency_ms=1)


def test_what_no_record_has_and_what_nobody_declares_is_not_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        span = Span(start=START, end=START + timedelta(hours=12))
        await world.run(span=span, select={"fields": ["AgentId"]})
        assert "second_key_shared" not in manifest(world.out) | manifest(world.out)["partitions"][0]
        world.out = tmp_path / "messages"
        await world.run(span=span, dialect="messages")
        assert "second_key_shared" not in manifest(world.out) | manifest(world.out)["partitions"][0]

    live(tmp_path, story, records=100)


def test_a_day_without_a_record_shares_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(span=Span(start=START + DAY, end=START + 4 * DAY), resolution=Resolution.DAY)
        assert manifest(world.out)["second_key_shared"] == 0

    live(tmp_path, story, records=60, beyond=0)


def test_it_is_not_part_of_what_an_output_was_made_for() -> None:
    """An output that an earlier version began goes on."""
    one = dialects.load("interactions")
    assert one.second_keys is not None
    record = one.declaration.record
    assert record is not None
    without = replace(one.declaration, record=replace(record, second_key=None))
    assert dialects.Dialect.of("interactions", without).digest == one.digest
