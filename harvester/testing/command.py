"""`harvester simulate`: the simulator on the command line.

The first line on stdout is one JSON object with `url`, `token`, `records`, `start` and `end`; then it serves
until SIGTERM or SIGINT.
"""

import argparse
import asyncio
import contextlib
import signal
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson

from harvester.errors import ConfigError

from .faults import KINDS, RULES, parse_argument, parse_faults
from .rhythm import RHYTHMS
from .server import Simulator
from .settings import ENDS, Settings

EXAMPLE = """\
example:
  harvester simulate --port 8080 --records 200000 --start 2024-01-01 --end 2024-01-31 \\
      --latency-ms 20 --fault status=503,share=0.05,retry_after=1 --fault page_cap=500

  curl -s localhost:8080/reporting/api/v1/interaction/details -H 'x-api-key: simulator-token' \\
      -d '{"StartDateTime":"2024-01-01T00:00:00Z","EndDateTime":"2024-01-01T01:00:00Z","Limit":2}'
  curl -s localhost:8080/_simulator/stats
  curl -s 'localhost:8080/_simulator/truth?start=2024-01-01T00:00:00Z&end=2024-01-02T00:00:00Z'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Serves the Reporting API on loopback with seeded data and, on request, with faults."
    parser.epilog = EXAMPLE
    parser.add_argument(
        "--port", type=int, default=0, help="0, the default: any free one; the first line tells which"
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--records", type=int, default=default.records, help="interactions in the span (%(default)s)"
    )
    data.add_argument("--messages", type=int, help="message details (a quarter of --records)")
    data.add_argument("--events", type=int, help="agent workstate events (a quarter of --records)")
    data.add_argument(
        "--start", type=_instant, default=default.start, help="first instant, ISO 8601 (2024-01-01)"
    )
    data.add_argument(
        "--end", type=_instant, default=default.end, help="the end, not itself in it (2024-01-08)"
    )
    data.add_argument("--seed", type=int, default=default.seed, help="same seed, same bytes (%(default)s)")
    data.add_argument("--rhythm", choices=RHYTHMS, default=default.rhythm, help="(%(default)s)")
    data.add_argument(
        "--cluster", type=int, default=default.cluster, help="records that share one instant (%(default)s)"
    )
    data.add_argument(
        "--slim", action="store_true", help="interactions of four fields, so that millions of them fit"
    )
    data.add_argument(
        "--twins",
        type=float,
        default=default.twins,
        metavar="SHARE",
        help="so many of the records again under another key (%(default)s)",
    )
    data.add_argument("--cache", type=Path, metavar="DIR", help="keep rendered data here for the next start")
    manners = parser.add_argument_group("manners")
    manners.add_argument("--token", default=default.token, help="the one good token (%(default)s)")
    manners.add_argument("--latency-ms", type=float, default=0.0, help="wait so long before each answer")
    manners.add_argument(
        "--page-cap", type=int, default=default.page_cap, help="largest Limit that is honoured (%(default)s)"
    )
    manners.add_argument(
        "--ends",
        metavar="MANNER",
        choices=ENDS,
        default=default.ends,
        help=f"how a range's ends count (%(default)s): {', '.join(ENDS)}",
    )
    manners.add_argument("--gzip", action="store_true", help="compress where the client accepts it")
    manners.add_argument("--zstd", action="store_true", help="compress so where the client accepts it")
    manners.add_argument("--now", type=_instant, help="the clock of relative ranges (the real one)")
    manners.add_argument("--live", action="store_true", help="records are there from when they were written")
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--faults", type=Path, metavar="FILE.toml", help="tables named [[fault]], see --list-faults"
    )
    faults.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE[,KEY=VALUE...]",
        help="one more; repeatable",
    )
    faults.add_argument(
        "--list-faults", action="store_true", help="name all faults, options and rules, and end"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0 after SIGTERM or SIGINT; ConfigError for settings that cannot be."""
    if args.list_faults:
        print(describe_faults())
        return 0
    try:
        settings = Settings(
            records=args.records,
            messages=args.messages,
            events=args.events,
            start=args.start,
            end=args.end,
            seed=args.seed,
            rhythm=args.rhythm,
            cluster=args.cluster,
            slim=args.slim,
            twins=args.twins,
            token=args.token,
            port=args.port,
            latency_ms=args.latency_ms,
            page_cap=args.page_cap,
            ends=args.ends,
            gzip=args.gzip,
            zstd=args.zstd,
            now=args.now,
            live=args.live,
            cache=args.cache,
            faults=(*_from_file(args.faults), *map(parse_argument, args.fault)),
        )
        parse_faults(settings.faults)
        serve(settings)
    except (ValueError, OSError) as error:
        raise ConfigError(f"simulate: {error}") from None
    return 0


def serve(settings: Settings) -> None:
    """Blocks until SIGTERM or SIGINT. OSError where the port is taken."""
    asyncio.run(_serve(settings))


def describe_faults() -> str:
    lines = []
    for name, kind in KINDS.items():
        value = "|".join(kind.value) if isinstance(kind.value, tuple) else kind.value.__name__
        options = "".join(f", {option}={default}" for option, default in kind.options.items())
        lines.append(f"{name}={value}{options}\n    {kind.help}")
    return "\n".join([*lines, f"with any of them: {', '.join(RULES)}"])


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    async with Simulator(settings).start() as simulator:
        hello = {
            "url": simulator.url,
            "token": simulator.token,
            "records": settings.records,
            "start": settings.start.isoformat(),
            "end": settings.end.isoformat(),
        }
        with contextlib.suppress(BrokenPipeError):
            print(orjson.dumps(hello).decode(), flush=True)
        await stop.wait()


def _from_file(path: Path | None) -> tuple[Mapping[str, object], ...]:
    if path is None:
        return ()
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    unknown = sorted(set(entries) - {"fault"})
    if unknown or not isinstance(entries.get("fault"), list):
        raise ValueError(
            f"{path}: expected tables named [[fault]]" + (f", found {unknown[0]}" if unknown else "")
        )
    return tuple(entries["fault"])


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 date or instant") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
