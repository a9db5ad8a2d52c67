"""`harvester plan`: what a run would ask, as ranges with what they assume. Makes no connection, creates no
file.
"""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

from harvester import config
from harvester.cli import answer, job_flags
from harvester.cli.config import span_text
from harvester.cli.streams import say
from harvester.errors import ConfigError
from harvester.job import Job
from harvester.plan import Plan, plan
from harvester.telemetry.counters import duration

EXAMPLES = """\
examples:
  harvester plan january.toml
  harvester plan january.toml --records 200000       # you know how many there will be
  harvester plan january.toml --resolution Day --json | jq .requests

Without --records, and with nothing harvested yet, the ranges are wide: harvest a day first, and plan again.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester plan JOB.toml [options]"
    parser.epilog = EXAMPLES
    job_flags.add_arguments(parser)
    parser.add_argument(
        "--records", type=int, metavar="N", help="how many records you expect in the whole span"
    )
    parser.add_argument("--sample", action="store_true", help="not available in this version")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    if args.sample:
        raise ConfigError("--sample: not available in this version; use --records N, or harvest a day first")
    if args.records is not None and not 0 <= args.records <= 10**15:
        raise ConfigError(
            f"--records: {args.records} cannot be; give how many records you expect in the span"
        )
    asked = job_flags.config_of(args)
    job = config.job_of(asked, now=datetime.now(UTC))
    config.look_for_token(asked)
    found = plan(job, expected_records=args.records)
    if args.json:
        answer.say_json(
            {
                "job": str(args.job),
                "out": job.output.url,
                "span": {"start": job.span.start, "end": job.span.end},
            }
            | found.as_json()
        )
    else:
        _say(job, found)
    return 0


def _say(job: Job, found: Plan) -> None:
    done = f"{found.windows_done:,} of its windows are done already" if found.begun else "not begun"
    answer.say_pairs(
        {
            "source": f"{job.dialect.name} from {job.transport.base_url}",
            "span": span_text(job.span),
            "windows": f"{found.windows:,}, by {job.resolution.value} in {job.time_zone.key}",
            "output": f"{job.output.url} ({done})",
        }
    )
    say()
    rows = [
        ("windows to ask", f"{found.windows_to_ask:,}", f"{found.windows_to_ask:,}"),
        ("records", f"{found.records.least:,}", f"{found.records.most:,}"),
        ("requests", f"{found.requests.least:,}", f"{found.requests.most:,}"),
        ("bytes received", answer.size(found.bytes.least), answer.size(found.bytes.most)),
        ("time", duration(found.time_s.least), duration(found.time_s.most)),
    ]
    answer.say_table(("a run would ask", "at least", "at most"), rows, right=(1, 2))
    say()
    for assumption in found.assumptions:
        say(answer.dim(f"* {assumption}"))
