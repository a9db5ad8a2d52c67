"""`harvester rebuild-ledger`: makes a lost or damaged ledger anew from the manifest and the shards."""

import dataclasses
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from harvester.cli import answer, out_argument
from harvester.cli.config import span_text
from harvester.cli.streams import talk
from harvester.rebuild import Rebuilt, rebuild

EXAMPLES = """\
examples:
  harvester rebuild-ledger out
  harvester rebuild-ledger out --repair     # although shards are damaged; the next run fetches them again
  harvester rebuild-ledger out --force      # although a ledger stands there; it is kept beside the new one

Reads every shard and the manifest and asks the source nothing. Afterwards `harvester run JOB.toml` goes on:
it asks for what the manifest calls a gap, and for nothing where all is complete. What no manifest tells is
lost: the learned rate, and what was sealed and not yet published.

Exit code 0: the ledger stands. 2: there is no output. 4: the manifest is missing, or it and the shards do not
agree. 7: a ledger stands there that can be read, or it could not be written. 8: a run is at work.
"""

SHOWN = 10


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester rebuild-ledger OUT [options]"
    parser.epilog = EXAMPLES
    out_argument.add_argument(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="let the next run fetch partitions with damaged files again",
    )
    parser.add_argument("--force", action="store_true", help="replace a ledger that can be read; it is kept")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    out: Path = args.out
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    rebuilt = rebuild(
        out,
        force=args.force,
        repair=args.repair,
        progress=(lambda records: talk(f"\r{records:,} records read", end="")) if on_terminal else None,
    )
    if on_terminal:
        talk("\r\x1b[K", end="")
    if args.json:
        answer.say_json(dataclasses.asdict(rebuilt))
    else:
        _say(rebuilt)
    return 0


def _say(rebuilt: Rebuilt) -> None:
    pairs = {
        "output": rebuilt.out,
        "restored": f"{rebuilt.partitions:,} partitions, {rebuilt.shards:,} shards, "
        f"{rebuilt.records:,} records",
        "span": "\n          ".join(map(span_text, rebuilt.spans)) or "none yet",
    }
    if rebuilt.kept:
        pairs["kept"] = f"the ledger that stood there is now {rebuilt.kept}"
    if rebuilt.damaged:
        pairs["damaged"] = f"{_some(rebuilt.damaged)}: the next run fetches them again"
    if rebuilt.doubted:
        pairs["doubted"] = (
            f"{_some(rebuilt.doubted)}: the manifest has no digest, and the next run fetches them again"
        )
    if rebuilt.foreign:
        pairs["foreign"] = f"{_some(rebuilt.foreign)}: not in the manifest, and left alone"
    if rebuilt.staged:
        pairs["staged"] = f"{len(rebuilt.staged):,} leftover files; the next run removes them"
    pairs["lost"] = "the learned rate, and what was sealed and not yet published"
    hours = sum((span.end - span.start).total_seconds() for span in rebuilt.open) / 3600
    pairs["next"] = (
        f"run the job again: {hours:,.1f} hours are open"
        if rebuilt.open
        else "nothing is open: all of it is proven"
    )
    answer.say_pairs(pairs)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(answer.cell, names[:SHOWN])) + more
