"""`harvester probe`: what the source does where its description is silent; a table, and contract.json."""

import os
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from functools import partial

import anyio
import msgspec

from harvester import config
from harvester.cli import answer, job_flags
from harvester.cli.config import span_text
from harvester.cli.streams import say, talk
from harvester.contract import Contract
from harvester.job import Job
from harvester.probe import MOST_REQUESTS, TITLES, probe, write

EXAMPLES = f"""\
examples:
  export HARVESTER_TOKEN=...
  harvester probe january.toml
  harvester probe january.toml --start 2024-01-15 --end 2024-01-16 --json | jq .facts

Asks at most {MOST_REQUESTS} times, one request after the other and at the job's pace, for records and nothing
else. It looks for a busy stretch of the job's span by itself; what the data there does not allow to tell is
"not measured", and why. The result goes into the job's output as _harvest/contract.json, for `harvester run`.

Exit code 0: measured, as far as the data allows. 5: the source refuses the token. 6: not one good page, or no
record with the declared key and date. 3: the source could not be reached. 2: usage or configuration.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester probe JOB.toml [options]"
    parser.epilog = EXAMPLES
    job_flags.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="what is in contract.json, instead of the table")


def run(args: Namespace) -> int:
    asked = job_flags.config_of(args)
    job = config.job_of(asked, now=datetime.now(UTC))
    config.token_of(asked, os.environ)
    found = anyio.run(partial(probe, job), backend_options={"use_uvloop": sys.platform != "win32"})
    path = write(found, job.output.folder)
    if args.json:
        answer.say_json(msgspec.to_builtins(found))
        talk(f"harvester: written to {path}")
    else:
        _say(job, found, str(path))
    return 0


def _say(job: Job, found: Contract, path: str) -> None:
    answer.say_pairs(
        {
            "source": f"{found.dialect} from {found.source}",
            "span": span_text(job.span),
            "asked": f"{found.requests:,} times",
            "written": path,
        }
    )
    say()
    answer.say_table(("what", "found"), [(TITLES[fact.name], fact.told) for fact in found.facts])
