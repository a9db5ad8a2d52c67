"""`harvester status`: what of an output is done, open and failed. From the ledger alone, also while a run
goes on.
"""

import dataclasses
from argparse import ArgumentParser, Namespace
from pathlib import Path

from harvester.cli import answer, out_argument
from harvester.cli.config import span_text
from harvester.cli.streams import say
from harvester.ledger import Status, read_status

EXAMPLES = """\
examples:
  harvester status out
  harvester status out --all                # every partition, also of a year of them
  harvester status out --json | jq .gaps
  watch harvester status out                # while a run goes on
"""

SHOWN_PARTITIONS = 20
SHOWN_GAPS = 10


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester status OUT [options]"
    parser.epilog = EXAMPLES
    out_argument.add_argument(parser)
    parser.add_argument("--all", action="store_true", help="every partition and every gap, however many")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    out: Path = args.out
    out_argument.check_begun(out)
    status = read_status(out)
    if args.json:
        answer.say_json(dataclasses.asdict(status))
    else:
        _say(status, everything=args.all)
    return 0


def _say(status: Status, *, everything: bool) -> None:
    answer.say_pairs(
        {
            "output": status.out,
            "source": f"{status.job.get('dialect', '-')} from {status.job.get('base_url', '-')}",
            "span": "\n        ".join(map(span_text, status.spans)) or "none yet",
            "windows": f"{status.windows_done:,} done, {status.windows_failed:,} failed",
            "records": f"{status.records:,}",
            "state": _state(status),
        }
    )
    if status.partitions:
        say()
        shown = status.partitions if everything else status.partitions[-SHOWN_PARTITIONS:]
        _more(len(status.partitions) - len(shown), "earlier partitions")
        answer.say_table(
            ("partition", "records", "shards", "generation"),
            [(one.partition, one.records, one.shards, one.generation) for one in shown],
            right=(1, 2, 3),
        )
    if status.gaps:
        say()
        gaps = status.gaps if everything else status.gaps[:SHOWN_GAPS]
        answer.say_table(("failed from", "to", "error"), [(gap.start, gap.end, gap.error) for gap in gaps])
        _more(len(status.gaps) - len(gaps), "more")
    elif status.open:
        say()
        spans = status.open if everything else status.open[:SHOWN_GAPS]
        answer.say_table(("open from", "to"), [(span.start, span.end) for span in spans])
        _more(len(status.open) - len(spans), "more")
    if status.learned:
        say()
        answer.say_table(
            ("learned of the source", ""), [(name, value) for name, value in status.learned.items()]
        )


def _more(count: int, what: str) -> None:
    if count > 0:
        say(answer.dim(f"... {count:,} {what}; --all shows them"))


def _state(status: Status) -> str:
    if status.complete:
        return "complete: everything asked for is proven"
    if status.staged_partitions:
        begun = len(status.staged_partitions)
        partitions = "1 partition is" if begun == 1 else f"{begun:,} partitions are"
        return f"being written, or cut short: {partitions} begun and not yet published"
    if status.windows_failed:
        return "has gaps; run the job again to fill them"
    return "not finished; run the job again to go on"
