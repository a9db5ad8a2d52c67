"""More questions, about what must not cost more: compressed answers, small pages, long and dense spans, the
start. The larger ones ask a source of cheap records (cheap.py)."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from tests.benchmarks.cheap import Records, serving_cheaply
from tests.benchmarks.checks import Values
from tests.benchmarks.contestants import Contestant, Runs, Workshop
from tests.benchmarks.measure import Failed, clean
from tests.benchmarks.sections import Goal, Order, Report

START = datetime(2024, 1, 1, tzinfo=UTC)
_ANSWER = b'{"resultCode":0,"data":[]}'


def _in_turn(pairs: Sequence[tuple[Workshop, Contestant]], rounds: int) -> list[Runs]:
    """As `Workshop.in_turn`, of contestants that ask different servers."""
    runs = [Runs(name=one.name) for _, one in pairs]
    for number in range(rounds + 1):
        for (shop, one), its in zip(pairs, runs, strict=True):
            cost, requests = shop.once(one)
            told = f"{one.name}: {cost.cpu_s:.2f} s CPU, {cost.wall_s:.2f} s, {cost.peak_mib:.0f} MiB"
            shop.say(f"  {f'round {number}' if number else 'warm-up'}  {told}")
            if number:
                its.costs.append(cost)
                its.requests.append(requests)
    return runs


def compressed(order: Order) -> list[Report]:
    """The month from servers that compress their answers, beside one that does not."""
    records, end = 200_000, "2024-01-31"
    with (
        order.workshop(records=records, end=end) as plain,
        order.workshop(records=records, end=end, flags=["--gzip"], runs="gzip") as gzip,
        order.workshop(records=records, end=end, flags=["--zstd"], runs="zstd") as zstd,
    ):
        shops = {"plain answers": plain, "gzip'ed answers": gzip, "zstd'ed answers": zstd}
        pairs = [(shop, shop.harvester(name)) for name, shop in shops.items()]
        without, *packed = _in_turn(pairs, order.rounds)
        records = plain.server.records
    return [
        Report(
            section="compressed",
            title=f"{records:,} records in 30 days, answers plain and compressed",
            rows=[without, *packed],
            units=dict.fromkeys(shops, records),
            against=[without.name],
            goals=[
                Goal(
                    what=f"CPU with {row.name} against plain ones", found=row.cpu_against(without), limit=1.25
                )
                for row in packed
            ],
        )
    ]


def pages(order: Order) -> list[Report]:
    """The month in pages of 100 and of 1000."""
    with order.workshop(records=200_000, end="2024-01-31") as shop:
        large, small = shop.harvester("pages of 1000"), shop.harvester("pages of 100", page_size=100)
        runs = shop.in_turn([large, small], order.rounds)
        records = shop.server.records
    found = runs[small.name].cpu_against(runs[large.name])
    return [
        Report(
            section="pages",
            title=f"{records:,} records in 30 days, hour windows",
            rows=list(runs.values()),
            units=dict.fromkeys(runs, records),
            against=[large.name],
            goals=[
                Goal(what="CPU a record with pages of 100 against 1000", found=found, limit=1.5),
                Goal(what="peak MiB with pages of 100", found=runs[small.name].peak_mib, limit=90),
            ],
        )
    ]


def tables(order: Order) -> list[Report]:
    """The month into Parquet and into zstd JSON Lines. Tables are read back and compared value by value."""
    with order.workshop(records=100_000, end="2024-01-31") as shop:
        lines, parquet = shop.harvester("zstd JSON Lines"), shop.harvester("Parquet", file_format="parquet")
        values = Values(shop.server)
        parquet = Contestant(name=parquet.name, command=parquet.command, check=values.check)
        runs = shop.in_turn([lines, parquet], order.rounds)
        records = shop.server.records
    found = runs[parquet.name].cpu_against(runs[lines.name])
    return [
        Report(
            section="tables",
            title=f"{records:,} records of 3 KB in 30 days, hour windows",
            rows=list(runs.values()),
            units=dict.fromkeys(runs, records),
            against=[lines.name],
            goals=[
                Goal(what="CPU of Parquet against zstd JSON Lines", found=found, limit=3),
                Goal(what="peak MiB of Parquet", found=runs[parquet.name].peak_mib, limit=200),
            ],
        )
    ]


def growth(order: Order) -> list[Report]:
    """From 10,000 to 10,000,000 cheap records, 1,000 an hour, one run each: cost a record, memory, ledger."""
    rows: list[Runs] = []
    units: dict[str, int] = {}
    ledgers: list[float] = []
    for hours in (10, 100, 1_000, 10_000):
        hours = max(2, round(hours * order.scale))
        with _cheap(order, hours * 1000, START + timedelta(hours=hours)) as shop:
            one = shop.harvester(f"{shop.server.records:,} records")
            sizes: list[float] = []
            run, requests = shop.once(_weighed(one, sizes))
            order.say(f"  {one.name}: {run.cpu_s:.2f} s CPU, {run.wall_s:.2f} s, {run.peak_mib:.0f} MiB")
            ledgers.append(sizes[-1] / hours)
        rows.append(Runs(name=one.name, costs=[run], requests=[requests]))
        units[one.name] = shop.server.records
    short, long, longest = rows[-3:]
    cost = [row.cpu_s / units[row.name] for row in (long, longest)]
    return [
        Report(
            section="growth",
            title="cheap records, 1,000 in each hour window, one run each",
            rows=rows,
            units=units,
            goals=[
                Goal(
                    what="CPU a record, the last against the one before", found=cost[1] / cost[0], limit=1.1
                ),
                Goal(
                    what="wall a record, likewise",
                    found=_a_record(longest, units) / _a_record(long, units),
                    limit=1.1,
                ),
                Goal(what="peak memory, likewise", found=longest.peak_mib / long.peak_mib, limit=1.1),
                Goal(
                    what=f"peak memory, {longest.name} against {short.name}",
                    found=longest.peak_mib / short.peak_mib,
                    limit=1.25,
                ),
                Goal(what="ledger bytes a window, likewise", found=ledgers[-1] / ledgers[-2], limit=1.1),
            ],
            notes=[f"ledger bytes a window: {', '.join(f'{size:.0f}' for size in ledgers)}"],
        )
    ]


def dense(order: Order) -> list[Report]:
    """2,000,000 cheap records in one day, and in 30; 2 rounds at most."""
    order = order.at_most(2)
    records = order.scaled(2_000_000)
    names = "one day", "30 even days"
    with (
        _cheap(order, records, START + timedelta(days=1), runs="dense") as one,
        _cheap(order, records, START + timedelta(days=30)) as many,
    ):
        pairs = [(one, one.harvester(names[0])), (many, many.harvester(names[1]))]
        day, month = _in_turn(pairs, order.rounds)
    return [
        Report(
            section="dense",
            title=f"{records:,} cheap records, hour windows",
            rows=[day, month],
            units=dict.fromkeys(names, records),
            against=[names[1]],
            goals=[
                Goal(
                    what="speed of one day against 30",
                    found=month.wall_against(day),
                    limit=0.8,
                    at_least=True,
                )
            ],
        )
    ]


def start(order: Order) -> list[Report]:
    """How long a person waits for the first page of help, and a job for its first request."""
    helps, firsts = [], []
    for _ in range(order.rounds + 1):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "harvester", "--help"], stdout=subprocess.PIPE, env=clean(), check=True
        )
        helps.append(1000 * (time.monotonic() - began))
        firsts.append(1000 * _first_request_s(order.folder / "start"))
    return [
        Report(
            section="start",
            title=f"medians of {order.rounds}",
            rows=[],
            goals=[
                Goal(what="ms to `harvester --help`", found=median(helps[1:]), limit=150),
                Goal(what="ms to the first request", found=median(firsts[1:]), limit=250),
            ],
        )
    ]


def _first_request_s(folder: Path) -> float:
    """From the start of the process until bytes of a request are there."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        job = folder / "job.toml"
        job.write_text(
            f'[source]\ndialect = "interactions"\nbase_url = "http://127.0.0.1:{listening.getsockname()[1]}"\n'
            "[span]\nstart = 2022-01-01T00:00:00Z\nend = 2022-01-01T01:00:00Z\n"
            f'[output]\nurl = "{folder / f"out-{time.monotonic_ns()}"}"\n'
        )
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "harvester", "run", str(job)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean({"HARVESTER_TOKEN": "any"}),
        ) as process:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(30)
                if not connection.recv(1 << 16):
                    raise Failed("harvester closed the connection before it asked")
                took_s = time.monotonic() - began
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_ANSWER)
                connection.sendall(head + _ANSWER)
            if process.wait(60):
                raise Failed(f"harvester ended with {process.returncode}")
    return took_s


@contextmanager
def _cheap(order: Order, records: int, end: datetime, runs: str = "runs") -> Iterator[Workshop]:
    with serving_cheaply(records, START, end) as server, order.tools(server, runs) as shop:
        shop.check = Records(records, START, end).check
        yield shop


def _weighed(one: Contestant, sizes: list[float]) -> Contestant:
    """Notes the size of the ledger of each run that was right."""

    def check(place: Path) -> None:
        one.check(place)
        sizes.append((place / "out" / "_harvest" / "ledger.sqlite").stat().st_size)

    return Contestant(name=one.name, command=one.command, check=check)


def _a_record(row: Runs, units: dict[str, int]) -> float:
    return row.wall_s / units[row.name]


LIMITS: dict[str, Callable[[Order], list[Report]]] = {
    "compressed": compressed,
    "pages": pages,
    "tables": tables,
    "growth": growth,
    "dense": dense,
    "start": start,
}
