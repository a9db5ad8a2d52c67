"""Killed anywhere: at the first call of each sort here, at all of them in scripts/crash-sweep."""

from pathlib import Path

import pytest

from harvester.ledger import Ledger, home_of
from tests.disks.runs import swept
from tests.harvesting import World, hours, live


@pytest.mark.parametrize(
    ("story", "options", "least"),
    [
        # in both runs: manifest, `_SUCCESS` and shards, before and in the middle of a write, and named
        ("plain", ["--kind", "link,rename,write"], 20),
        ("quarantine", ["--kind", "rename,write", "--place", "quarantine"], 6),
        ("parquet", ["--kind", "link,write", "--place", "parquet"], 6),
    ],
)
def test_a_run_that_is_killed_ends_with_the_bytes_of_one_that_was_not(
    story: str, options: list[str], least: int
) -> None:
    code, told = swept("tests.disks.crashing", ["--first", *options], story=story)
    assert (code, told["wrong"]) == (0, [])
    assert told["recovered"] == told["killed"] == told["points"] >= least


def test_so_does_the_command_as_a_user_starts_it() -> None:
    options = ["--by-command", "--recoveries", "0", "--first", "--kind", "rename", "--place", "_SUCCESS"]
    code, told = swept("tests.disks.crashing", options, story="plain")
    assert (code, told["wrong"]) == (0, [])
    assert told["recovered"] == told["killed"] == told["points"] == 2  # in both runs


def test_names_that_a_kill_left_half_given_are_gone_after_the_next_run(tmp_path: Path) -> None:
    """A shard that was being published when its run was killed, where the next run publishes other names; and
    an item that was being put aside.
    """

    async def story(world: World) -> None:
        assert (await world.run(span=hours(0, 30))).exit_code == 0
        shard = "dt=2024-01-02/part-00000-00000000.jsonl.zst"
        with Ledger(home_of(world.out)) as ledger, ledger._transaction() as db:
            db.executemany("INSERT INTO garbage VALUES (?)", [(shard,), (f"{shard}.tmp",)])
        (world.out / f"{shard}.tmp").write_bytes(b"half")
        item = home_of(world.out) / "quarantine" / "20240101T000000.000000Z.jsonl.tmp"
        item.parent.mkdir()
        item.write_bytes(b"half")
        assert (await world.run()).exit_code == 0
        assert [*world.out.rglob("*.tmp")] == []

    live(tmp_path, story, records=100)
