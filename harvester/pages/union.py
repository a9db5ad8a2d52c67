"""Walks of a part of a window, united until it is certain that all of it came. Pure.

Where rows change places between two calls, a walk shows some on two pages and others on none; so walks are
put together. Their pages need no overlap. Two things prove that a union is whole:

* Counting. Where an empty page comes for position n, no more than n rows stood there at that time. A union of
  n different ones is all of them, unless one in it had left by then; so each has to come once more from then
  on, with whatever walk.
* Going one way. Where the source holds records twice there are fewer of them than positions. Then walks have
  to bring the same records in the same order though each is cut into pages at other places. What hides a row
  is a seam between two pages, in the midst of rows that change places with each other; as many rows as the
  shortest stretch that has a seam of each walk in it have to come the same way again by chance (`Ways`).
  Where that is too short, it can be shown that records are held as often as they came (copies.py), and the
  rest is counting.
"""

from bisect import bisect_left
from collections import Counter
from itertools import combinations
from math import inf, lgamma, log
from typing import Final

from harvester.dialects import Key, Page
from harvester.pages.order import LEAST_PROOF, ascends

Seam = tuple[int, int]
"""The position at which a page of a walk begins, but for the first one, and the one to which the page before
reached."""
SURE: Final = 12 * log(10)
"""Chance is left one in 10^12."""
_STALE: Final = 2
"""So many walks in a row that bring nothing new and prove nothing: it is no use to go on."""
_CANDIDATES: Final = 2
"""So often all that stood at a time had come, and some of it did not come again: rows leave."""
_MOST_HELD: Final = 4
"""A record that is held more often takes too many requests: each of its positions has to be told from another
record's."""
_CUTS: Final = 3
"""After so many walks it is known how small the pieces are into which they are cut."""


class Ways:
    """Whether walks that all went the same way prove that the order stood still."""

    def __init__(self, *, is_small: bool) -> None:
        """`is_small`: rows of one second or less. Where they change places at all, then with each other."""
        self._is_small = is_small
        self._way: tuple[int, ...] | None = None
        self._seams: list[list[Seam]] = []
        self.agree = True
        """Whether there is only one way so far."""

    def add(self, way: tuple[int, ...], seams: list[Seam]) -> None:
        self.agree = self.agree and self._way in (None, way)
        self._way = way
        self._seams.append(seams)

    @property
    def needed(self) -> float:
        """How many walks prove it when they are cut as those so far. With three no row is hidden by pages
        that come turned round either: a stretch that they leave out ends at a seam or in its mirror image.
        """
        assert self._way is not None
        rows = shortest_cut(self._seams) - 1  # one may be hidden
        if self._is_small:
            rows = max(2, len(self._way))
        surprise = lgamma(rows + 1)
        return max(3, 1 + SURE / surprise) if surprise > 0 else inf

    @property
    def is_proof(self) -> bool:
        return self.agree and len(self._seams) >= self.needed


def shortest_cut(walks: list[list[Seam]]) -> float:
    """Of how many rows the shortest stretch is that each walk cuts; infinite where one cuts nothing."""
    walks = [_ascending(seams) for seams in walks]
    best = inf
    for first in {seam[0] for seams in walks for seam in seams}:  # the lowest of them
        last = 0.0
        for seams in walks:
            place = bisect_left(seams, (first, 0))
            last = max(last, seams[place][1] if place < len(seams) else inf)
        best = min(best, last - first + 2)
    return best


def _ascending(seams: list[Seam]) -> list[Seam]:
    """Those that no other one lies within, by both of their ends."""
    kept: list[Seam] = []
    for seam in reversed(seams):
        if not kept or seam[1] < kept[-1][1]:
            kept.append(seam)
    return kept[::-1]


def _ascend(keys: list[Key]) -> bool:
    try:
        return ascends(keys)
    except TypeError:  # keys of two kinds
        return False


class Union:
    """`begin` a walk, `take` its pages one after another, and `end` it when an empty one has come."""

    def __init__(
        self, counted: set[int] | None = None, *, is_small: bool = False, trusts_copies: bool = True
    ) -> None:
        """`counted`: hashes of as many keys as rows stood in the part at the end of a walk that is over."""
        self._counted = None if counted is None else dict.fromkeys(counted, 1)
        """All that stood there at a time, by hash how often, if each of them stands there still."""
        self.trusts_copies = trusts_copies
        """Whether a copy in an answer is a position. It is not where one follows that is not there."""
        self._is_confirmed = False
        """Whether all of that came once more since."""
        self._candidates = 0
        self._ways = Ways(is_small=is_small)
        self._is_small = is_small
        self._held: dict[int, int] = {}
        """Of records that were shown to be held several times (copies.py): how often."""
        self._stale = 0
        self._before = 0
        self.came: dict[int, int] = {}
        """Hashes of the keys that came since then, and how often in one answer, or in one walk where they are
        held so often."""
        self.walks = 0
        self.largest = 0
        """The most items that came in one page."""
        self.begin()

    def begin(self) -> None:
        self.position = 0
        """Where the next page begins: a copy in one answer, or what is no record beside others, may stand at
        no position, and is not counted, so as to leave none out."""
        self._before = sum(self.came.values())
        self._way: dict[int, int] = {}
        """Where each key came first."""
        self._again: dict[int, set[int]] = {}
        """Of those that came at several positions: these."""
        self._last: list[Key] = []
        """The key that came from the position before, unless it was no record."""
        self._ascends = True
        """Whether all came by key."""
        self._seams: list[Seam] = []
        self._tail: list[int] = []
        """What the page before held from `position` on, if copies are positions."""
        self._copies: dict[int, int] = {}
        """Of the page before, until what stands behind it shows that they are."""
        self._rejects: set[bytes] = set()

    @property
    def first_page(self) -> int | None:
        """How many records to ask for first, so that this walk is cut at other places than those before."""
        if self.walks == 0 or self.largest <= 1:
            return None
        share, step, number = 0.0, 0.5, self.walks
        while number:  # 1/2, 1/4, 3/4, 1/8, 5/8 and so on
            share += step * (number & 1)
            step, number = step / 2, number >> 1
        return max(1, round(share * self.largest))

    def is_end(self, page: Page) -> bool:
        """Also where nothing comes but what is no record and came before: it may be added to each page."""
        return not page.rows and self._rejects.issuperset(one.raw for one in page.rejects)

    def take(self, page: Page) -> None:
        keys = [hash(row[1]) for row in page.rows]
        self._ascends = self._ascends and _ascend([*self._last, *(row[1] for row in page.rows)])
        if self.position:
            again = self._take_tail(keys)
            self._seams.append((self.position, self.position + again))
        different = dict.fromkeys(keys)
        for place, key in enumerate(keys, self.position):
            first = self._way.setdefault(key, place)
            if first != place:
                self._again.setdefault(key, {first}).add(place)
        for key in different:
            times = min(self._held.get(key, 1), len(self._again.get(key, (key,))))
            self.came[key] = max(times, self.came.get(key, 1))
        advance = len(different) or len(page.rejects)
        self._last = [row[1] for row in page.rows[advance - 1 : advance]]
        self._tail = [] if page.rejects else keys[advance:]
        if self._tail:
            self._copies = {key: times for key, times in Counter(keys).items() if times > 1}
        self._rejects.update(one.raw for one in page.rejects)
        self.position += advance
        self.largest = max(self.largest, len(page.rows) + len(page.rejects))

    def _take_tail(self, keys: list[int]) -> int:
        """How much of what copies have pushed out of the page before stands behind it; they are positions
        where all of it does."""
        tail, self._tail = self._tail, []
        there = keys[: len(tail)]
        if there != tail[: len(there)]:
            self.trusts_copies = False
        if not tail or there != tail:
            return 0
        for key, times in self._copies.items():
            self.came[key] = max(times, self.came.get(key, 0))
        return len(tail)

    def end(self) -> bool:
        """Whether the union is whole."""
        self.walks += 1
        self.trusts_copies &= not self._tail  # nothing stands where a copy has pushed it
        came = self.came
        if not self.trusts_copies:
            came = {key: min(times, self._held.get(key, 1)) for key, times in came.items()}
        self._ways.add(tuple(self._way), [seam for seam in self._seams if seam[1] < self.position])
        if self._ways.is_proof:
            return True
        if self._counted is not None and all(came.get(one, 0) >= n for one, n in self._counted.items()):
            if self._is_confirmed or all(n <= self._held.get(one, 1) for one, n in self._counted.items()):
                return True
            self._is_confirmed, self.came = True, {}  # with copies once more: by chance they may look like it
            return False
        if sum(came.values()) >= self.position:
            self._counted, self.came, self._is_confirmed = came, {}, False
            self._candidates += 1
            return not came
        is_stale = sum(self.came.values()) == self._before and not self._ways.agree
        self._stale = self._stale + 1 if is_stale else 0
        return False

    @property
    def doubled(self) -> dict[int, tuple[int, ...]]:
        """The records that came at several positions in the walk that is over, with these, if the union would
        be whole were they held so often.

        None where an answer from one position may always come in another order: one of two positions that are
        as far from both ends may be answered from the other end, and few rows ascend by chance. Halves have
        other ends and other positions, until they are small.
        """
        if len(self._way) + sum(len(positions) - 1 for positions in self._again.values()) < self.position:
            return {}
        doubled = {
            key: tuple(sorted(positions))
            for key, positions in self._again.items()
            if not self.trusts_copies or self.came.get(key, 1) < len(positions)
        }
        if any(len(positions) > _MOST_HELD for positions in doubled.values()):
            return {}
        if self._is_small:
            return doubled
        mirror = self.position - 1
        pairs = [pair for positions in doubled.values() for pair in combinations(positions, 2)]
        is_in_doubt = not self._ascends or len(self._way) < LEAST_PROOF or mirror in map(sum, pairs)
        return {} if is_in_doubt else doubled

    def hold(self, doubled: dict[int, tuple[int, ...]]) -> None:
        """It was shown that these are held so often. All has to come anew."""
        self._held = {key: len(positions) for key, positions in doubled.items()}
        self.came = {}

    def doubt(self) -> None:
        """One of them did not come from its position: rows change places, or have moved."""
        self._ways.agree, self._stale = False, _STALE

    def is_slow(self, most_ways: int) -> bool:
        """Whether the walks go one way, and too many of them would have to."""
        if not self._ways.agree or self._counted:
            return False
        return self.largest <= 1 or (self.walks >= _CUTS and self._ways.needed > most_ways)

    def is_useless(self, most: int, most_ways: int) -> bool:
        """Whether it will hardly be whole with so many walks, or so many that go one way."""
        return (
            self.walks >= most
            or self._stale >= _STALE
            or self._candidates > _CANDIDATES
            or ((self.largest <= 1 or self.is_slow(most_ways)) and not self._held)
        )
