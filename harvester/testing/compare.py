"""`python -m harvester.testing.compare OUT URL`: an output folder against a running simulator's truth.

Prints the difference as one JSON object; exit code 0 when there is none, 1 when there is, 2 for a wrong call.
"""

import argparse
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from .truth import Difference, compare, harvested


def fetch_truth(url: str, **asked: str) -> Iterator[dict[str, Any]]:
    """The lines of `/_simulator/truth` of the simulator at `url`."""
    query = urllib.parse.urlencode({name: value for name, value in asked.items() if value})
    with urllib.request.urlopen(f"{url.rstrip('/')}/_simulator/truth?{query}", timeout=600) as answer:
        rest = b""
        while block := answer.read(1 << 20):  # unlike its lines, its blocks tell when the answer is cut short
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield orjson.loads(line)


def compare_output(out: Path | str, url: str, **asked: str) -> Difference:
    """`asked` narrows the truth: dataset, start, end, date_field, fields, queues, filter, strict."""
    dataset = (asked.get("dataset") or "interactions").removeprefix("agent-workstate-")
    return compare(fetch_truth(url, **asked), harvested(out), dataset)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harvester.testing.compare", description=__doc__)
    parser.add_argument("out", metavar="OUT", help="output folder with a _manifest.json")
    parser.add_argument("url", metavar="URL", help="of the simulator, as it printed it")
    narrowing = (
        "dataset",
        "start",
        "end",
        "date-field",
        "fields",
        "queues",
        "filter",
        "resolution",
        "time-zone",
    )
    for name in (*narrowing, "strict"):
        parser.add_argument(f"--{name}", default="")
    given = vars(parser.parse_args(arguments))
    out, url = given.pop("out"), given.pop("url")
    difference = compare_output(out, url, **given)
    print(orjson.dumps(difference.report()).decode())
    return 1 if difference else 0


if __name__ == "__main__":
    raise SystemExit(main())
