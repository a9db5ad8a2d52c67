"""`harvester run`: harvests a job's span, and tells in one JSON line how it ended."""

import asyncio
import logging
import os
import sys
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from harvester import config
from harvester.cli import job_flags, signals
from harvester.cli import summary as summaries
from harvester.cli.answer import cell, json_line, size
from harvester.cli.entry import where
from harvester.cli.streams import say, talk
from harvester.errors import EXIT_INTERRUPTED, ConfigError, StorageError
from harvester.events import RunEnded
from harvester.scheduler import Harvest, Job, Outcome
from harvester.telemetry import Telemetry, duration, listening

EXAMPLES = """\
examples:
  export HARVESTER_TOKEN=...
  harvester run january.toml
  harvester run january.toml --start 2024-01-01 --end 2024-01-02 --out try
  harvester run january.toml --set fetch.concurrency=4 --set 'source.queues=[12, 14]'
  harvester run january.toml --max-duration 3600 --log-format json --summary run.json 2>> run.log

Stop it any time: the first Ctrl-C (or SIGTERM) finishes what is under way, the second stops at once.
The same command goes on where it was; on a finished output it asks the source nothing. The last line on
stdout is one JSON object that says how it ended.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester run JOB.toml [options]"
    parser.epilog = EXAMPLES
    job_flags.add_arguments(parser)
    parser.add_argument(
        "--max-duration",
        type=_seconds,
        metavar="S",
        help="stop after S seconds as a signal would, with exit code 10",
    )
    parser.add_argument("--part", metavar="I/N", help="not available in this version")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="only local in this version"
    )
    parser.add_argument(
        "--log-format", choices=("auto", "json", "console"), default="auto",
        help="auto: text and a progress bar on a terminal, else JSON lines; on stderr",
    )  # fmt: skip
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the summary there as well")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="no bar, and only errors on stderr")
    loudness.add_argument(
        "-v", "--verbose", action="count", default=0, help="more on stderr; -vv for all there is"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (isfinite(seconds) and 0 < seconds <= 366 * 86_400):
        raise ArgumentTypeError(f"{text!r}: a number of seconds is needed, more than 0 and at most a year")
    return seconds


def run(args: Namespace) -> int:
    obeyed = signals.obeyed()
    _refuse_what_is_later(args)
    asked = job_flags.config_of(args)
    job = config.job_of(asked, now=datetime.now(UTC))
    token = config.token_of(asked, os.environ)
    if args.summary is not None:
        summaries.check(args.summary)
    with listening(
        stream=_own_stderr(),
        format=args.log_format,
        verbosity=-1 if args.quiet else args.verbose,
        secrets=[token] if token else [],
    ) as telemetry:
        outcome = _harvested(job, args.max_duration, telemetry, obeyed)
        if outcome.exit_code == 0 and not telemetry.counters.requests:
            telemetry.note(logging.INFO, "nothing_to_ask", out=outcome.out, records=outcome.records)
        telemetry.emit(RunEnded(status=outcome.status, exit_code=outcome.exit_code))
        told = summaries.summary(outcome, telemetry.counters)
    if telemetry.on_terminal and not args.quiet:
        _say_goodbye(told)
    return _told(told, args.summary)


def _refuse_what_is_later(args: Namespace) -> None:
    if args.part is not None:
        raise ConfigError("--part: not available in this version; one run harvests the whole span")
    if args.engine != "local":
        raise ConfigError(f"--engine: not available in this version: {args.engine}; use --engine local")


def _own_stderr() -> TextIO:
    """A stream of our own on the same descriptor: threads that write to it hold no lock that the interpreter
    needs at its end. Line by line, and never failing over a character that the terminal cannot show."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or a test's
        return sys.stderr or open(os.devnull, "w", encoding="utf-8")
    encoding = sys.stderr.encoding or "utf-8"
    return os.fdopen(descriptor, "w", encoding=encoding, errors="backslashreplace", buffering=1)


def _harvested(
    job: Job, max_duration_s: float | None, telemetry: Telemetry, obeyed: signals.Signals
) -> Outcome:
    """Every end but a ConfigError is an Outcome, so that there is a summary to print."""
    out = job.output.url

    async def harvest() -> Outcome:
        harvest = Harvest(job, emit=telemetry.emit, max_duration_s=max_duration_s)
        obeyed.attend(drain=lambda: harvest.drain("signal"), cancel=harvest.cancel)
        return await harvest.run()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(harvest())
    except ConfigError:
        raise
    except KeyboardInterrupt:
        return Outcome(
            status="interrupted",
            exit_code=EXIT_INTERRUPTED,
            out=out,
            error="stopped before it began; run again",
        )
    except Exception as error:
        telemetry.note(logging.DEBUG, "trace", trace="".join(traceback.format_exception(error)))
        text = f"unforeseen {where(error)}; what is done is kept in {out}: run again to go on, -vv shows more"
        telemetry.note(logging.ERROR, "unforeseen", error=text)
        return Outcome(status="error", exit_code=1, out=out, error=text)
    finally:
        obeyed.ignore()


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


def _told(told: dict[str, Any], file: Path | None) -> int:
    code = int(told["exit_code"])
    if file is not None:
        try:
            summaries.write(file, told)
        except StorageError as error:
            talk(f"harvester: error: {error}")
            if code == 0:
                code = error.exit_code
                told = told | {"status": error.status, "exit_code": code, "error": str(error)}
    say(json_line(told))
    return code


def _say_goodbye(told: dict[str, Any]) -> None:
    """For a person, on stderr; the same that the JSON line says."""
    windows = told["windows"]
    lines = [
        f"{told['status']}: {windows['done']:,} of {windows['total']:,} windows, {told['records']:,} records "
        f"in {told['out']}",
        f"this run: {told['records_written']:,} records in {duration(told['elapsed_s'])}, "
        f"{told['requests']:,} requests, {told['retries']:,} retries, {size(told['bytes_written'])} written",
    ]
    if told["exit_code"] == 0 and not told["requests"]:
        lines[1] = "everything was there already: the source was asked nothing"
    lines += [
        f"gap: {cell(gap['start'])} to {cell(gap['end'])}: {cell(gap['error'])}" for gap in told["gaps"][:10]
    ]
    if len(told["gaps"]) > 10:
        lines.append(f"... {len(told['gaps']) - 10:,} more gaps; `harvester status {told['out']}` shows them")
    if told.get("error"):
        lines.append(f"error: {cell(told['error'])}")
    for line in lines:
        talk(line)
