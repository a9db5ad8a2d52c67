"""`python -m tests.disks crashing|losing|breaking [OPTION...]`: a sweep in every story, or those that
`--story` names; one line of JSON. Other options go to the sweep. With `--mutants` the program is broken on
purpose instead, and each way of breaking it must be seen.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import orjson

from tests.disks.mutants import BREAKING, LOSING
from tests.disks.runs import STORIES, swept

MUTANTS: Final[dict[str, Sequence[str]]] = {"losing": list(LOSING), "breaking": list(BREAKING)}


def _say(what: str, told: dict[str, Any]) -> None:
    print(f"{what}: {orjson.dumps(told).decode()}"[:2000], file=sys.stderr, flush=True)


def try_mutants(sweep: str, options: Sequence[str]) -> int:
    found = {}
    for name in MUTANTS[sweep]:
        _, told = swept(f"tests.disks.{sweep}", [*options, "--mutant", name], story="plain")
        first = told.pop("wrong")[:1]
        found[name] = told
        _say(name, {**told, "first": first})
    print(orjson.dumps(found).decode())
    return not all(one.get("number wrong") for one in found.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.disks")
    parser.add_argument("sweep", choices=["crashing", "losing", "breaking"])
    parser.add_argument("--story", choices=list(STORIES), action="append")
    parser.add_argument("--mutants", action="store_true")
    args, options = parser.parse_known_args()
    if args.mutants:
        return try_mutants(args.sweep, options)
    worst, counts, wrong = 0, Counter[str](), []
    stories = args.story or list(STORIES)
    for story in stories:
        code, told = swept(f"tests.disks.{args.sweep}", options, story=story)
        _say(story, told)
        wrong += [f"{story}: {one}" for one in told.pop("wrong")]
        counts.update(told)
        worst = max(worst, code)
    print(orjson.dumps({"stories": stories, **counts, "wrong": wrong}).decode())
    return worst


if __name__ == "__main__":
    sys.exit(main())
