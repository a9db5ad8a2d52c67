"""The soak itself, a campaign long: what it starts ends exact, and what is wrong does not escape it."""

import json
import random
import urllib.request
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from harvester.testing.faults import KINDS
from tests.soak import mischief
from tests.soak.__main__ import MOST, judged
from tests.soak.campaigns import Campaigns, Score
from tests.soak.long_run import GROWTH_MIB, WARM_S, LongRun
from tests.soak.mischief import NOW_AND_THEN, Fault
from tests.soak.processes import Server, Usage, serving


async def _campaign(folder: Path, stages: tuple[int, ...], faults: tuple[Fault, ...]) -> Score:
    async with serving("--records", "600", "--start", "2024-01-01", "--end", "2024-01-07") as server:
        campaigns = Campaigns(server, folder, rng=random.Random(3), stages=stages, faults=faults)
        with anyio.fail_after(120):
            await campaigns.one()
        return campaigns.score


def test_a_campaign_with_its_faults_on_ends_exact(tmp_path: Path) -> None:
    quick = tuple(fault for fault in NOW_AND_THEN if not {"hang_s", "drip", "rate"} & set(fault))
    score = anyio.run(_campaign, tmp_path, (1, 2), quick)
    assert score.wrong == []
    assert score.stages == 2
    assert score.records > 100


def test_a_server_that_is_out_of_reach_as_it_was_told_is_asked_again() -> None:
    def harvest(server: Server) -> None:
        asked = {"StartDateTime": "2024-01-01T00:00:00Z", "EndDateTime": "2024-01-02T00:00:00Z", "Limit": 1}
        headers = {"Authorization": f"apikey {server.token}", "Content-Type": "application/json"}
        url = f"{server.url}/reporting/api/v1/interaction/details"
        with pytest.raises(OSError):
            urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), headers))

    async def story() -> dict[str, int]:
        async with serving("--records", "50") as server:
            await server.set_faults([{"refuse_s": 1.0}])
            await to_thread.run_sync(harvest, server)
            struck: dict[str, int] = (await server.stats())["by_fault"]
        return struck

    assert anyio.run(story) == {"refuse_s": 1}


def test_a_server_that_hides_records_is_found_out(tmp_path: Path) -> None:
    score = anyio.run(_campaign, tmp_path, (1,), ({"data": "empty", "share": 0.5},))
    assert any("missing" in one for one in score.wrong)


def test_a_run_that_grows_is_found_out(tmp_path: Path) -> None:
    server = Server(1, {"url": "http://127.0.0.1:9", "token": "t"})
    for name, growing, wrong in (
        ("still", Usage(50, 20, 8), []),
        ("memory", Usage(50 + 2 * GROWTH_MIB, 20, 8), ["resident memory, MiB,"]),
        ("files", Usage(50, 30, 8), ["open files"]),
        ("threads", Usage(50, 20, 18), ["threads"]),
    ):
        (tmp_path / name).mkdir()
        run = LongRun(server, tmp_path / name, seconds=1)
        run.samples = [(WARM_S + at_s, Usage(50, 20, 8) if at_s < 30 else growing) for at_s in range(60)]
        assert [what for what, growth, limit in run.growth() if growth > limit] == wrong


def test_every_switch_of_the_simulator_is_on_or_left_out_for_a_reason() -> None:
    words = {
        f"{name}={value}" if isinstance(kind.value, tuple) else name
        for name, kind in KINDS.items()
        for value in (kind.value if isinstance(kind.value, tuple) else [""])
    }
    on = mischief.switched_on() | {"ends=inclusive"}  # that is how it is without a switch
    left_out = {
        word for word in words if word in mischief.LEFT_OUT or word.split("=")[0] in mischief.LEFT_OUT
    }
    assert words - on - left_out == set()
    assert on & left_out == set()


def test_a_nature_is_drawn_so_that_each_comes_by_and_none_contradicts_another() -> None:
    rng = random.Random(1)
    drawn = [mischief.nature(rng) for _ in range(600)]
    assert all(len({next(iter(fault)) for fault in one}) == len(one) for one in drawn)
    met = {next(iter(fault)) for one in drawn for fault in one}
    assert met == {next(iter(fault)) for fault in (*mischief._TOGETHER, *mischief._ALONE)}


def test_the_judgement_names_what_was_held_too_much_and_what_never_struck(tmp_path: Path) -> None:
    run = LongRun(Server(1, {"url": "http://127.0.0.1:9", "token": "t"}), tmp_path, seconds=1)
    run.records = 10
    score = Score(stages=1, records=10, most=Usage(100, 20, 10))
    all_struck = [{next(iter(fault)): 1 for fault in NOW_AND_THEN}]
    assert judged(run, score, all_struck, minutes=60, seed=1)["wrong"] == []
    (wrong,) = judged(run, score, [{}], minutes=60, seed=1)["wrong"]
    assert "never struck" in wrong
    score.most = Usage(MOST.rss_mib + 1, 20, 10)
    (wrong,) = judged(run, score, all_struck, minutes=60, seed=1)["wrong"]
    assert "MiB" in wrong
    run.records = 0
    assert len(judged(run, score, all_struck, minutes=60, seed=1)["wrong"]) == 2
