"""Runs that follow each other on one output: killed at random, stopped, resumed, extended, then begun anew in
a new folder, which must become the same bytes.

A campaign is one output that grows in stages. A stage is a span and the runs that it takes to end with exit
code 0; then the output is compared with the truth, record by record, and verified file by file.
"""

import random
import shutil
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from harvester.testing.truth import compare_output
from harvester.verify import verify
from tests.harvesting import digests
from tests.soak import mischief
from tests.soak.processes import Run, Server, Usage

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
DAYS: Final = 6
"""Of data; the stages end after these days."""
STAGES: Final = (2, 3, 6)
RUNS_A_STAGE: Final = 25
"""More in a row that do not end with 0 are a failure: each of them brings the output on."""
_HONEST: Final = {3: "gaps", 5: "refused", 10: "time budget", 75: "stopped"}
"""Exit codes after which one may run again. 5 is one where the token changed before the first request."""

JOB: Final = """
[source]
dialect = "interactions"
base_url = "{url}"
token_file = "{token}"
[span]
start = 2024-01-01
end = 2024-01-02
resolution = "{resolution}"
[fetch]
page_size = 20
concurrency = 6
{rate}
request_timeout_s = 3.0
max_outage_s = 20.0
[output]
url = "out"
shard_bytes = {shard_bytes}
"""


@dataclass(slots=True)
class Score:
    """What the campaigns have been through."""

    runs: int = 0
    killed: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    stages: int = 0
    records: int = 0
    """Compared with the truth, over all stages."""
    most: Usage = field(default_factory=Usage)
    wrong: list[str] = field(default_factory=list)


class Campaigns:
    def __init__(
        self,
        server: Server,
        folder: Path,
        *,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        stages: tuple[int, ...] = STAGES,
        faults: Sequence[mischief.Fault] = (
            *mischief.ODD_RECORDS,
            *mischief.NOW_AND_THEN,
            *mischief.DAMAGED_NOW_AND_THEN,
        ),
    ) -> None:
        self._server = server
        self._folder = folder
        self._rng = rng
        self._sleep = sleep
        self._stages = stages
        self._faults = faults
        self._wanted: dict[int, dict[str, str]] = {}
        """SHA-256 of each shard after each stage, as the first campaign left them."""
        self._nature: list[mischief.Fault] = []
        self._number = 0
        self._run: Run | None = None
        self.score = Score()
        self._token = folder / "token"
        self._token.write_text(server.token)
        self._job = folder / "job.toml"
        self._job.write_text(
            JOB.format(url=server.url, token=self._token, resolution="Hour", rate="", shard_bytes=400_000)
        )

    async def one(self) -> None:
        """A campaign from nothing to its last stage."""
        out = self._folder / f"out-{self._number}"
        self._number += 1
        for days in self._stages:
            if not await self._stage(out, days):
                return
        await to_thread.run_sync(shutil.rmtree, out)

    async def _stage(self, out: Path, days: int) -> bool:
        self._nature = mischief.nature(self._rng)
        await self._server.set_faults([*self._faults, *self._nature])
        end = START + timedelta(days=days)
        for _ in range(RUNS_A_STAGE):
            code = await self._attempt(out, end)
            if code == 0:
                await self._server.stats()  # a run may end while an outage has just begun
                return await to_thread.run_sync(self._is_exact, out, days)
            if code is not None and code not in _HONEST:
                assert self._run is not None
                self.score.wrong.append(
                    f"{out.name}, {days} days: exit {code}; {self._nature}: {self._run.told}; "
                    f"{self._run.last_words}"
                )
                return False
        self.score.wrong.append(f"{out.name}, {days} days: no end after {RUNS_A_STAGE} runs; {self._nature}")
        return False

    async def _attempt(self, out: Path, end: datetime) -> int | None:
        """One run, perhaps disturbed; its exit code, None where it was killed."""
        rng, score = self._rng, self.score
        arguments = [str(self._job), "--out", str(out), "--end", end.isoformat(), "--quiet"]
        arguments += ["--resolution", rng.choice(["Hour", "Auto", "Auto", "QuarterHour", "Day"])]
        arguments += ["--set", f"fetch.page_size={rng.choice([20, 20, 50])}"]
        if rng.random() < 0.5:  # else it is learned
            arguments += ["--set", "fetch.requests_per_second=40"]
        fate = rng.choices(["kill", "stop", "budget", "token", "outage", "none"], [5, 1, 1, 1, 1, 2])[0]
        after_s = rng.uniform(0.3, 4.5)
        if fate == "budget":
            arguments += ["--max-duration", f"{after_s:.2f}"]
        run = self._run = Run(arguments, self._folder / "log")
        async with anyio.create_task_group() as group:
            group.start_soon(self._disturb, run, fate, after_s, name="disturb")
            group.start_soon(self._watch, run, name="watch")
            await run.finish()
            group.cancel_scope.cancel()
        score.runs += 1
        score.killed += run.exit_code is None
        score.ends["killed" if run.exit_code is None else _HONEST.get(run.exit_code, str(run.exit_code))] += 1
        return run.exit_code

    async def _disturb(self, run: Run, fate: str, after_s: float) -> None:
        await self._sleep(after_s)
        match fate:
            case "kill":
                run.signal(signal.SIGKILL)
            case "stop":
                run.signal(signal.SIGTERM)
                await self._sleep(self._rng.uniform(0.1, 3.0))
                run.signal(signal.SIGTERM)
            case "token":
                with anyio.CancelScope(shield=True):  # half a change would lock every later run out
                    token = f"token-{self._rng.getrandbits(64):x}"
                    await self._server.set_token(token)
                    await self._sleep(0.5)
                    self._token.write_text(token)
            case "outage":
                await self._server.set_faults([*self._faults, *self._nature, *mischief.outage()])

    async def _watch(self, run: Run) -> None:
        while True:
            self.score.most = self.score.most.most(run.usage())
            await self._sleep(0.5)

    def _is_exact(self, out: Path, days: int) -> bool:
        score = self.score
        asked = {"start": START.isoformat(), "end": (START + timedelta(days=days)).isoformat()}
        difference = compare_output(out, self._server.url, **asked)
        verdict = verify(out)
        found = digests(out)
        wanted = self._wanted.setdefault(days, found)
        score.stages += 1
        score.records += difference.records
        if difference:
            score.wrong.append(f"{out.name}, {days} days: {difference}; {self._nature}")
        if not verdict.is_good or not verdict.complete:
            score.wrong.append(f"{out.name}, {days} days: verify: {verdict.differences[:5]}")
        if _sums(found) != _sums(wanted):
            score.wrong.append(
                f"{out.name}, {days} days: other bytes than the first campaign's; {self._nature}"
            )
        return not score.wrong


def _sums(of_paths: dict[str, str]) -> list[str]:
    """Digests in the order of partitions and numbers; how the names end depends on how often a partition was
    replaced.
    """
    head = len("dt=2024-01-01/part-00000")
    return [sha256 for _, sha256 in sorted((path[:head], sha256) for path, sha256 in of_paths.items())]
