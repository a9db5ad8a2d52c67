"""Two programs on one output, and copies of it: one writer, any number of readers, each copy goes on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from harvester import events
from harvester.ledger import read_status
from harvester.rebuild import rebuild
from harvester.scheduler import Harvest
from harvester.verify import verify
from harvester.verify.verdict import Verdict
from tests.harvesting import HastyClock, World, digests, hours, live, manifest
from tests.test_repair import SMALL


async def repaired(world: World, out: Path, **other: Any) -> Any:
    return await Harvest(world.job(out=out, **other), clock=HastyClock(), repair=True).run()


def test_a_second_run_ends_with_8_and_the_first_is_not_disturbed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean")
        (tmp_path / "job.toml").write_text(
            f'[source]\nbase_url = "{world.simulator.url}"\n[span]\nstart = 2024-01-01\nend = 2024-01-03\n'
            f'[fetch]\npage_size = 100\nmax_outage_s = 100\n[output]\nurl = "{world.out}"\n'
        )
        command = [sys.executable, "-m", "harvester", "run", str(tmp_path / "job.toml")]
        environment = {**os.environ, "HARVESTER_TOKEN": world.simulator.token}
        world.simulator.stats.reset()
        world.simulator.set_faults(
            [{"status": 503, "retry_after": 1}]
        )  # and waits until the second has ended
        async with await anyio.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as first:
            for _ in range(1200):  # it holds the lock before it asks for anything
                if world.requests():
                    break
                await anyio.sleep(0.05)
            second = await anyio.run_process(command, check=False, env=environment)
            assert second.returncode == 8
            assert b"another run holds this output; wait for it to end" in second.stdout
            assert first.returncode is None
            world.simulator.set_faults([])
            assert await first.wait() == 0
        assert not world.difference()
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


def test_readers_find_nothing_wrong_while_a_run_replaces_what_they_read(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=SMALL, span=hours(0, 20))
        verdicts: list[Verdict] = []
        records: list[int] = []
        over, looked = anyio.Event(), anyio.Event()

        async def look() -> None:
            nonlocal looked
            while not over.is_set():
                verdicts.append(await to_thread.run_sync(verify, world.out))
                records.append((await to_thread.run_sync(read_status, world.out)).records)
                looked.set()
                looked = anyio.Event()
                await anyio.lowlevel.checkpoint()

        async def grow() -> None:
            for end in range(21, 49, 3):
                await world.run(output=SMALL, span=hours(0, end))
                await looked.wait()  # at each state once at the least
            over.set()

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            group.start_soon(grow)
        assert len(verdicts) >= len(range(21, 49, 3))
        assert [one.differences for one in verdicts if not one.is_good] == []
        assert records == sorted(records)

    live(tmp_path, story, records=300)


def test_a_copy_at_rest_asks_nothing_and_grows_by_itself(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(span=hours(0, 30))
        copy = tmp_path / "copy"
        await anyio.run_process(["cp", "-a", str(world.out), str(copy)])
        asked = world.requests()
        assert (await world.run(out=copy, span=hours(0, 30))).exit_code == 0
        assert world.requests() == asked
        assert (await world.run(out=copy)).exit_code == 0
        assert (await world.run()).exit_code == 0
        assert digests(copy) == digests(world.out)
        assert verify(copy).is_good
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_copy_by_hard_links_keeps_what_it_had_and_grows_by_itself(tmp_path: Path, is_killed: bool) -> None:
    """Also where a killed run has left a log beside the ledger."""

    async def story(world: World) -> None:
        await world.run(out=tmp_path / "clean", output=SMALL)
        await world.run(output=SMALL, span=hours(0, 30))
        if is_killed:
            await kill_in_the_middle(world)
        copy = tmp_path / "copy"
        await anyio.run_process(["cp", "-al", str(world.out), str(copy)])
        before, then = tree(copy), read_status(copy)
        assert ("_harvest/ledger.sqlite-wal" in before) == is_killed
        assert (await world.run(output=SMALL)).exit_code == 0
        assert (tree(copy), read_status(copy)) == (before, then)
        assert (await world.run(out=copy, output=SMALL)).exit_code == 0
        for out in (world.out, copy):
            assert digests(out) == digests(tmp_path / "clean")
            assert verify(out).is_good

    live(tmp_path, story, records=300)


async def kill_in_the_middle(world: World) -> None:
    """What a run leaves that is killed when its third shard is sealed takes the place of the output."""
    left, seen = world.out.with_name("left"), 0

    def look(event: events.Event) -> None:
        nonlocal seen
        seen += isinstance(event, events.ShardSealed)
        if seen == 3 and not left.exists():
            shutil.copytree(world.out, left)

    await Harvest(world.job(output=SMALL), emit=look, clock=HastyClock()).run()
    shutil.rmtree(world.out)
    left.rename(world.out)


def tree(out: Path) -> dict[str, bytes]:
    """Without the memory that readers of a log share, which says nothing."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.mark.parametrize(
    ("after", "nth", "order"),
    [
        (events.WindowDone, 5, "ledger first"),
        (events.ShardSealed, 1, "ledger last"),
        (events.ShardSealed, 3, "ledger first"),
        (events.PartitionPublished, 1, "ledger first"),
        (events.PartitionPublished, 1, "ledger last"),
    ],
)
def test_a_copy_made_in_the_middle_of_a_run_goes_on_and_ends_exact(
    tmp_path: Path, after: type[events.Event], nth: int, order: str
) -> None:
    """`cp -a` takes the files in any order, while they change; a shard that came too late is repaired."""

    async def story(world: World) -> None:
        await world.run(output=SMALL, span=hours(3, 30))
        copy = tmp_path / "copy"
        seen = 0

        def copied(event: events.Event) -> None:
            nonlocal seen
            seen += isinstance(event, after)
            if seen == nth and not copy.exists():
                copy_in_parts(world.out, copy, ledger_first=order == "ledger first")

        harvest = Harvest(world.job(output=SMALL), emit=copied, clock=HastyClock())
        assert (await harvest.run()).exit_code == 0
        assert copy.exists()
        outcome = await world.run(out=copy, output=SMALL)
        if outcome.exit_code != 0:
            assert outcome.exit_code == 7
            if "rebuild-ledger" in (outcome.error or ""):
                rebuild(copy, force=True, repair=True)
            outcome = await repaired(world, copy, output=SMALL)
        assert outcome.exit_code == 0, outcome.error
        assert digests(copy) == digests(world.out)
        assert not [one for one in verify(copy).differences if one.kind != "foreign"]
        assert not world.difference(world.out)
        assert manifest(copy)["gaps"] == []

    live(tmp_path, story, records=300)


def copy_in_parts(out: Path, copy: Path, *, ledger_first: bool) -> None:
    """The folders one after the other, as cp walks them; the lock is not held in a copy."""
    copy.mkdir()
    parts = sorted(out.iterdir(), key=lambda path: (path.name != "_harvest") is ledger_first)
    for part in parts:
        subprocess.run(["cp", "-a", part, copy / part.name], check=True)


def test_a_copy_whose_ledger_was_copied_before_its_files_is_told_and_rebuilt(tmp_path: Path) -> None:
    """The manifest of the copy knows generations that its ledger does not."""

    async def story(world: World) -> None:
        await world.run(output=SMALL, span=hours(0, 20))
        earlier = tmp_path / "earlier"
        shutil.copytree(world.out / "_harvest", earlier)
        await world.run(output=SMALL)
        shutil.rmtree(world.out / "_harvest")
        shutil.copytree(earlier, world.out / "_harvest")
        outcome = await world.run(output=SMALL)
        assert outcome.exit_code == 7
        assert f"rebuild-ledger {world.out} --force" in (outcome.error or "")
        rebuild(world.out, force=True)
        asked = world.requests()
        assert (await world.run(output=SMALL)).exit_code == 0
        assert world.requests() == asked
        assert verify(world.out).is_good

    live(tmp_path, story, records=300)
