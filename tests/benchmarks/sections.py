"""The questions: each section makes its data, lets its contestants run in turn, and holds the result to
its goals."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Self

from tests.benchmarks.checks import Digests, Wrong
from tests.benchmarks.contestants import Contestant, Runs, Workshop
from tests.benchmarks.measure import clean, tail
from tests.benchmarks.rate import CELLS, JUDGED_S, measured_in_turn
from tests.benchmarks.server import Server, serving

EMPTY_START = datetime(2022, 1, 1, tzinfo=UTC)
"""The simulator's records begin two years later."""
SCRIPT = "60-line script, gzip 6"
FLOOR = "curl into zstd -1"
DISCARD = "aiohttp read, discard"
_LARGEST_MIB = {"hour windows, concurrency 6": 130, "hour windows, pages of 100": 90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    what: str
    found: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.found >= self.limit if self.at_least else self.found <= self.limit


@dataclass(slots=True, kw_only=True)
class Report:
    """What a section found. `units` of each contestant, called `unit`, were worked off in a run."""

    section: str
    title: str
    rows: list[Runs]
    unit: str = "record"
    units: dict[str, int] = field(default_factory=dict)
    against: list[str] = field(default_factory=list)
    """Rows that the others are compared with."""
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: list[tuple[str, ...]] = field(default_factory=list)
    """A table of what was counted and not measured, the head first; it stands in the place of `rows`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How the benchmark was asked to run."""

    folder: Path
    rounds: int
    scale: float
    only: Sequence[str]
    say: Callable[[str], None]

    def at_most(self, rounds: int) -> Self:
        """Where a run takes long and more of them would tell no more."""
        return replace(self, rounds=min(self.rounds, rounds))

    def scaled(self, count: int) -> int:
        return max(200, round(count * self.scale))

    def wanted(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Those whose names hold one of the words asked for."""
        return [one for one in contestants if not self.only or any(word in one.name for word in self.only)]

    @contextmanager
    def workshop(
        self, *, records: int, end: str, flags: Sequence[str] = (), runs: str = "runs"
    ) -> Iterator[Workshop]:
        """Against a simulator; two of them at a time need `runs` of different names."""
        with (
            serving(self.folder, records=self.scaled(records), end=end, flags=flags) as server,
            self.tools(server, runs) as shop,
        ):
            yield shop

    @contextmanager
    def tools(self, server: Server, runs: str) -> Iterator[Workshop]:
        folder = self.folder / runs
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield Workshop(server, folder, self.say)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def month(order: Order) -> list[Report]:
    """200,000 records of 3 KB over 30 days, hour windows, pages of 1000, concurrency 16."""
    with order.workshop(records=200_000, end="2024-01-31") as shop:
        bodies = shop.bodies(shop.server.start, shop.server.end)
        contestants = [
            shop.harvester("harvester, zstd"),
            shop.harvester("harvester, gzip", compression="gzip"),
            shop.harvester("harvester, plain", compression="none"),
            shop.script(SCRIPT),
            shop.script("60-line script, gzip 1", level=1),
            shop.discard(DISCARD, bodies),
        ]
        if shutil.which("curl") and shutil.which("zstd"):
            contestants += [shop.curl(FLOOR, bodies, "zstd -1 -q"), shop.curl("curl, discard", bodies, "")]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
        report = Report(
            section="month",
            title=f"{shop.server.records:,} records of 3 KB, 30 days, hour windows, pages of 1000, "
            f"concurrency 16, {len(bodies)} requests at least",
            rows=list(runs.values()),
            units=dict.fromkeys(runs, shop.server.records),
            against=[SCRIPT, FLOOR, DISCARD],
        )
    ours = runs.get("harvester, zstd")
    if ours and SCRIPT in runs:
        report.goals += [
            Goal(what="CPU against the 60-line script", found=ours.cpu_against(runs[SCRIPT]), limit=1.0),
            Goal(
                what="wall time against the 60-line script", found=ours.wall_against(runs[SCRIPT]), limit=1.0
            ),
        ]
    if ours:
        report.goals += _floors(ours, runs)
        report.goals.append(Goal(what="peak MiB", found=ours.peak_mib, limit=200))
    return [report]


def full_pages(order: Order) -> list[Report]:
    """300,000 records of 3 KB over 30 days in full pages of 1000, windows that size themselves."""
    with order.workshop(records=300_000, end="2024-01-31") as shop:
        bodies = shop.full_bodies(page_size=1000)
        contestants = [
            shop.harvester("harvester, zstd", resolution="Auto"),
            shop.discard(DISCARD, bodies),
        ]
        if shutil.which("curl") and shutil.which("zstd"):
            contestants += [shop.curl(FLOOR, bodies, "zstd -1 -q"), shop.curl("curl, discard", bodies, "")]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
        report = Report(
            section="full",
            title=f"{shop.server.records:,} records of 3 KB, 30 days, pages of 1000 that are full, "
            f"concurrency 16, {len(bodies)} requests of the others",
            rows=list(runs.values()),
            units=dict.fromkeys(runs, shop.server.records),
            against=[FLOOR, DISCARD],
        )
    ours = runs.get("harvester, zstd")
    if ours:
        report.goals += _floors(ours, runs)
        report.notes.append(f"{median(ours.requests):.0f} requests of harvester")
    return [report]


def _floors(ours: Runs, runs: dict[str, Runs]) -> list[Goal]:
    goals = [
        Goal(what=f"CPU against {name}", found=ours.cpu_against(runs[name]), limit=limit)
        for name, limit in ((FLOOR, 1.25), (DISCARD, 3.4))
        if name in runs
    ]
    overlap = median(cost.wall_s / cost.cpu_s for cost in ours.costs)
    goals.append(Goal(what="wall time against CPU, server and client on 2 cores", found=overlap, limit=0.65))
    return goals


def latency(order: Order) -> list[Report]:
    """200 ms in each answer, concurrency 16, the month of the first section; 3 rounds at most."""
    order = order.at_most(3)
    wait_s, concurrency = 0.2, 16
    with order.workshop(records=200_000, end="2024-01-31") as shop:

        def after(seconds: float) -> Callable[[], None]:
            return lambda: shop.server.delay(1000 * seconds)

        near, far = "harvester, no latency", "harvester, 200 ms"
        contestants = [
            shop.harvester(near, before=after(0)),
            shop.harvester(far, before=after(wait_s)),
            shop.script(f"{SCRIPT}, no latency", before=after(0)),
            shop.script(f"{SCRIPT}, 200 ms", before=after(wait_s)),
        ]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
        report = Report(
            section="latency",
            title=f"{shop.server.records:,} records, 30 days, hour windows, 200 ms in each answer",
            rows=list(runs.values()),
            units=dict.fromkeys(runs, shop.server.records),
        )
    if near in runs and far in runs:
        found = [
            with_it.wall_s / max(requests * wait_s / concurrency, without.wall_s)
            for with_it, without, requests in zip(
                runs[far].costs, runs[near].costs, runs[far].requests, strict=True
            )
        ]
        report.goals.append(
            Goal(
                what="wall with 200 ms against max(requests x latency / concurrency, wall without)",
                found=median(found),
                limit=1.3,
            )
        )
        report.notes.append(f"{median(runs[far].requests):.0f} requests, start of the process included")
    return [report]


def memory(order: Order) -> list[Report]:
    """Peak memory of what could swell: big windows, small pages, years of nothing; one round, after one."""
    order = order.at_most(1)
    reports = []
    with order.workshop(records=200_000, end="2024-01-31") as shop:
        year = EMPTY_START + timedelta(days=365)
        contestants = [
            shop.harvester("hour windows, concurrency 16"),
            shop.harvester("hour windows, concurrency 6", concurrency=6),
            shop.harvester("hour windows, pages of 100", page_size=100),
            shop.harvester("a year of empty hour windows", start=EMPTY_START, end=year),
        ]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
        units = dict.fromkeys(runs, shop.server.records)
        units["a year of empty hour windows"] = 0
        title = f"peak memory, {shop.server.records:,} records in 30 days"
        reports.append(Report(section="memory", title=title, rows=list(runs.values()), units=units))
    with order.workshop(records=800_000, end="2024-01-17", flags=["--rhythm", "flat"]) as shop:
        contestants = [
            shop.harvester("16 day windows of 50,000", resolution="Day"),
            shop.harvester(
                "4 day windows of 50,000", resolution="Day", end=shop.server.start + timedelta(days=4)
            ),
        ]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
        units = {contestants[0].name: shop.server.records, contestants[1].name: shop.server.records // 4}
        title = f"peak memory, day windows of {shop.server.records // 16:,} records, concurrency 16"
        reports.append(Report(section="memory", title=title, rows=list(runs.values()), units=units))
    for report in reports:
        report.goals = [
            Goal(what=f"peak MiB, {row.name}", found=row.peak_mib, limit=_LARGEST_MIB.get(row.name, 200))
            for row in report.rows
        ]
    return reports


def killed(order: Order) -> list[Report]:
    """Concurrency 1, concurrency 32 and a run killed five times end with the same bytes."""
    kills = 5
    with order.workshop(records=200_000, end="2024-01-31") as shop:
        found: dict[str, Digests] = {}
        for concurrency in (1, 32):
            one = shop.harvester("", concurrency=concurrency)
            place = shop.folder / f"concurrency-{concurrency}"
            _finish(shop, one, place)
            found[f"concurrency {concurrency}"] = shop.check(place / "out")
        one = shop.harvester("", concurrency=16)
        place = shop.folder / "killed"
        place.mkdir()
        command = one.command(place)
        asked = int(shop.server.stats()["requests"]) // (2 * kills + 2)  # of the run before, which did it all
        for number in range(kills):
            _kill(shop, command, place, asked=asked)
            shop.say(f"  kill {number + 1}: {_shards(place)} shards on disk")
        _finish(shop, one, place)
        found[f"killed {kills} times"] = shop.check(place / "out")
    same = len({tuple(sorted(digests.items())) for digests in found.values()})
    report = Report(
        section="killed",
        title=f"SHA-256 of every shard: {', '.join(found)}",
        rows=[],
        goals=[Goal(what="different outputs", found=same, limit=1)],
        notes=[f"{len(next(iter(found.values())))} shards"],
    )
    if same > 1:
        raise Wrong(f"the same job ended with different bytes: {found}")
    return [report]


def _finish(shop: Workshop, one: Contestant, place: Path) -> None:
    place.mkdir(exist_ok=True)
    with (place / "said").open("ab") as said:
        code = subprocess.call(one.command(place), stdout=said, stderr=said, env=clean(shop.server.environ))
    if code:
        raise Wrong(f"a run ended with {code}: {tail(place / 'said')}")


def _kill(shop: Workshop, command: Sequence[str], place: Path, *, asked: int) -> None:
    """Starts a run and kills it after so many requests."""
    shop.server.reset()
    with (place / "said").open("ab") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=clean(shop.server.environ))
    while process.poll() is None and shop.server.stats()["requests"] < asked:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise Wrong(
            f"the run ended with {process.returncode} before it could be killed: {tail(place / 'said')}"
        )


def _shards(place: Path) -> int:
    return len(list((place / "out").glob("dt=*/part-*")))


def empty(order: Order) -> list[Report]:
    """Windows with nothing in them: a year of hours."""
    end = EMPTY_START + timedelta(days=max(1, round(365 * order.scale)))
    hours = (end - EMPTY_START) // timedelta(hours=1)
    with order.workshop(records=200_000, end="2024-01-31") as shop:
        bodies = shop.bodies(EMPTY_START, end)
        ours = "harvester, empty windows"
        contestants = [
            shop.harvester(ours, start=EMPTY_START, end=end),
            shop.script(SCRIPT, EMPTY_START, end, records=0),
            shop.discard(DISCARD, bodies),
        ]
        runs = shop.in_turn(order.wanted(contestants), order.rounds)
    report = Report(
        section="empty",
        title=f"{hours:,} empty hour windows, concurrency 16",
        rows=list(runs.values()),
        unit="window",
        units=dict.fromkeys(runs, hours),
        against=[SCRIPT, DISCARD],
    )
    if ours in runs:
        report.goals.append(
            Goal(
                what="empty windows per second of CPU, start included",
                found=hours / runs[ours].cpu_s,
                limit=4000,
                at_least=True,
            )
        )
    return [report]


def rate(order: Order) -> list[Report]:
    """Of a server's R requests a second with burst b: how many are used, and how many answers are 429."""
    cells = [cell for cell in CELLS if not order.only or any(word in cell.name for word in order.only)]
    runs = order.folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir()
    report = Report(
        section="rate",
        title=f"a server that allows R requests a second with a burst of b, {JUDGED_S * order.scale:g} s",
        rows=[],
        counted=[("", "used", "goal", "429", "goal", "429s in the first 30 s")],
    )
    for found in measured_in_turn(cells, runs, scale=order.scale):
        cell = found.cell
        row = [cell.name, f"{found.used:.1%}", f"{cell.least_used:.0%}"]
        row += [f"{found.refused:.2%}", f"{cell.most_refused:.1%}"]
        report.counted.append((*row, "" if cell.is_told else f"{found.refused_before}"))
        order.say(f"  {', '.join(row)}")
        report.goals += [
            Goal(what=f"{cell.name}: used", found=found.used, limit=cell.least_used, at_least=True),
            Goal(what=f"{cell.name}: 429", found=found.refused, limit=cell.most_refused),
        ]
    shutil.rmtree(runs, ignore_errors=True)
    return [report]


SECTIONS: dict[str, Callable[[Order], list[Report]]] = {
    "month": month,
    "full": full_pages,
    "latency": latency,
    "memory": memory,
    "killed": killed,
    "empty": empty,
    "rate": rate,
}
