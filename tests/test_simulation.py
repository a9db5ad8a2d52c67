"""The whole of a harvest under a virtual clock, a thousand stories; scripts/simulate-sweep plays a hundred
thousand.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.windows import Resolution
from tests import virtual_time
from tests.simulation.__main__ import MEMORY
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.play import play
from tests.simulation.scenario import START, Episode, Record, Scenario, draw

SEEN_BY = {
    "a pause is not shared": 5,
    "the retry budget is off": 31,
    "the pace is off": 1,
    "no limit in flight": 0,
    "a slot is not returned": 5,
    "done before it is sealed": 11,
    "the first version wins": 0,
    "a short page is the end": 4,
    "ends are not widened": 4,
    "a window is over before its time": 29,
    "the server's clock is not asked": 143,
    "no anchor": 147,
    "shards are cut by arrival": 1,
    "staging is not swept": 11,
}
"""A seed whose story fails without that guard; `scripts/simulate-sweep --mutants` finds new ones."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: stories are many, and nothing here is about disks."""
    with tempfile.TemporaryDirectory(prefix="harvester-story-", dir=MEMORY) as scratch:
        yield Path(scratch)


def test_a_thousand_stories_end_as_they_must() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "1000"]
    played = subprocess.run(command, stdout=subprocess.PIPE, timeout=600, check=False)
    told = orjson.loads(played.stdout)
    assert told["wrong_seeds"] == []
    assert played.returncode == 0
    assert told["seeds"] == 1000
    assert told["crashes"] > 300
    assert {"complete", "gaps", "interrupted", "time_budget", "refused", "crashed"} <= set(told["ends"])


@pytest.mark.parametrize("seed", [4228, 17153])
def test_a_row_that_leaves_as_ties_change_places_takes_no_other_with_it(folder: Path, seed: int) -> None:
    """The record that the next page had to begin with stood where it was looked for, and before it another
    one that no page had shown."""
    assert not play(seed, folder / "story").wrong


def test_a_seed_tells_its_story_again_step_for_step(folder: Path) -> None:
    digests = set()
    for seed in range(24):
        one, two = play(seed, folder / "one"), play(seed, folder / "two")
        assert (one.digest, one.steps) == (two.digest, two.steps)
        digests.add(one.digest)
    assert len(digests) == 24


@pytest.mark.parametrize("name", MUTANTS)
def test_a_guard_that_is_taken_away_is_missed(folder: Path, name: str) -> None:
    seed = SEEN_BY[name]
    with mutated(name):
        assert play(seed, folder / "story").wrong
    assert not play(seed, folder / "story").wrong


def test_an_endless_round_in_no_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "MOST_TURNS", 1000)

    loop = virtual_time.VirtualTimeLoop()

    def round_and_round() -> None:
        loop.call_soon(round_and_round)

    round_and_round()
    with pytest.raises(RuntimeError, match="livelock"):
        loop.run_forever()
    loop.close()


# --- what stories have found


def a_story(*episodes: Episode, moments: tuple[float, ...] = (0.5, 1.5, 1.6, 2.5), **other: Any) -> Scenario:
    """Thirty hours, from midnight on, with records at these hours."""
    records = []
    for number, hour in enumerate(moments):
        ms = round((START.timestamp() + hour * 3600) * 1000)
        at = f"{START:%Y-%m}-{1 + int(hour // 24):02d}T{int(hour % 24):02d}:{int(hour % 1 * 60):02d}:00.000Z"
        raw = f'{{"_id":"{number:024x}","StartedDateTimeUtc":"{at}","RecordWrittenAtUtc":"{at}"}}'
        records.append(Record(ms, f"{number:024x}", at, raw.encode()))
    plain: dict[str, Any] = {
        "seed": 1,
        "records": records,
        "begins": draw(0).begins.replace(year=2025),
        "skew_s": 0.0,
        "resolution": Resolution.DAY,
        "ends": "inclusive",
        "order": "kept",
        "page_cap": 100,
        "page_size": 10,
        "concurrency": 1,
        "requests_per_second": 4.0,
        "max_attempts": 3,
        "max_outage_s": 5.0,
        "shard_bytes": 300,
        "compression": "none",
        "held_bytes": 1 << 20,
    }
    return Scenario(hours=30, episodes=list(episodes), **(plain | other))


def test_a_page_whose_order_could_not_be_proven_claims_nothing(folder: Path) -> None:
    """The server goes out of reach between a full page and the question whether its order is kept."""
    lost = Episode(hours=(0, 30), outages=((0.06, 1000.0),))
    story = a_story(lost, resolution=Resolution.AUTO, page_cap=3)
    report = play(1, folder / "story", scenario=story)
    assert report.wrong == []
    assert report.ends["gaps"] == 1


def test_a_run_that_finds_nothing_but_an_empty_day_ends_all_the_same(folder: Path) -> None:
    """The first run is stopped before the second day, which is empty; its manifest tells all but that."""
    report = play(1, folder / "story", scenario=a_story(Episode(hours=(0, 30), fate="drain", after_s=0.2)))
    assert report.wrong == []
    assert report.ends["interrupted"] == 1


def test_a_run_that_is_stopped_before_it_publishes_what_was_staged_is_not_complete(folder: Path) -> None:
    codes = set()
    for operation in range(1, 80):
        killed = Episode(hours=(0, 30), fate="crash at", operation=operation)
        stopped = Episode(hours=(0, 30), fate="drain")
        story = a_story(killed, stopped, moments=(0.5, 1.5, 2.5, 25.5, 26.5))
        report = play(1, folder / "story", scenario=story)
        assert report.wrong == [], operation
        codes |= set(report.ends)
    assert {"crashed", "interrupted", "complete"} <= codes


def test_a_slower_pace_does_not_begin_with_a_request_at_once(folder: Path) -> None:
    for seed in range(12):
        windy = Episode(hours=(0, 30), weather="throttling")
        story = a_story(windy, resolution=Resolution.HOUR, max_attempts=8, seed=seed)
        assert play(seed, folder / "story", scenario=story).wrong == []
