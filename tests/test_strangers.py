"""Files and folders of somebody else where an output has its own: none is replaced or removed, and what is in
the way is named with the way out.
"""

from pathlib import Path

import pytest

from harvester.verify import verify
from harvester.windows import Span
from tests.harvesting import World, digests, hours, live, untouched
from tests.test_repair import SMALL, repair, shards_of


@pytest.mark.parametrize("name", ["_SUCCESS", "_SUCCESS.tmp", "_manifest.json.tmp"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("ledger", ["none", "empty"])
def test_no_harvest_is_begun_over_files_that_have_the_names_of_ours(
    tmp_path: Path, name: str, kind: str, ledger: str
) -> None:
    async def story(world: World) -> None:
        strange = world.out / name
        world.out.mkdir()
        if kind == "file":
            strange.write_text("mine")
        elif kind == "folder":
            strange.mkdir()
        else:
            strange.symlink_to("nowhere")
        if ledger == "empty":
            (world.out / "_harvest").mkdir()
            (world.out / "_harvest/ledger.sqlite").touch()
        with untouched(world.out):
            outcome = await world.run()
        assert (outcome.exit_code, world.requests()) == (7, 0)
        assert f"{strange}: is not a file of ours" in (outcome.error or "")
        assert sorted(path.name for path in world.out.iterdir() if path.name != "_harvest") == [name]
        strange.rename(tmp_path / "elsewhere")
        assert (await world.run()).exit_code == 0

    live(tmp_path, story, records=60)


@pytest.mark.parametrize("span", [hours(0, 24), hours(0, 20)])
def test_a_name_on_the_way_to_which_somebody_elses_file_stands_is_not_taken(
    tmp_path: Path, span: Span
) -> None:
    """A whole partition's shard takes its other name; where that is barred too, the file is named."""

    async def story(world: World) -> None:
        await world.run(span=span, out=tmp_path / "clean")
        (sha256,) = digests(tmp_path / "clean").values()
        folder = world.out / "dt=2024-01-01"
        folder.mkdir(parents=True)
        plain = folder / "part-00000.jsonl.zst.tmp"
        barred = folder / f"part-00000-{sha256[:8]}.jsonl.zst.tmp"
        plain.write_text("mine")
        assert (await world.run(span=span)).exit_code == 0
        assert list(digests(world.out)) == [barred.relative_to(world.out).as_posix().removesuffix(".tmp")]
        assert plain.read_text() == "mine"
        other = tmp_path / "other"
        (other / "dt=2024-01-01").mkdir(parents=True)
        for stranger in (plain, barred):
            (other / stranger.relative_to(world.out)).write_text("mine")
        outcome = await world.run(span=span, out=other)
        assert (outcome.exit_code, outcome.status) == (7, "storage")
        assert f"{other / barred.relative_to(world.out)}: is not a file of this output" in (
            outcome.error or ""
        )
        assert sorted((path.name, path.read_text()) for path in (other / "dt=2024-01-01").iterdir()) == [
            (barred.name, "mine"),
            (plain.name, "mine"),
        ]
        (other / barred.relative_to(world.out)).unlink()
        assert (await world.run(span=span, out=other)).exit_code == 0
        assert list(digests(other).values()) == [sha256]

    live(tmp_path, story, records=60)


def test_a_file_beside_a_shard_that_is_replaced_stays(tmp_path: Path) -> None:
    """What another program calls the copy that it makes of a shard."""

    async def story(world: World) -> None:
        await world.run(span=hours(0, 10))
        (old,) = digests(world.out)
        strange = world.out / f"{old}.tmp"
        strange.write_text("mine")
        assert (await world.run()).exit_code == 0
        assert not (world.out / old).exists()
        assert strange.read_text() == "mine"
        assert not world.difference()
        assert [one.subject for one in verify(world.out).differences] == [f"{old}.tmp"]

    live(tmp_path, story, records=60)


def test_a_folder_in_the_place_of_a_shard_is_named_and_nothing_is_fetched_or_left(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL)
        wanted = digests(world.out)
        hit = shards_of(world.out, "2024-01-01")[1]
        hit.unlink()
        hit.mkdir()
        (hit / "notes").write_text("mine")
        asked = world.requests()
        for attempt in (world.run(output=SMALL), repair(world)):
            with untouched(world.out):
                outcome = await attempt
            assert (outcome.exit_code, world.requests()) == (7, asked)
            assert f"{hit}: is gone: a folder stands in its place" in (outcome.error or "")
            assert "Move the folder away, then run again with --repair" in (outcome.error or "")
        hit.rename(tmp_path / "elsewhere")
        assert (await repair(world)).exit_code == 0
        assert (digests(world.out), list(world.out.rglob("*.tmp"))) == (wanted, [])
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("name", ["_manifest.json.tmp", "_SUCCESS.tmp"])
def test_a_folder_where_a_file_is_to_be_made_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(0, 10))
        (world.out / name).mkdir()
        outcome = await world.run()
        assert outcome.exit_code == 7
        assert f"{world.out / name}: cannot write" in (outcome.error or "")
        assert "a folder stands in the place of a file: move it away, then run again" in (outcome.error or "")
        (world.out / name).rmdir()
        assert (await world.run()).exit_code == 0
        assert not world.difference()
        assert verify(world.out).is_good

    live(tmp_path, story, records=60)
