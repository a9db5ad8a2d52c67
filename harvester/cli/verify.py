"""`harvester verify`: the files of an output against its manifest and its ledger, and against the source."""

import dataclasses
import secrets
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from os import environ
from pathlib import Path
from typing import Any

import anyio

from harvester import config
from harvester.cli import answer, job_flags, out_argument
from harvester.cli.streams import say, talk
from harvester.errors import ConfigError, VerificationFailed
from harvester.job import Job
from harvester.printable import printable
from harvester.verify import Verdict, verify
from harvester.verify_source import KINDS, SourceVerdict, verify_source

EXAMPLES = """\
examples:
  harvester verify out
  harvester verify out --json | jq .differences
  harvester verify out --source january.toml                  # every record, against the source
  harvester verify out --source january.toml --sample 0.02    # one hour in fifty, drawn anew each time
  harvester verify out --source january.toml --set span.start=2024-01-08    # as the run was told

Reads every shard: SHA-256, counts, order, no key twice, every record inside its partition. Writes nothing.
--source asks for all that is proven once more, in windows, pages and an order of its own, and compares each
record: what is missing, gone, changed or newer at the source is named. Records are compared by their values:
how the source spells them (escapes, 1.0 or 1.00, the order of the fields) is no difference.

Exit code 0: no difference. 4: there is one, or a begun output has no manifest. 2: there is no output.
With --source also 3: some of it could not be compared. 5, 6: the source refuses, or breaks its contract.
8: the output was made by another job.
"""

SHOWN = 50


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester verify OUT [--source JOB.toml [--sample P]] [options]"
    parser.epilog = EXAMPLES
    out_argument.add_argument(parser)
    parser.add_argument(
        "--source",
        metavar="JOB.toml",
        type=Path,
        help="the job that made it: compare with its source as well",
    )
    parser.add_argument(
        "--ca-file", metavar="PATH", help="source.ca_file: authorities (PEM) that alone vouch for the server"
    )
    job_flags.add_set(parser)
    parser.add_argument("--sample", metavar="P", type=_share, help="so much of the span only, 0 < P <= 1")
    parser.add_argument("--seed", metavar="N", type=int, help="draw the sample that was drawn with N before")
    parser.add_argument("--all", action="store_true", help="every difference, however many")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ArgumentTypeError(f"{text!r}: a share is needed, more than 0 and at most 1")
    return share


def run(args: Namespace) -> int:
    job = _job(args, environ)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    verdict = verify(args.out, progress=partial(_progress, "read") if on_terminal else None)
    source = None
    if job is not None and not any(one.kind == "manifest" for one in verdict.differences):
        seed = secrets.randbelow(2**31) if args.seed is None else args.seed
        source = anyio.run(
            partial(
                verify_source,
                args.out,
                job,
                sample=args.sample or 1.0,
                seed=seed,
                progress=partial(_progress, "compared") if on_terminal else _nothing,
            ),
            backend_options={"use_uvloop": sys.platform != "win32"},
        )
    if on_terminal:
        talk("\r\x1b[K", end="")
    if args.json:
        told = dataclasses.asdict(verdict) | ({} if source is None else {"source": _as_json(source)})
        answer.say_json(told)
    else:
        _say(verdict, everything=args.all)
        if source is not None:
            _say_source(source, everything=args.all)
    if not verdict.is_good:
        return VerificationFailed.exit_code
    return 0 if source is None else source.exit_code


def _job(args: Namespace, environ: Mapping[str, str]) -> Job | None:
    if args.source is None:
        if args.sample is not None:
            raise ConfigError("--sample: needs --source; files are always compared in full")
    if args.sample is None and args.seed is not None:
        raise ConfigError("--seed: needs --sample; without it there is nothing to draw")
    if args.source is None:
        if args.ca_file is not None:
            raise ConfigError("--ca-file: needs --source; without it no server is asked")
        if args.sets:
            raise ConfigError("--set: needs --source; without it there is no job to set anything in")
        return None
    flags = {} if args.ca_file is None else {"source.ca_file": ("--ca-file", args.ca_file)}
    asked = config.load(args.source, flags=flags, sets=args.sets, environ=environ)
    job = config.job_of(asked, now=datetime.now(UTC))
    config.token_of(asked, environ)
    return job


def _nothing(records: int) -> None:
    pass


def _progress(what: str, records: int) -> None:
    talk(f"\r{records:,} records {what}\x1b[K", end="")


def _say(verdict: Verdict, *, everything: bool) -> None:
    found = len(verdict.differences)
    if verdict.differences:
        shown = verdict.differences if everything else verdict.differences[:SHOWN]
        answer.say_table(("difference", "in", "what"), [(one.kind, one.subject, one.detail) for one in shown])
        if found > len(shown):
            say(answer.dim(f"... {found - len(shown):,} more; --all shows them"))
        say()
    answer.say_pairs(
        {
            "output": verdict.out,
            "read": f"{verdict.records:,} records in {verdict.shards:,} shards of {verdict.partitions:,} "
            f"partitions, {answer.size(verdict.bytes)}",
            "asked for": "all of it is there" if verdict.complete else _incomplete(verdict.gaps),
            **({"note": "; ".join(verdict.notes)} if verdict.notes else {}),
            **({"way out": verdict.way_out} if verdict.way_out else {}),
            "verdict": "no difference" if verdict.is_good else f"{found:,} difference{'s' * (found > 1)}",
        }
    )


def _incomplete(gaps: int) -> str:
    if not gaps:
        return "not all of it is proven"
    return f"not all of it: {gaps:,} gap{'s' * (gaps > 1)}; run the job again to fill them"


def _as_json(source: SourceVerdict) -> dict[str, Any]:
    """Without what only the table needs; times and keys as they are in the records."""
    findings = [
        {
            "kind": one.kind,
            "key": one.key,
            "time": one.time,
            "window": {"start": one.window.start, "end": one.window.end},
            "version_here": one.here,
            "version_there": one.there,
            "detail": one.detail,
        }
        for one in source.findings
    ]
    unasked = [
        {"start": one.window.start, "end": one.window.end, "error": one.error} for one in source.unasked
    ]
    named = ("source", "sample", "seed", "page_size", "order_by", "windows", "records", "records_there")
    more = ("requests", "gaps_s", "counts")
    return {name: getattr(source, name) for name in (*named, *more)} | {
        "findings": findings,
        "unasked": unasked,
        "is_good": source.is_good,
    }


def _say_source(source: SourceVerdict, *, everything: bool) -> None:
    say()
    if source.findings:
        shown = source.findings if everything else source.findings[:SHOWN]
        answer.say_table(
            ("at the source", "key", "time", "what"),
            [(one.kind, _key(one.key), one.time, one.detail) for one in shown],
        )
        found = sum(source.counts.values())
        if found > len(shown):
            say(answer.dim(f"... {found - len(shown):,} more; --all shows them"))
        say()
    part = "all of it" if source.sample >= 1 else f"a sample of {source.sample:.3g} (--seed {source.seed})"
    order = f", by {source.order_by}" if source.order_by else ""
    pairs = {
        "source": source.source,
        "compared": f"{source.records:,} records of the output with {source.records_there:,} of the source, "
        f"{part}, in {source.windows:,} windows",
        "asked": f"{source.requests:,} pages of {source.page_size:,}{order}",
    }
    if source.gaps_s:
        pairs["not asked"] = f"{source.gaps_s / 3600:,.1f} hours that the manifest does not call proven"
    if source.unasked:
        first = source.unasked[0]
        hours = sum((one.window.end - one.window.start).total_seconds() for one in source.unasked) / 3600
        pairs["not compared"] = (
            f"{hours:,.1f} hours; the first at {answer.cell(first.window.start)}: {printable(first.error)}"
        )
    for kind, number in sorted(source.counts.items()):
        pairs[kind] = f"{number:,}: {KINDS[kind]}"
    pairs["verdict"] = _verdict(source)
    answer.say_pairs(pairs)


def _key(key: object) -> str:
    return key if isinstance(key, str) else repr(key)


def _verdict(source: SourceVerdict) -> str:
    if not source.counts:
        if source.is_good:
            return "no difference"
        return (
            "no difference in what was compared; run it again for the rest"
            if source.windows
            else "nothing compared"
        )
    if set(source.counts) <= {"newer", "late"}:
        return "nothing lost; the source has changed since: harvest these days again"
    return "the output is not what the source holds"
