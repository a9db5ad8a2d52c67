"""Shards that hold something else, a manifest damaged beside them, and outputs without manifest and ledger:
what is named, and that the way out leads to the output of an undisturbed run.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import ConfigError, VerificationFailed
from harvester.ledger import home_of
from harvester.rebuild import rebuild
from harvester.verify import verify
from tests.harvesting import DAY, SPAN, START, World, digests, hours, live, manifest, untouched
from tests.test_rebuild import lose_ledger
from tests.test_repair import SMALL, repair, shards_of
from tests.test_witnesses import MANIFEST, change, is_exact, named, unfinished


def test_files_that_changed_places_blame_nobody_else_and_are_fetched_again(tmp_path: Path) -> None:
    """Each holds good records in good order, and none that belong there."""

    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        for lost in (False, True):
            await world.run(output=SMALL)
            first, second = shards_of(world.out, "2024-01-01")[0], shards_of(world.out, "2024-01-02")[0]
            held = first.read_bytes()
            first.write_bytes(second.read_bytes())
            second.write_bytes(held)
            (world.out / MANIFEST).touch()
            verdict = verify(world.out)
            assert {one.kind for one in verdict.differences} <= {"sha256", "size", "count"}
            subjects = {one.subject for one in verdict.differences}
            assert {path.relative_to(world.out).as_posix() for path in (first, second)} <= subjects
            assert verdict.records == 300 - records_of(world.out, first) - records_of(world.out, second)
            if lost:
                lose_ledger(world.out)
                assert "rebuild-ledger" in (verify(world.out).way_out or "")
                assert rebuild(world.out, repair=True).damaged == ["2024-01-01", "2024-01-02"]
                assert (await world.run(output=SMALL)).exit_code == 0
            else:
                assert "--repair" in (verdict.way_out or "")
                assert (await repair(world)).exit_code == 0
            assert is_exact(world)

    live(tmp_path, story, records=300)


def records_of(out: Path, path: Path) -> int:
    (records,) = [one["records"] for one in manifest(out)["shards"] if out / one["path"] == path]
    return int(records)


def test_a_copy_of_a_shard_in_another_s_place_is_mended_without_a_ledger(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        await world.run(output=SMALL)
        first, second = shards_of(world.out, "2024-01-01")[:2]
        shutil.copy(first, second)
        lose_ledger(world.out)
        with pytest.raises(VerificationFailed, match=r"have their partitions fetched again: .*--repair`"):
            rebuild(world.out)
        assert rebuild(world.out, repair=True).damaged == ["2024-01-01"]
        assert (await world.run(output=SMALL)).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("ledger_is_lost", [False, True])
def test_a_damaged_manifest_hides_no_damaged_file(tmp_path: Path, ledger_is_lost: bool) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        await world.run(output=SMALL)
        hit = shards_of(world.out, "2024-01-02")[0]
        hit.unlink()
        change(world.out, lambda told: told.update(records=1))
        if ledger_is_lost:
            lose_ledger(world.out)
        assert {MANIFEST, hit.relative_to(world.out).as_posix()} <= set(named(world.out))
        if ledger_is_lost:
            assert verify(world.out).way_out is None
            return
        assert "run JOB.toml --repair" in (verify(world.out).way_out or "")
        assert (await repair(world)).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("0" * 64)])
@pytest.mark.parametrize("ledger_is_lost", [False, True])
def test_success_is_written_again_where_the_manifest_proves_itself(
    tmp_path: Path, spoil: Callable[[Path], None], ledger_is_lost: bool
) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        await world.run()
        asked = world.requests()
        spoil(world.out / "_SUCCESS")
        assert "run the job again" in named(world.out)["_SUCCESS"]
        if ledger_is_lost:
            lose_ledger(world.out)
            rebuild(world.out)
        assert (await world.run()).exit_code == 0
        assert is_exact(world)
        assert world.requests() == asked

    live(tmp_path, story, records=60)


def test_a_success_beside_gaps_goes_with_the_next_run_although_it_has_nothing_to_ask(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        (world.out / "_SUCCESS").write_text("0" * 64)
        assert "run the job again" in named(world.out)["_SUCCESS"]
        assert (await world.run(span=hours(0, 24))).exit_code == 0
        assert not (world.out / "_SUCCESS").exists()
        assert verify(world.out).is_good

    live(tmp_path, story, records=100)


# --- neither manifest nor ledger


def lose_both(out: Path, how: str) -> None:
    lose_ledger(out)
    if how == "none":
        (out / MANIFEST).unlink()
    elif how == "no json":
        (out / MANIFEST).write_bytes(b"{")
    else:
        change(out, lambda told: told["spans"][0].update(end="2024-01-02T23:00:00.000Z"))
    if how == "no home":
        (out / MANIFEST).unlink()
        shutil.rmtree(home_of(out))


@pytest.mark.parametrize("how", ["none", "no json", "changed", "no home"])
def test_shards_without_manifest_and_ledger_are_told_to_prove_nothing_and_a_new_folder_is_the_way_out(
    tmp_path: Path, how: str
) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        lose_both(world.out, how)
        way_out = f"move {world.out} away, or choose another output.url, and run the job again"
        with untouched(world.out):
            assert way_out in named(world.out)[MANIFEST]
            for force in (False, True):
                with pytest.raises(VerificationFailed) as refused:
                    rebuild(world.out, force=force)
                assert way_out in str(refused.value)
        world.out.rename(tmp_path / "moved")
        assert (await world.run()).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=100)


def test_a_run_where_both_were_lost_asks_for_everything_and_removes_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await unfinished(world)
        lose_both(world.out, "none")
        old = {path.relative_to(world.out).as_posix(): path.read_bytes() for path in world.out.glob("dt=*/*")}
        assert (await world.run()).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")
        assert {path: (world.out / path).read_bytes() for path in old} == old
        left = {one.subject: one for one in verify(world.out).differences}
        assert {*left} == {*old} - {*digests(world.out)}
        assert all(one.kind == "foreign" and "move it away" in one.detail for one in left.values())
        for path in left:
            (world.out / path).unlink()
        assert is_exact(world)

    live(tmp_path, story, records=100)


def test_a_folder_in_which_no_run_has_told_anything_is_no_output(tmp_path: Path) -> None:
    for name in ("dt=2024-01-01/another.csv", "dt=x/part-00000.jsonl", "_harvest/contract.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for ask in (verify, rebuild):
        with pytest.raises(ConfigError):
            ask(tmp_path)


# --- the manifest of another output


ANOTHER: dict[str, dict[str, Any]] = {
    "another job": {"output": {**SMALL, "shard_bytes": 30_000}},
    "a job of gzip": {"output": {**SMALL, "compression": "gzip"}},
    "the same job over a part": {"output": SMALL, "span": hours(7, 30)},
    "the same job over more": {"output": {**SMALL}, "span": hours(-24, 30)},
}


@pytest.mark.parametrize("other", ANOTHER.values(), ids=ANOTHER)
@pytest.mark.parametrize("is_complete", [True, False])
def test_a_manifest_of_another_output_blames_no_ledger_and_goes(
    tmp_path: Path, other: dict[str, Any], is_complete: bool
) -> None:
    async def story(world: World) -> None:
        out = world.out
        await world.run(output=SMALL, out=tmp_path / "clean")
        assert (await world.run(out=tmp_path / "another", **other)).exit_code == 0
        await world.run(output=SMALL, span=SPAN if is_complete else hours(0, 29))
        shutil.copy(tmp_path / "another" / MANIFEST, out)
        asked, way_out = world.requests(), f"move {MANIFEST} away, and run the job again"
        with untouched(out):
            for run in (world.run, partial(repair, world)):
                refused = await run(output=SMALL)
                assert refused.exit_code == 7
                assert way_out in (refused.error or "")
                assert "rebuild-ledger" not in (refused.error or "")
            assert way_out in named(out)[MANIFEST]
            assert not [subject for subject, detail in named(out).items() if "rebuild" in detail]
            for force in (False, True):
                with pytest.raises(VerificationFailed, match=way_out):
                    rebuild(out, force=force, repair=force)
        (out / MANIFEST).rename(tmp_path / "aside")
        if is_complete:
            assert (await world.run(output=SMALL)).exit_code == 0
            assert world.requests() == asked
        assert (await world.run(output=SMALL)).exit_code == 0
        assert is_exact(world)

    live(tmp_path, story, records=300, start=START - DAY)


def test_a_ledger_of_another_output_is_still_the_one_that_goes(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        await world.run(output=SMALL)
        for number, other in enumerate(ANOTHER.values()):
            another = tmp_path / f"another-{number}"
            assert (await world.run(out=another, **other)).exit_code == 0
            shutil.copy(home_of(another) / "ledger.sqlite", home_of(world.out))
            stranger = world.out / "dt=2024-01-01/part-00099.jsonl.zst"
            stranger.write_text("named like a shard, and unknown to either")
            refused = await world.run(output=SMALL)
            assert f"rebuild-ledger {world.out} --force" in (refused.error or "")
            rebuild(world.out, force=True)
            stranger.unlink()
            assert (await world.run(output=SMALL)).exit_code == 0
            assert is_exact(world)

    live(tmp_path, story, records=300, start=START - DAY)


def test_an_older_ledger_beside_lost_files_is_not_believed(tmp_path: Path) -> None:
    """What it has forgotten would be asked for by nobody, so the manifest is the better witness."""

    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        await world.run(output=SMALL, span=hours(0, 30))
        shutil.copytree(world.out, tmp_path / "older")
        await world.run(output=SMALL)
        shutil.copy(home_of(tmp_path / "older") / "ledger.sqlite", home_of(world.out))
        for path in shards_of(world.out, "2024-01-02"):
            path.unlink()
        for path in shards_of(tmp_path / "older", "2024-01-02"):
            shutil.copy(path, world.out / "dt=2024-01-02")
        refused = await world.run(output=SMALL)
        assert f"rebuild-ledger {world.out} --force" in (refused.error or "")
        rebuild(world.out, force=True, repair=True)
        assert (await world.run(output=SMALL)).exit_code == 0
        assert digests(world.out) == digests(tmp_path / "clean")

    live(tmp_path, story, records=300)


def test_no_ledger_is_made_of_a_manifest_that_knows_none_of_the_shards(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, out=tmp_path / "clean")
        await world.run(output=SMALL)
        await world.run(out=tmp_path / "another", **ANOTHER["a job of gzip"])
        shutil.copy(tmp_path / "another" / MANIFEST, world.out)
        lose_ledger(world.out)
        for wants_repair in (False, True):
            with untouched(world.out), pytest.raises(VerificationFailed, match=f"move {world.out} away"):
                rebuild(world.out, repair=wants_repair)

    live(tmp_path, story, records=300)
