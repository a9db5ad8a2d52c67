"""`harvester run`: harvests a job's span, and tells in one JSON line how it ended."""

import asyncio
import logging
import os
import sys
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from harvester import config
from harvester.cli import allocator, job_flags, open_files, signals
from harvester.cli import summary as summaries
from harvester.cli.answer import cell, json_line, size
from harvester.cli.entry import where
from harvester.cli.streams import say, talk
from harvester.errors import EXIT_INTERRUPTED, EXIT_TIME_BUDGET, ConfigError, StorageError
from harvester.events import RunEnded
from harvester.job import Job, Outcome
from harvester.scheduler import Harvest
from harvester.telemetry import Telemetry, duration, listening
from harvester.transport.blot import Blotter

EXAMPLES = """\
examples:
  export HARVESTER_TOKEN=...
  harvester run january.toml
  harvester run january.toml --start 2024-01-01 --end 2024-01-02 --out try
  harvester run january.toml --set fetch.concurrency=4 --set 'source.queues=[12, 14]'
  harvester run january.toml --repair                  # after files were lost or damaged
  harvester run january.toml --max-duration 3600 --log-format json --summary run.json 2>> run.log

Stop it any time: the first Ctrl-C (or SIGTERM) finishes what is under way, the second stops at once.
The same command goes on where it was; on a finished output it asks the source nothing. The last line on
stdout is one JSON object that says how it ended.
"""

SHOWN_GAPS = 5


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
    parser.add_argument(
        "--repair",
        action="store_true",
        help="read every file first; partitions with damaged ones are fetched again and replaced",
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
    if not 0 < seconds <= 366 * 86_400:  # and no nan either
        raise ArgumentTypeError(f"{text!r}: a number of seconds is needed, more than 0 and at most a year")
    return seconds


def run(args: Namespace) -> int:
    allocator.use_one_arena()
    _refuse_what_is_later(args)
    asked = job_flags.config_of(args)
    now = datetime.now(UTC)
    job = config.job_of(asked, now=now)
    secrets = (config.token_of(asked, os.environ), config.key_of(asked, os.environ))
    if args.summary is not None:
        summaries.check(args.summary, job.output.folder)
    open_files.allow(job.transport.concurrency)
    obeyed = signals.obeyed()
    blotter = Blotter(*filter(None, secrets))
    with _listening(args, blotter) as telemetry:
        if job.span.end > now:
            hint = "what is written later is not in it; run again when it is over"
            telemetry.note(logging.WARNING, "span_is_not_over", end=job.span.end, hint=hint)
        outcome = _harvested(job, args, telemetry, obeyed)
        outcome = replace(outcome, error=outcome.error and blotter.text(outcome.error))
        _note_the_end(outcome, telemetry)
        told = summaries.summary(outcome, telemetry.counters)
    if telemetry.on_terminal and not args.quiet:
        _say_goodbye(told)
    return _told(told, args.summary)


def _note_the_end(outcome: Outcome, telemetry: Telemetry) -> None:
    if outcome.exit_code == 0 and not telemetry.counters.requests:
        telemetry.note(logging.INFO, "nothing_to_ask", out=outcome.out, records=outcome.records)
    elif outcome.error is not None:
        asked_for = outcome.exit_code in (EXIT_TIME_BUDGET, EXIT_INTERRUPTED)
        level = logging.WARNING if asked_for else logging.ERROR
        telemetry.note(level, "run_stopped", status=outcome.status, error=outcome.error)
    telemetry.emit(RunEnded(status=outcome.status, exit_code=outcome.exit_code))


def _refuse_what_is_later(args: Namespace) -> None:
    if args.part is not None:
        raise ConfigError("--part: not available in this version; one run harvests the whole span")
    if args.engine != "local":
        raise ConfigError(f"--engine: not available in this version: {args.engine}; use --engine local")


@contextmanager
def _listening(args: Namespace, blotter: Blotter) -> Iterator[Telemetry]:
    stream = _own_stderr()
    verbosity = -1 if args.quiet else args.verbose
    with listening(
        stream=stream, format=args.log_format, verbosity=verbosity, blot=blotter.text
    ) as telemetry:
        yield telemetry
    if stream is not sys.stderr and not telemetry.is_stuck:  # else closing it would wait for the reader
        with suppress(OSError):  # lines that found no room, or no reader, are lost: that is no end of a run
            stream.close()


def _own_stderr() -> TextIO:
    """A stream of our own on the same descriptor: threads that write to it hold no lock that the interpreter
    needs at its end. Line by line, and never failing over a character that the terminal cannot show."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or a test's
        return sys.stderr or open(os.devnull, "w", encoding="utf-8")
    encoding = sys.stderr.encoding or "utf-8"
    return os.fdopen(descriptor, "w", encoding=encoding, errors="backslashreplace", buffering=1)


def _harvested(job: Job, args: Namespace, telemetry: Telemetry, obeyed: signals.Signals) -> Outcome:
    """Every end but a ConfigError is an Outcome, so that there is a summary to print."""
    out = job.output.url

    async def harvest() -> Outcome:
        harvest = Harvest(job, emit=telemetry.emit, max_duration_s=args.max_duration, repair=args.repair)
        loop = asyncio.get_running_loop()
        obeyed.attend(loop, drain=lambda: harvest.drain("signal"), cancel=harvest.cancel)
        return await harvest.run()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(harvest())
    except ConfigError:
        raise
    except Exception as error:
        telemetry.note(logging.DEBUG, "trace", trace="".join(traceback.format_exception(error)))
        text = f"unforeseen {where(error)}; what is done is kept in {out}: run again to go on, -vv shows more"
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
    """For a person, on stderr: what the JSON line says. What went wrong stands in the lines above it."""
    windows, gaps = told["windows"], told["gaps"]
    done = (
        f"{windows['done']:,} of {windows['total']:,} windows, {told['records']:,} records in {told['out']}"
    )
    this_run = (
        f"{told['records_written']:,} records in {duration(told['elapsed_s'])}, "
        f"{told['requests']:,} requests, {told['retries']:,} retries, {size(told['bytes_written'])} written"
    )
    if told["exit_code"] == 0 and not told["requests"]:
        this_run = "all of it was there already; the source was asked nothing"
    talk(f"{painted(told['status'], told['exit_code'])}: {done}")
    talk(f"this run: {this_run}")
    for gap in gaps[:SHOWN_GAPS]:
        talk(f"gap: {cell(gap['start'])} to {cell(gap['end'])}: {cell(gap['error'])}")
    if len(gaps) > SHOWN_GAPS:
        talk(f"... {len(gaps) - SHOWN_GAPS:,} more gaps; `harvester status {told['out']}` shows them")


def painted(status: str, exit_code: int) -> str:
    """Green is proven complete, yellow is "run again", red is "see to it first"."""
    if os.environ.get("NO_COLOR"):
        return status
    colour = 32 if exit_code == 0 else 33 if exit_code in (3, EXIT_TIME_BUDGET, EXIT_INTERRUPTED) else 31
    return f"\x1b[1;{colour}m{status}\x1b[0m"
