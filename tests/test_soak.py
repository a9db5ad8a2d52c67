"""The soak itself, a campaign long: what it starts ends exact, and what is wrong does not escape it."""

import random
from pathlib import Path

import anyio

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
