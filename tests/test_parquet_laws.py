"""Tables are held to the laws of the lines: whatever happens on the way, at the end they have the bytes of an
output that nothing happened to.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import StorageError
from harvester.ledger import Ledger
from harvester.rebuild import rebuild
from harvester.shards.disk import Disk
from harvester.verify import verify
from harvester.windows import Resolution, Span
from tests.harvesting import World, hours, live, manifest, untouched
from tests.test_rebuild import lose_ledger
from tests.test_repair import DAMAGES, Killed, generations, repair, shards_of
from tests.zstd import zstd

TABLES: dict[str, Any] = {"output": {"format": "parquet", "shard_bytes": 60_000}}
RECORDS = 240


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"

    async def story(world: World) -> None:
        assert (await world.run(**TABLES)).exit_code == 0

    live(out.parent, story, records=RECORDS)
    return out


def contents(out: Path) -> list[tuple[str, str]]:
    """Partition and SHA-256 of each shard, in order. Tables of a whole partition that were made again, for a
    column that a later span has widened, have names of their own (as of any later generation)."""
    return [(shard["partition"], shard["sha256"]) for shard in manifest(out)["shards"]]


def begun(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the whole output."""
    return Path(shutil.copytree(undisturbed, tmp_path / "out"))


def test_a_ledger_that_was_lost_is_restored_from_tables_and_asks_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    out = begun(undisturbed, tmp_path)

    async def story(world: World) -> None:
        lose_ledger(out)
        with untouched(out):
            rebuilt = rebuild(out)
            assert (rebuilt.open, rebuilt.damaged, rebuilt.foreign) == ([], [], [])
            outcome = await world.run(**TABLES)
        assert (outcome.exit_code, world.requests()) == (0, 0)
        assert verify(out).is_good

    live(tmp_path, story, records=RECORDS)


@pytest.mark.parametrize("first", [hours(0, 30), hours(3.25, 30.4)])
@pytest.mark.parametrize("resolution", [Resolution.HOUR, Resolution.AUTO])
def test_a_partition_that_was_begun_grows_from_the_lines_beside_its_tables_where_the_ledger_was_lost(
    undisturbed: Path, tmp_path: Path, first: Span, resolution: Resolution
) -> None:
    async def story(world: World) -> None:
        assert (await world.run(span=first, resolution=resolution, **TABLES)).exit_code == 0
        lose_ledger(world.out)
        assert not rebuild(world.out).damaged
        kept = {path.name for path in (world.out / "_harvest/staging").glob("kept-*")}
        assert kept
        assert (await world.run(resolution=resolution, **TABLES)).exit_code == 0
        assert contents(world.out) == contents(undisturbed)
        assert verify(world.out).is_good

    live(tmp_path, story, records=RECORDS)


def test_lines_that_are_not_a_tables_own_are_not_taken_for_them(undisturbed: Path, tmp_path: Path) -> None:
    """As many records and bytes, and one digit another: the records are taken from the table."""

    async def story(world: World) -> None:
        assert (await world.run(span=hours(0, 30), **TABLES)).exit_code == 0
        for path in (world.out / "_harvest/staging").glob("*.jsonl.zst"):
            content = zstd.decompress(path.read_bytes())
            other = content.replace(b'"TenantId":2', b'"TenantId":3', 1)
            assert other != content
            path.write_bytes(zstd.compress(other))
        lose_ledger(world.out)
        rebuild(world.out)
        assert not list((world.out / "_harvest/staging").glob("kept-*"))
        assert (await world.run(**TABLES)).exit_code == 0
        assert contents(world.out) == contents(undisturbed)

    live(tmp_path, story, records=RECORDS)


@pytest.mark.parametrize("is_rebuilt", [False, True])
@pytest.mark.parametrize("damage", DAMAGES[:3])
def test_a_damaged_table_is_fetched_again(
    undisturbed: Path, tmp_path: Path, damage: Callable[[Path], None], is_rebuilt: bool
) -> None:
    out = begun(undisturbed, tmp_path)

    async def story(world: World) -> None:
        hit = shards_of(out, "2024-01-02")[1]
        damage(hit)
        assert hit.relative_to(out).as_posix() in {one.subject for one in verify(out).differences}
        if is_rebuilt:
            lose_ledger(out)
            assert rebuild(out, repair=True).damaged == ["2024-01-02"]
        outcome = await repair(world, **TABLES)
        assert outcome.exit_code == 0, outcome.error
        assert generations(out) == {"2024-01-01": 1, "2024-01-02": 2}
        assert contents(out) == contents(undisturbed)
        assert verify(out).is_good

    live(tmp_path, story, records=RECORDS)


@pytest.mark.parametrize("damage", DAMAGES[:3])
@pytest.mark.parametrize("name", ["*.parquet", "*.jsonl.zst"])
def test_a_partition_that_was_begun_is_repaired_whether_its_tables_or_its_lines_are_damaged(
    undisturbed: Path, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    async def story(world: World) -> None:
        first = {**TABLES, "span": hours(0, 30)}
        assert (await world.run(**first)).exit_code == 0
        folder = world.out / ("dt=2024-01-02" if name == "*.parquet" else "_harvest/staging")
        damage(min(folder.glob(name)))
        outcome = await repair(world, **TABLES)
        assert outcome.exit_code == 0, outcome.error
        assert contents(world.out) == contents(undisturbed)
        assert verify(world.out).is_good

    live(tmp_path, story, records=RECORDS)


@pytest.mark.parametrize(
    "spans",
    [
        [hours(0, 24), hours(24, 48)],
        [hours(24, 48), hours(0, 24)],
        [hours(20, 30), hours(0, 22), hours(28, 48)],
    ],
)
def test_runs_add_up(undisturbed: Path, tmp_path: Path, spans: list[Span]) -> None:
    async def story(world: World) -> None:
        for span in spans:
            assert (await world.run(span=span, **TABLES)).exit_code == 0
            assert verify(world.out).is_good
        assert contents(world.out) == contents(undisturbed)
        assert not list((world.out / "_harvest/staging").iterdir())

    live(tmp_path, story, records=RECORDS)


@pytest.mark.parametrize("method", ["write", "close_durably", "replace", "link", "sync_folder"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_run_that_ends_at_any_moment_is_completed(
    undisturbed: Path, tmp_path: Path, method: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a part of an earlier run; `scripts/crash-sweep` kills at every call."""
    usual = getattr(Disk, method)
    met = 0
    fatal = 0

    def meeting(*values: Any) -> Any:
        nonlocal met
        met += 1
        if met == fatal:
            raise Killed
        return usual(*values)

    async def story(world: World) -> None:
        nonlocal met, fatal
        monkeypatch.setattr(Disk, method, meeting)
        await world.run(span=hours(3, 30), out=tmp_path / "counted", **TABLES)
        met = 0
        await world.run(out=tmp_path / "counted", **TABLES)
        calls = met
        await world.run(span=hours(3, 30), **TABLES)
        met, fatal = 0, max(1, round(share * calls))
        with pytest.raises((Killed, BaseExceptionGroup)):
            await world.run(**TABLES)
        monkeypatch.setattr(Disk, method, usual)
        assert (await world.run(**TABLES)).exit_code == 0
        assert contents(world.out) == contents(undisturbed)
        assert verify(world.out).is_good
        assert not list((world.out / "_harvest/staging").iterdir())

    live(tmp_path, story, records=RECORDS)


@pytest.mark.parametrize("method", ["drop_lines", "forget_garbage"])
def test_lines_that_a_failing_ledger_did_not_let_go_are_gone_after_the_next_run(
    undisturbed: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is published and told by then, so the next run has nothing else to do."""

    def failing(self: Ledger, *values: Any) -> None:
        raise StorageError("ledger.sqlite: disk I/O error; run again")

    async def story(world: World) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, method, failing)
            assert (await world.run(**TABLES)).exit_code == 7
        asked = world.requests()
        with untouched(world.out):
            assert (await world.run(**TABLES)).exit_code == 0
        assert world.requests() == asked
        assert not list((world.out / "_harvest/staging").iterdir())
        assert contents(world.out) == contents(undisturbed)
        assert verify(world.out).is_good

    live(tmp_path, story, records=RECORDS)
