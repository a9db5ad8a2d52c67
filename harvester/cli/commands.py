"""Which commands there are, in which module each lives, and the first page of help."""

from typing import Final, NamedTuple


class Command(NamedTuple):  # a dataclass would cost --help a third of its time
    module: str
    about: str


COMMANDS: Final = {
    "run": Command(
        "harvester.cli.run", "harvest the span of a job into files; goes on where an earlier run ended"
    ),
    "plan": Command(
        "harvester.cli.plan", "what a run would ask: windows, requests, bytes and time; asks nothing"
    ),
    "probe": Command(
        "harvester.cli.probe", "what the source does where its description is silent, measured; asks gently"
    ),
    "config": Command("harvester.cli.config", "each setting of a job, its value and where that came from"),
    "status": Command(
        "harvester.cli.status", "what of an output is done, open or failed; also while a run goes on"
    ),
    "verify": Command(
        "harvester.cli.verify", "the files of an output against its manifest and its ledger, or the source"
    ),
    "schema": Command(
        "harvester.cli.schema", "the fields of an output's records: types, nulls, first and last seen"
    ),
    "rebuild-ledger": Command(
        "harvester.cli.rebuild_ledger", "make a lost or damaged ledger anew from manifest and shards"
    ),
    "simulate": Command(
        "harvester.testing.command", "serve the Reporting API on this machine, with data and faults"
    ),
}

LATER: Final = {
    "refresh": "harvest the span again into a new folder",
    "report": "`harvester status` shows what is done, open and failed",
    "merge": "one run harvests the whole span",
}
"""Commands of the interface that this version has not, and what to do instead."""

HELP: Final = """\
usage: harvester COMMAND [...]

Empties a paged reporting API into sharded files, and proves that nothing is missing.

commands:
{commands}

options:
  -h, --help  this page; `harvester COMMAND --help` tells more of a command
  --version   the version

examples:
  export HARVESTER_TOKEN=...
  harvester plan   january.toml                 # what would it cost?
  harvester run    january.toml                 # do it; stop it any time, run it again to go on
  harvester status out                          # how far is it?
  harvester verify out                          # is every file what it should be?
  harvester run    january.toml --start 2024-01-01 --end 2024-01-02 --out try   # one day of it, elsewhere

exit codes:
   0  proven complete                           6  the source does not keep its contract
   2  wrong usage or configuration              7  the output could not be written
   3  finished with gaps; run again             8  another run or another job holds the output
   4  verification found a difference          10  --max-duration reached; run again
   5  the source refused the token             75  stopped by a signal; run again
   1  unforeseen, with the state kept
"""


def first_page() -> str:
    lines = (f"  {name:<14}  {command.about}" for name, command in COMMANDS.items())
    return HELP.format(commands="\n".join(lines))
