"""What is run: each contestant is a command for an empty folder, and the check that its result has to
pass."""

import itertools
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from tests.benchmarks.checks import Digests, Exact, check_bodies, check_lines
from tests.benchmarks.measure import Cost, cost_of
from tests.benchmarks.server import Server

HERE = Path(__file__).parent


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    name: str
    command: Callable[[Path], list[str]]
    check: Callable[[Path], object]
    """Raises Wrong."""
    before: Callable[[], None] = _nothing
    """Tunes the server, unmeasured."""


@dataclass(slots=True, kw_only=True)
class Runs:
    """What the runs of one contestant cost, round by round."""

    name: str
    costs: list[Cost] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    """As the server counted them."""

    @property
    def cpu_s(self) -> float:
        return median(cost.cpu_s for cost in self.costs)

    @property
    def wall_s(self) -> float:
        return median(cost.wall_s for cost in self.costs)

    @property
    def peak_mib(self) -> float:
        return max(cost.peak_mib for cost in self.costs)

    def cpu_against(self, other: "Runs") -> float:
        """The median of the rounds' ratios: what slows the machine for a while slows both of a round."""
        return median(mine.cpu_s / its.cpu_s for mine, its in zip(self.costs, other.costs, strict=True))

    def wall_against(self, other: "Runs") -> float:
        return median(mine.wall_s / its.wall_s for mine, its in zip(self.costs, other.costs, strict=True))


class Workshop:
    """One server, one folder, and everything that is run against the one in the other."""

    def __init__(self, server: Server, folder: Path, say: Callable[[str], None]) -> None:
        self.server = server
        self.folder = folder
        self.say = say
        self.check: Callable[..., Digests] = Exact(server).check
        """Of harvester's outputs; takes `start` and `end` as text."""
        self._numbers = itertools.count()

    def in_turn(self, contestants: Sequence[Contestant], rounds: int) -> dict[str, Runs]:
        """A B C, A B C, ...: `rounds` of them after one that warms up and is not counted."""
        runs = {one.name: Runs(name=one.name) for one in contestants}
        for number in range(rounds + 1):
            for one in contestants:
                cost, requests = self.once(one)
                told = f"{one.name}: {cost.cpu_s:.2f} s CPU, {cost.wall_s:.2f} s, {cost.peak_mib:.0f} MiB"
                self.say(f"  {f'round {number}' if number else 'warm-up'}  {told}")
                if number:
                    runs[one.name].costs.append(cost)
                    runs[one.name].requests.append(requests)
        return runs

    def once(self, one: Contestant) -> tuple[Cost, int]:
        """What one run cost, and how many requests the server saw of it."""
        place = self.folder / f"{next(self._numbers)}"
        place.mkdir()
        one.before()
        self.server.reset()
        cost = cost_of(one.command(place), place, self.server.environ)
        requests = int(self.server.stats()["requests"])
        one.check(place)
        shutil.rmtree(place)
        return cost, requests

    def bodies(self, start: datetime, end: datetime) -> list[bytes]:
        """The requests that a walk of hour windows needs, learned by letting the script walk once."""
        self.once(self.script("", start, end, level=0, records=None))
        return self.server.bodies()

    def full_bodies(self, page_size: int) -> list[bytes]:
        """The requests of a walk by days in which each page but the last of a day is full."""
        found = []
        for day in range((self.server.end - self.server.start).days):
            start = self.server.start + timedelta(days=day)
            end = start + timedelta(days=1, milliseconds=-1)  # the server's ends are inclusive
            for offset in itertools.count(0, page_size):
                body = self.server.body(start, end, page_size, offset)
                records = self.server.answer(body)
                if records:
                    found.append(body)
                if records < page_size:  # this server keeps to the Limit
                    break
        return found

    def harvester(
        self,
        name: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        resolution: str = "Hour",
        page_size: int = 1000,
        concurrency: int = 16,
        compression: str = "zstd",
        file_format: str = "jsonl",
        before: Callable[[], None] = _nothing,
    ) -> Contestant:
        start, end = start or self.server.start, end or self.server.end
        job: dict[str, dict[str, Any]] = {
            "source": {"dialect": "interactions", "base_url": self.server.url},
            "span": {"start": start.isoformat(), "end": end.isoformat(), "resolution": resolution},
            "fetch": {"page_size": page_size, "concurrency": concurrency},
        }

        def command(place: Path) -> list[str]:
            output = {"url": str(place / "out"), "compression": compression, "format": file_format}
            (place / "job.toml").write_text(_toml({**job, "output": output}))
            return [sys.executable, "-m", "harvester", "run", str(place / "job.toml")]

        def check(place: Path) -> None:
            self.check(place / "out", start=start.isoformat(), end=end.isoformat())

        return Contestant(name=name, command=command, check=check, before=before)

    def script(
        self,
        name: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        level: int = 6,
        records: int | None = -1,
        before: Callable[[], None] = _nothing,
    ) -> Contestant:
        """`records` None: not counted; -1: all that the server has."""
        span = [(start or self.server.start).isoformat(), (end or self.server.end).isoformat()]
        expected = self.server.records if records == -1 else records

        def command(place: Path) -> list[str]:
            (place / "files").mkdir()
            words = [str(HERE / "sixty_lines.py"), self.server.url, *span, str(place / "files")]
            return [sys.executable, *words, f"--level={level}"]

        def check(place: Path) -> None:
            if expected is not None:
                check_lines(place / "files", expected)

        return Contestant(name=name, command=command, check=check, before=before)

    def discard(self, name: str, bodies: Sequence[bytes]) -> Contestant:
        def command(place: Path) -> list[str]:
            (place / "requests").write_bytes(b"\n".join(bodies))
            return [sys.executable, str(HERE / "discard.py"), self.server.url, str(place / "requests")]

        return Contestant(name=name, command=command, check=_nothing_to_check)

    def curl(self, name: str, bodies: Sequence[bytes], into: str) -> Contestant:
        """One curl that keeps its connection, into a command; `into` empty: into nothing."""

        def command(place: Path) -> list[str]:
            (place / "curl").write_text("\nnext\n".join(map(self._curl_request, bodies)))
            pipe = f"| {into} >{place}/answers.zst" if into else ">/dev/null"
            return ["bash", "-o", "pipefail", "-c", f"curl --config {place}/curl {pipe}"]

        def check(place: Path) -> None:
            if into:
                check_bodies(place / "answers.zst", self.server.records)

        return Contestant(name=name, command=command, check=check)

    def _curl_request(self, body: bytes) -> str:
        lines = [
            "silent",
            "show-error",
            "fail",
            f"url = {self.server.url}/reporting/api/v1/interaction/details",
            f'header = "Authorization: apikey {self.server.token}"',
            'header = "Content-Type: application/json"',
            f"data = {orjson.dumps(body.decode()).decode()}",
        ]
        return "\n".join(lines)


def _nothing_to_check(place: Path) -> None:
    """What is thrown away cannot be checked; it ended with 0, and asked what the others asked."""


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    return "\n".join(line for name, table in tables.items() for line in _table(name, table))


def _table(name: str, table: dict[str, Any]) -> Iterable[str]:
    yield f"[{name}]"
    for key, value in table.items():
        yield f"{key} = {orjson.dumps(value).decode()}"  # text and numbers are alike in JSON and TOML
