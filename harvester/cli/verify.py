"""`harvester verify`: the files of an output against its manifest and its ledger."""

import dataclasses
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from harvester.cli import answer
from harvester.cli.streams import say, talk
from harvester.errors import ConfigError, VerificationFailed
from harvester.verify import Verdict, verify

EXAMPLES = """\
examples:
  harvester verify out
  harvester verify out --json | jq .differences

Reads every shard: SHA-256, counts, order, no key twice, every record inside its partition. Writes nothing.
Exit code 0: no difference. 4: there is one, or a begun output has no manifest. 2: there is no output.
"""

SHOWN = 50


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester verify OUT [options]"
    parser.epilog = EXAMPLES
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder that a run wrote to")
    parser.add_argument("--source", metavar="JOB.toml", help="not available in this version")
    parser.add_argument("--sample", metavar="P", help="not available in this version")
    parser.add_argument("--all", action="store_true", help="every difference, however many")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    if args.source is not None or args.sample is not None:
        raise ConfigError(
            "--source: not available in this version; leave it out to compare files, manifest and ledger"
        )
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    verdict = verify(args.out, progress=_progress if on_terminal else None)
    if on_terminal:
        talk("\r\x1b[K", end="")
    if args.json:
        answer.say_json(dataclasses.asdict(verdict))
    else:
        _say(verdict, everything=args.all)
    return 0 if verdict.is_good else VerificationFailed.exit_code


def _progress(records: int) -> None:
    talk(f"\r{records:,} records read", end="")


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
            "verdict": "no difference" if verdict.is_good else f"{found:,} difference{'s' * (found > 1)}",
        }
    )


def _incomplete(gaps: int) -> str:
    told = f"{gaps:,} gap{'s' * (gaps > 1)}, told in the manifest" if gaps else "not all of it is proven"
    return f"{told}; run the job again to fill them" if gaps else told
