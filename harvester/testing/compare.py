"""`python -m harvester.testing.compare OUT URL`: an output folder against a running simulator's truth.

Prints the difference as one JSON object; exit code 0 when there is none, 1 when there is, 2 for a wrong call.
"""

import argparse

import orjson

from .truth import compare_output


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
