"""The ledger's tables: an older one is read as it is and upgraded by the next run, a newer one is left."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from anyio import from_thread

from harvester import windows
from harvester.errors import StorageError
from harvester.events import Event, ShardSealed
from harvester.ledger import SCHEMA_VERSION, Ledger, home_of, read_status, schema
from harvester.scheduler import Harvest, planning
from harvester.verify import verify
from harvester.windows import Span
from tests.harvesting import SPAN, World, digests, hours, live, manifest
from tests.old_ledgers import FOLDER, VERSIONS, make_older, version_of


def span_of(told: dict[str, Any]) -> Span:
    return Span(start=datetime.fromisoformat(told["start"]), end=datetime.fromisoformat(told["end"]))


def tables(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return [(name, "".join(sql.split())) for name, sql in rows]


def test_there_is_a_ledger_of_every_version_before_this_one() -> None:
    assert list(range(1, SCHEMA_VERSION)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_steps_still_make_the_tables_that_were_released(tmp_path: Path, version: int) -> None:
    released, made = tmp_path / "released", tmp_path / "made"
    with closing(sqlite3.connect(released)) as db:
        db.executescript((FOLDER / f"version-{version}.sql").read_text())
    with closing(sqlite3.connect(made)) as db:
        for step in schema.STEPS[:version]:
            db.executescript(step)
    assert tables(made) == tables(released)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_ledger_is_looked_at_unchanged_and_upgraded_by_the_next_run(
    tmp_path: Path, version: int
) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run(span=hours(0, 30))
        before = read_status(world.out)
        make_older(world.out, version)
        path = home_of(world.out) / "ledger.sqlite"
        content = path.read_bytes()
        looked = read_status(world.out)
        assert (looked.spans, looked.partitions, looked.windows_done) == (
            before.spans,
            before.partitions,
            before.windows_done,
        )
        assert verify(world.out).is_good
        assert path.read_bytes() == content
        assert (await world.run()).exit_code == 0
        assert version_of(world.out) == SCHEMA_VERSION
        assert digests(world.out) == digests(tmp_path / "clean")

    live(tmp_path, story, records=100)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_ledger_that_a_kill_left_with_its_log_is_looked_at_unchanged(
    tmp_path: Path, version: int
) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(0, 30))
        make_older(world.out, version)
        path = home_of(world.out) / "ledger.sqlite"
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("INSERT INTO meta VALUES ('learned.rate', '7.5')")
            db.commit()
            content, log = path.read_bytes(), path.with_name("ledger.sqlite-wal").read_bytes()
            assert log
            assert read_status(world.out).learned["rate"] == 7.5
            assert (path.read_bytes(), path.with_name("ledger.sqlite-wal").read_bytes()) == (content, log)

    live(tmp_path, story, records=60)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_ledger_is_refused_with_the_way_out_and_left_alone(tmp_path: Path, read_only: bool) -> None:
    home = home_of(tmp_path)
    home.mkdir()
    with Ledger(home):
        pass
    path = home / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    content = path.read_bytes()
    with (
        pytest.raises(StorageError, match=r"ledger\.sqlite: made by a newer version.*Use that version"),
        Ledger(home, read_only=read_only),
    ):
        pass
    assert path.read_bytes() == content


def test_a_step_that_fails_leaves_the_ledger_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of(tmp_path)
    home.mkdir()
    with Ledger(home):
        pass
    before = tables(home / "ledger.sqlite")
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "CREATE TABLE more (a); CREATE TABLE meta (a)"))
    with pytest.raises(StorageError), Ledger(home):
        pass
    assert tables(home / "ledger.sqlite") == before
    assert version_of(tmp_path) == SCHEMA_VERSION


def test_a_manifest_calls_nothing_proven_that_is_only_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that goes by it would miss the records and believe that there were none."""
    monkeypatch.setattr(planning, "LOT_WINDOWS", 1)

    async def story(world: World) -> None:
        output = {"shard_bytes": 20_000, "partition_by": "month"}
        harvest = Harvest(world.job(output=output), emit=lambda event: cut_short(event))

        def cut_short(event: Event) -> None:
            if isinstance(event, ShardSealed):  # told in the thread that stores
                from_thread.run_sync(harvest.cancel)

        outcome = await harvest.run()
        assert outcome.exit_code == 75
        staged = read_status(world.out)
        assert staged.staged_partitions
        assert staged.windows_done > 0
        told = manifest(world.out)
        assert told["records"] == 0
        assert [gap["start"] for gap in told["gaps"] if "not yet published" in gap["error"]]
        proven = windows.subtract(SPAN, [span_of(gap) for gap in told["gaps"]])
        assert proven == []
        assert (await world.run(output=output)).exit_code == 0
        assert manifest(world.out)["gaps"] == []
        assert not world.difference()

    live(tmp_path, story, records=300)
