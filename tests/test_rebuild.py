"""rebuild-ledger: what manifest and shards prove is restored, nothing else is, and the next run goes on."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import ConfigError, Locked, StorageError, VerificationFailed
from harvester.ledger import Lock, home_of, read_status
from harvester.rebuild import rebuild
from harvester.scheduler import Harvest
from harvester.verify import verify
from harvester.windows import Resolution
from tests.harvesting import START, HastyClock, World, digests, hours, live, manifest, untouched
from tests.test_harvest import POISON
from tests.test_repair import DAMAGES, SMALL, Killed, flip, shards_of, windows_asked

LEDGER = "ledger.sqlite"
GAP: dict[str, str] = {
    "start": "2024-01-01T03:00:00.000Z",
    "end": "2024-01-01T04:00:00.000Z",
    "error": "ServerFailed: 500",
}


def lose_ledger(out: Path) -> None:
    for path in home_of(out).glob(f"{LEDGER}*"):
        path.unlink()


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"output": {**SMALL, "partition_by": "month"}},
        {"output": {"compression": "gzip"}, "resolution": Resolution.AUTO},
        {"time_zone": "America/New_York", "span": hours(5, 47)},
        {"output": {"compression": "none"}, "span": hours(3.25, 21.5)},
    ],
    ids=["days", "month", "auto", "zone", "part of a day"],
)
def test_a_complete_output_is_restored_whole_and_asks_nothing(tmp_path: Path, job: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        await world.run(**job)
        before, asked = read_status(world.out), world.requests()
        lose_ledger(world.out)
        with untouched(world.out):
            rebuilt = rebuild(world.out)
            assert (rebuilt.open, rebuilt.damaged, rebuilt.foreign, rebuilt.kept) == ([], [], [], None)
            outcome = await world.run(**job)
        assert (outcome.exit_code, world.requests()) == (0, asked)
        after = read_status(world.out)
        assert (after.spans, after.records, after.partitions, after.complete, after.job) == (
            before.spans,
            before.records,
            before.partitions,
            True,
            before.job,
        )
        assert verify(world.out).is_good

    live(tmp_path, story, records=200)


def test_gaps_are_filled_and_nothing_else_is_asked(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        world.simulator.set_faults([POISON])
        await world.run(transport={"max_attempts": 2})
        told = manifest(world.out)
        before = read_status(world.out)
        lose_ledger(world.out)
        rebuilt = rebuild(world.out)
        assert [(span.start, span.end) for span in rebuilt.open] == [
            (START + timedelta(hours=30), START + timedelta(hours=31))
        ]
        after = read_status(world.out)
        assert (after.gaps, after.records) == (before.gaps, before.records)
        world.simulator.set_faults([])
        windows_asked(world)
        assert (await world.run()).exit_code == 0
        assert windows_asked(world) == {START + timedelta(hours=30)}
        assert digests(world.out) == digests(tmp_path / "clean")
        assert [one["generation"] for one in manifest(world.out)["partitions"]] == [1, 2]
        assert told["gaps"]

    live(tmp_path, story, records=300)


def test_a_partly_filled_partition_is_completed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        await world.run(output=SMALL, span=hours(3, 30))
        lose_ledger(world.out)
        assert rebuild(world.out).open == []
        windows_asked(world)
        assert (await world.run(output=SMALL)).exit_code == 0
        assert windows_asked(world) == {START + timedelta(hours=hour) for hour in [*range(3), *range(30, 48)]}
        assert digests(world.out) == digests(tmp_path / "clean")
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


def test_a_window_that_was_not_over_stays_provisional(tmp_path: Path) -> None:
    class Earlier(HastyClock):
        def now(self) -> datetime:
            return datetime(2024, 1, 1, 12, 30, tzinfo=UTC)

    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await Harvest(world.job(), emit=world.hear, clock=Earlier()).run()
        before = read_status(world.out)
        assert before.gaps
        lose_ledger(world.out)
        rebuild(world.out)
        assert read_status(world.out).gaps == before.gaps
        assert (await world.run()).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")

    live(tmp_path, story, records=300)


def test_what_was_sealed_and_not_published_is_asked_again(tmp_path: Path) -> None:
    """The manifest of a run that was cut short: its staged shards are worth nothing without the ledger."""

    async def story(world: World) -> None:
        output = {**SMALL, "partition_by": "month"}
        await world.run(output=output, out=tmp_path / "clean")

        async def cut_short(harvest: Harvest) -> None:
            await world.until(lambda: world.windows_done() > 96)
            harvest.cancel()

        world.heard.clear()
        await world.run(output=output, span=hours(0, 20))
        await world.run(output=output, with_harvest=cut_short, transport={"concurrency": 1})
        lose_ledger(world.out)
        rebuilt = rebuild(world.out)
        assert [(span.start, span.end) for span in rebuilt.open] in (
            [],
            [(START + timedelta(hours=20), START + timedelta(hours=48))],
        )
        assert (await world.run(output=output)).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_shards_are_refused_and_named_or_marked_to_be_fetched_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted = digests(world.out)
        hit = shards_of(world.out, "2024-01-02")[0]
        damage(hit)
        lose_ledger(world.out)
        with untouched(world.out), pytest.raises(VerificationFailed, match=hit.name) as refused:
            rebuild(world.out)
        assert "--repair" in str(refused.value)
        assert not (home_of(world.out) / LEDGER).exists()
        rebuilt = rebuild(world.out, repair=True)
        assert rebuilt.damaged == ["2024-01-02"]
        windows_asked(world)
        assert (await world.run(output=SMALL)).exit_code == 0
        assert windows_asked(world) == {START + timedelta(hours=hour) for hour in range(24, 48)}
        assert digests(world.out) == wanted
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rebuild")

    async def story(world: World) -> None:
        await world.run(output=SMALL)

    live(folder, story, records=100)
    return folder / "out"


@pytest.fixture
def out(harvested: Path, tmp_path: Path) -> Path:
    return shutil.copytree(harvested, tmp_path / "out")


def test_a_good_ledger_is_replaced_only_by_force_and_kept_even_so(out: Path) -> None:
    path = home_of(out) / LEDGER
    content = path.read_bytes()
    with pytest.raises(StorageError, match="--force"):
        rebuild(out)
    assert path.read_bytes() == content
    assert rebuild(out, force=True).kept == "_harvest/ledger.sqlite.old-1"
    assert (home_of(out) / f"{LEDGER}.old-1").read_bytes() == content
    assert rebuild(out, force=True).kept == "_harvest/ledger.sqlite.old-2"
    assert read_status(out).complete
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_ledger_is_kept_beside_the_new_one_with_its_wal(out: Path) -> None:
    path = home_of(out) / LEDGER
    path.write_bytes(b"no database" * 1000)
    path.with_name(f"{LEDGER}-wal").write_bytes(b"stale")
    path.with_name(f"{LEDGER}-shm").write_bytes(b"stale")
    assert rebuild(out).kept == "_harvest/ledger.sqlite.old-1"
    assert (home_of(out) / f"{LEDGER}.old-1").read_bytes().startswith(b"no database")
    assert (home_of(out) / f"{LEDGER}.old-1-wal").read_bytes() == b"stale"
    assert sorted(one.name for one in home_of(out).glob(f"{LEDGER}*") if "old" not in one.name) == [LEDGER]
    assert read_status(out).complete


def test_a_run_at_work_is_not_disturbed(out: Path) -> None:
    (home_of(out) / LEDGER).unlink()
    with Lock(home_of(out)), pytest.raises(Locked):
        rebuild(out)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda out: (out / "_manifest.json").unlink(), "there is no manifest"),
        (lambda out: (out / "_manifest.json").write_bytes(b"{"), "is not a manifest"),
        (lambda out: flip(out / "_manifest.json"), "its digest differs|is not a manifest"),
        (
            lambda out: retold(out, lambda told: told["partitions"][0].update(complete=False)),
            r"does not agree with itself \(partitions\)",
        ),
        (
            lambda out: retold(out, lambda told: told["gaps"].append(GAP)),
            r"does not agree with itself \(partitions, complete\)|does not agree with itself \(complete",
        ),
        (
            lambda out: retold(out, lambda told: told["job"].update(fingerprint="0")),
            r"does not agree with itself \(job\)",
        ),
        (lambda out: retold(out, lambda told: told["job"].update(settings=3)), "cannot be understood"),
        (lambda out: retold(out, lambda told: told["shards"][0].update(path="../x")), "does not lie in"),
        (
            lambda out: retold(out, lambda told: told["shards"][0].update(partition="../x")),
            "cannot be underst",
        ),
        (lambda out: retold(out, lambda told: told["spans"][0].update(start="now")), "cannot be understood"),
        (lambda out: retold(out, lambda told: told["shards"][0].update(last="now")), "cannot be understood"),
    ],
)
def test_a_manifest_that_proves_nothing_is_refused_and_nothing_is_changed(
    out: Path, spoil: Callable[[Path], None], error: str
) -> None:
    (home_of(out) / LEDGER).unlink()
    spoil(out)
    with untouched(out), pytest.raises(VerificationFailed, match=error) as refused:
        rebuild(out)
    assert str(out) in str(refused.value)
    assert not (home_of(out) / LEDGER).exists()


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"no ledger" * 500), Path.unlink])
def test_without_manifest_and_ledger_the_way_out_is_told_and_is_one(
    out: Path, spoil: Callable[[Path], None]
) -> None:
    """ "Run again" and "rebuild the ledger" would each point to the other."""
    (out / "_manifest.json").unlink()
    spoil(home_of(out) / LEDGER)
    with pytest.raises(VerificationFailed, match=r"there is no manifest.*Bring _manifest.json or _h") as told:
        rebuild(out)
    assert f"move {out} away, or choose another output.url, and run the job again" in str(told.value)
    assert "rebuild-ledger" not in str(told.value)


def test_without_a_manifest_a_good_ledger_is_the_way_out(out: Path) -> None:
    (out / "_manifest.json").unlink()
    with pytest.raises(VerificationFailed, match="run the job again to write the manifest anew"):
        rebuild(out)


def retold(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from tests.test_verify import tell

    told = manifest(out)
    change(told)
    tell(out, told)


def test_no_output_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing here"):
        rebuild(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no harvest was begun"):
        rebuild(tmp_path)


def test_a_copy_for_readers_becomes_an_output_that_can_grow(out: Path) -> None:
    shutil.rmtree(out / "_harvest")
    rebuild(out)
    assert read_status(out).complete
    assert verify(out).is_good


def test_somebody_elses_file_and_leftovers_are_named(out: Path) -> None:
    (home_of(out) / LEDGER).unlink()
    (out / "dt=2024-01-01" / "strange").write_text("mine")
    (home_of(out) / "staging" / "00000009-00000.jsonl.zst").write_text("cut short")
    rebuilt = rebuild(out)
    assert rebuilt.foreign == ["dt=2024-01-01/strange"]
    assert rebuilt.staged == ["00000009-00000.jsonl.zst"]


@pytest.mark.parametrize("step", ["link", "sync_folder", "remove"])
def test_killed_while_it_moves_ledgers_it_can_be_run_again(
    out: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harvester.shards.disk import Disk

    (home_of(out) / LEDGER).write_bytes(b"damaged" * 100)
    whole = getattr(Disk, step)
    for fatal in range(1, 6):
        calls = 0

        def killed(self: Disk, *values: Any, fatal: int = fatal) -> Any:
            nonlocal calls
            calls += 1
            if calls == fatal:
                raise Killed
            return whole(self, *values)

        with monkeypatch.context() as patch:
            patch.setattr(Disk, step, killed)
            try:
                rebuild(out, force=True)
            except Killed:
                pass
        assert not (home_of(out) / LEDGER).exists() or _is_one_of_both(home_of(out) / LEDGER)
    rebuild(out, force=True)
    assert read_status(out).complete
    assert verify(out).is_good


def _is_one_of_both(path: Path) -> bool:
    return path.read_bytes().startswith((b"damaged", b"SQLite format 3"))
