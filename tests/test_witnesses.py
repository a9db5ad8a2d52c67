"""Manifest, `_SUCCESS` and ledger vouch for each other: what one of them lost, or has otherwise, is named,
and the way out that is told leads to the output of an undisturbed run.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from harvester.errors import HarvesterError, StorageError, VerificationFailed
from harvester.events import ManifestChanged
from harvester.ledger import home_of
from harvester.output import Manifest, Standing, read_told
from harvester.output.manifest import digest_holds
from harvester.rebuild import rebuild
from harvester.verify import verify
from tests.harvesting import World, digests, hours, live, manifest, untouched
from tests.test_harvest import POISON
from tests.test_rebuild import lose_ledger

MANIFEST = "_manifest.json"
Told = dict[str, Any]
MOVED = ("2024-01-02T12:00:00.000Z", "2024-01-02T13:00:00.000Z")
"""The gap that POISON leaves, as a flipped bit would have it: another hour of the same day."""


async def unfinished(world: World) -> None:
    """Two days of which an hour failed; the fault is over."""
    await world.run(out=world.out.parent / "clean")
    world.simulator.set_faults([POISON])
    assert (await world.run(transport={"max_attempts": 2})).exit_code == 3
    world.simulator.set_faults([])


def is_exact(world: World, out: Path | None = None) -> bool:
    verdict = verify(out or world.out)
    return (
        verdict.is_good
        and verdict.complete
        and digests(out or world.out) == digests(world.out.parent / "clean")
    )


def change(out: Path, edit: Callable[[Told], object]) -> None:
    """As the file was written but for what `edit` does; `_SUCCESS` stays."""
    told = manifest(out)
    edit(told)
    (out / MANIFEST).write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def move_gap(told: Told) -> None:
    told["gaps"][0].update(zip(("start", "end"), MOVED, strict=True))
    told["gaps"].sort(key=lambda gap: gap["start"])


def named(out: Path) -> dict[str, str]:
    return {one.subject: one.detail for one in verify(out).differences}


def in_ledger(out: Path, statement: str) -> None:
    with closing(sqlite3.connect(home_of(out) / "ledger.sqlite")) as db, db:
        assert db.execute(statement).rowcount > 0


def test_no_bit_of_a_manifest_can_flip_without_its_digest_telling(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        content = bytearray((world.out / MANIFEST).read_bytes())
        assert read_told(world.out).standing is Standing.SOUND
        for place, bit in product(range(len(content)), range(8)):
            content[place] ^= 1 << bit
            try:
                told = msgspec.json.decode(content, type=Manifest)
            except (msgspec.MsgspecError, ValueError):
                told = None
            assert told is None or not digest_holds(told, bytes(content)), (place, bit)
            content[place] ^= 1 << bit

    live(tmp_path, story, records=60)


def test_a_gap_that_moved_is_named_and_the_next_run_writes_the_manifest_anew(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        whole = manifest(world.out)
        change(world.out, move_gap)
        assert "(its digest differs); run the job again" in named(world.out)[MANIFEST]
        with pytest.raises(VerificationFailed, match="the ledger can be read: run the job again"):
            rebuild(world.out, force=True)
        world.simulator.set_faults([POISON])
        assert (await world.run(transport={"max_attempts": 2})).exit_code == 3
        assert manifest(world.out)["gaps"] == whole["gaps"]
        world.simulator.set_faults([])
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300)


def test_a_gap_that_moved_is_never_believed_where_the_ledger_is_lost(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        change(world.out, move_gap)
        lose_ledger(world.out)
        way_out = f"move {world.out} away, or choose another output.url, and run the job again"
        with untouched(world.out):
            assert way_out in named(world.out)[MANIFEST]
            for repairing in (False, True):
                with pytest.raises(VerificationFailed, match="its digest differs") as refused:
                    rebuild(world.out, repair=repairing, force=True)
                assert way_out in str(refused.value)
            outcome = await world.run()
            assert outcome.exit_code == 7
            assert way_out in (outcome.error or "")
            assert "rebuild-ledger" not in (outcome.error or "")
        world.out.rename(tmp_path / "moved")
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300)


def test_of_an_earlier_version_s_manifest_no_gap_is_believed_either(tmp_path: Path) -> None:
    """It has no digest: what it does not call complete is asked for again whole."""

    async def story(world: World) -> None:
        await unfinished(world)

        def of_then(told: Told) -> None:
            del told["digest"]
            move_gap(told)

        change(world.out, of_then)
        assert read_told(world.out).standing is Standing.UNVOUCHED
        lose_ledger(world.out)
        rebuilt = rebuild(world.out)
        assert rebuilt.doubted == ["2024-01-02"]
        assert [(span.start, span.end) for span in rebuilt.open] == [(hours(24, 48).start, hours(24, 48).end)]
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300)


def test_an_earlier_version_s_output_is_good_as_it_is_and_gets_its_digest_with_the_next_run(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        change(world.out, lambda told: told.pop("digest"))
        verdict = verify(world.out)
        assert (verdict.differences, verdict.notes) == (
            [],
            ["the manifest has no digest, as in earlier versions"],
        )
        assert (await world.run()).exit_code == 0
        assert read_told(world.out).standing is Standing.SOUND
        assert is_exact(world)

    live(tmp_path, story, records=300)


@pytest.mark.parametrize(
    "edit",
    [
        lambda told: told["shards"][0].update(path="dt=2024-01-01/part-00010.jsonl.zst"),
        lambda told: told["shards"][0].update(sha256="0" * 64),
        lambda told: told["spans"][0].update(end="2024-01-04T00:00:00.000Z"),
        lambda told: told["partitions"][1].update(generation=3),
        lambda told: told.update(complete=False),
        lambda told: told["job"].update(settings=3),
        lambda told: told.pop("gaps"),
    ],
    ids=["path", "sha256", "span", "generation", "complete", "settings", "no gaps"],
)
def test_a_finished_manifest_that_was_changed_blames_no_ledger_and_one_run_mends_it(
    tmp_path: Path, edit: Callable[[Told], object]
) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run()
        whole, asked = manifest(world.out), world.requests()
        for with_digest in (True, False):
            change(world.out, edit)
            if not with_digest:  # as an earlier version would have left it: `_SUCCESS` tells
                change(world.out, lambda told: told.pop("digest"))
            assert set(named(world.out)) == {MANIFEST}
            with pytest.raises(HarvesterError, match="run the job again"):
                rebuild(world.out)
            world.heard.clear()
            assert (await world.run()).exit_code == 0
            (told,) = [event for event in world.heard if isinstance(event, ManifestChanged)]
            assert MANIFEST in told.detail
            assert manifest(world.out) == whole
            assert is_exact(world)
        assert world.requests() == asked

    live(tmp_path, story, records=100)


def test_a_manifest_of_another_version_is_refused_by_all_that_would_go_by_it_and_stays(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run()
        change(world.out, lambda told: told.update(format_version=9))
        for ledger_there in (True, False):
            if not ledger_there:
                lose_ledger(world.out)
            with untouched(world.out):
                outcome = await world.run(span=hours(0, 60))
                told = [(outcome.exit_code, outcome.error or "")]
                for ask in (verify, rebuild, lambda out: rebuild(out, force=True, repair=True)):
                    with pytest.raises(StorageError) as refused:
                        ask(world.out)
                    told.append((refused.value.exit_code, str(refused.value)))
            for code, text in told:
                assert code == 7
                assert "format_version 9; this one knows 1" in text
                assert "Use that version" in text

    live(tmp_path, story, records=60)


def test_a_damaged_version_number_is_mended_as_the_message_says(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run()
        change(world.out, lambda told: told.update(format_version=9))
        (world.out / MANIFEST).rename(tmp_path / "moved away")
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=60)


@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        ("UPDATE windows SET state = 'done', error = NULL WHERE state = 'failed'", "gaps"),
        ("DELETE FROM windows WHERE state <> 'done'", None),  # it is asked for all the same
        ("UPDATE builds SET generation = generation - 1 WHERE partition = '2024-01-02'", "dt=2024-01-02"),
        ("UPDATE shards SET records = records + 1", "dt=2024-01-01"),
        ("UPDATE meta SET value = replace(value, 'simulator', 'simulatos') WHERE key = 'job'", "job"),
        ("UPDATE meta SET value = replace(value, 'Started', 'Ended') WHERE key = 'reading'", "job"),
        ("DELETE FROM spans", "spans"),
    ],
    ids=["window", "failure", "generation", "shards", "job", "reading", "span"],
)
def test_a_ledger_that_cannot_have_become_so_is_named_and_nothing_is_built_on_it(
    tmp_path: Path, statement: str, subject: str | None
) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        in_ledger(world.out, statement)
        if subject is not None:
            assert "`harvester rebuild-ledger" in named(world.out)[subject]
            with untouched(world.out):
                outcome = await world.run()
            assert outcome.exit_code == 7
            assert f"harvester rebuild-ledger {world.out} --force" in (outcome.error or "")
            rebuild(world.out, force=True)
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300)


def test_a_ledger_that_went_on_since_the_manifest_is_told_by_the_next_run(tmp_path: Path) -> None:
    """As after a kill: both are right, and the manifest is older."""

    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run(span=hours(0, 30))
        older = {name: (world.out / name).read_bytes() for name in (MANIFEST, "_SUCCESS")}
        await world.run()
        for name, content in older.items():
            (world.out / name).write_bytes(content)
        told = {one.subject: one.detail for one in verify(world.out).differences if one.kind == "ledger"}
        assert {*told} == {"spans", "dt=2024-01-02"}
        assert all("run the job again" in detail for detail in told.values())
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=200)


def test_what_a_ledger_took_back_is_asked_for_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run()
        in_ledger(world.out, "UPDATE windows SET state = 'provisional' WHERE start = 1704067200000000")
        assert "no longer in the ledger; run the job again" in named(world.out)["gaps"]
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=200)


def test_a_ledger_whose_job_names_no_zone_does_not_blame_the_manifest(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run()
        in_ledger(world.out, """UPDATE meta SET value = replace(value, '"UTC"', '"UTB"') WHERE key = 'job'""")
        assert "rebuild-ledger" in named(world.out)["job"]
        assert MANIFEST not in named(world.out)
        assert (await world.run()).exit_code == 7
        rebuild(world.out, force=True)
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=60)
