"""The simulator as a process of its own, and what the benchmarks ask of it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson

from tests.benchmarks.measure import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    url: str
    token: str
    records: int
    start: datetime
    end: datetime

    @property
    def environ(self) -> dict[str, str]:
        return {"HARVESTER_TOKEN": self.token}

    def stats(self) -> dict[str, Any]:
        told: dict[str, Any] = orjson.loads(self._asked("stats"))
        return told

    def requests(self) -> list[dict[str, Any]]:
        """The server's log since the last `reset`, in the order in which they came."""
        return [orjson.loads(line) for line in self._asked("requests").splitlines()]

    def bodies(self) -> list[bytes]:
        """The requests since the last `reset`, as bodies, in the order of their windows."""
        entries = self.requests()
        entries.sort(key=lambda entry: (entry["start_us"], entry["offset"]))
        return [
            self.body(_moment(entry["start_us"]), _moment(entry["end_us"]), entry["limit"], entry["offset"])
            for entry in entries
        ]

    @staticmethod
    def body(start: datetime, end: datetime, limit: int, offset: int) -> bytes:
        span = {"StartDateTime": _iso(start), "EndDateTime": _iso(end)}
        return orjson.dumps({**span, "Limit": limit, "Offset": offset})

    def answer(self, body: bytes) -> int:
        """How many records a request brings."""
        headers = {"Authorization": f"apikey {self.token}", "Content-Type": "application/json"}
        asked = Request(f"{self.url}/reporting/api/v1/interaction/details", data=body, headers=headers)
        with urlopen(asked, timeout=60) as answer:
            return len(orjson.loads(answer.read())["data"])

    def reset(self) -> None:
        self._asked("reset", {})

    def delay(self, latency_ms: float) -> None:
        """From now on each answer comes so much later."""
        self._asked("faults", [{"latency_ms": latency_ms}] if latency_ms else [])

    def _asked(self, what: str, told: object = None) -> bytes:
        body = None if told is None else orjson.dumps(told)
        with urlopen(Request(f"{self.url}/_simulator/{what}", data=body), timeout=60) as answer:
            read: bytes = answer.read()
            return read


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


@contextmanager
def serving(folder: Path, *, records: int, end: str, flags: Sequence[str] = ()) -> Iterator[Server]:
    """A simulator with so many interactions from 2024-01-01 to `end`; what it renders is kept in
    `folder`/cache for the next time."""
    command = [sys.executable, "-m", "harvester", "simulate", "--records", str(records), "--messages", "0"]
    command += [
        "--events",
        "0",
        "--start",
        "2024-01-01",
        "--end",
        end,
        "--cache",
        str(folder / "cache"),
        *flags,
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean())
    try:
        assert process.stdout is not None
        hello = orjson.loads(process.stdout.readline() or b"{}")
        if not hello:
            raise RuntimeError(f"the simulator did not start; it ended with {process.wait()}")
        yield Server(
            url=hello["url"],
            token=hello["token"],
            records=records,
            start=datetime.fromisoformat(hello["start"]),
            end=datetime.fromisoformat(hello["end"]),
        )
    finally:
        process.terminate()
        process.wait()
