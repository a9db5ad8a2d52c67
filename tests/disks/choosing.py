"""Which calls of a run are disturbed. A call is named by what it is about and not by its number among all,
which is another one in each run: rows spill when they have to wait, and the ledger writes as many pages as it
needs.

The first call of each kind about each thing is made by every run, at whatever speed. So a sample that is made
of these, and what it counts, does not depend on the machine.
"""

import re
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

_OF_A_RUN: Final = re.compile(r"(?<=-)[0-9a-f]{8}(?=\.)|\d+")
"""Digits of a SHA-256, dates, numbers of builds, shards and spilled files."""


def about(place: str) -> str:
    """What all places of its sort have in common: `out/dt=#-#-#/part-#.jsonl.zst`."""
    return _OF_A_RUN.sub("#", place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """The `nth` call of a run, the first being 1: of all calls, or of those of one kind about one thing."""

    nth: int
    kind: str = ""
    about: str = ""

    def __str__(self) -> str:
        return f"{self.kind or 'call'} {self.nth}{self.about and f' of {self.about}'}"

    def may_be(self, kind: str, place: str) -> bool:
        return self.kind in ("", kind) and self.about in ("", about(place))


def spots(kinds: Sequence[str], places: Sequence[str]) -> list[Spot]:
    """A name for each call, given its kind and its place."""
    counted: Counter[tuple[str, str]] = Counter()
    named = []
    for kind, place in zip(kinds, places, strict=True):
        what = kind, about(place)
        counted[what] += 1
        named.append(Spot(nth=counted[what], kind=kind, about=what[1]))
    return named


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Of the calls of a run those of some kinds (empty: all), about what has `place` in its path; with
    `first` only the first one of each kind about each thing. Of the points that these give, each `every`-th.
    """

    kinds: frozenset[str] = frozenset()
    place: str = ""
    first: bool = False
    every: int = 1

    def numbers(self, kinds: Sequence[str], places: Sequence[str]) -> list[int]:
        """Of the calls that are chosen, the first call being 1."""
        return [
            number
            for number, (spot, place) in enumerate(zip(spots(kinds, places), places, strict=True), start=1)
            if (not self.kinds or spot.kind in self.kinds)
            and self.place in place
            and (spot.nth == 1 or not self.first)
        ]

    @staticmethod
    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("--every", type=int, default=1, help="only each N-th point")
        parser.add_argument(
            "--first", action="store_true", help="only the first call of a kind about a thing"
        )
        parser.add_argument("--kind", default="", help="only calls of these kinds: write,rename,...")
        parser.add_argument("--place", default="", help="only calls about what has this in its path")

    @classmethod
    def of(cls, args: Namespace) -> Self:
        kinds = frozenset(filter(None, args.kind.split(",")))
        return cls(kinds=kinds, place=args.place, first=args.first, every=args.every)
