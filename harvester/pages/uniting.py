"""The loop around Union: a part of a window is walked until what came is known to be all of it."""

from collections.abc import Set
from datetime import timedelta
from functools import partial
from typing import Final

from harvester.dialects import Page
from harvester.errors import Moved, ServerFailed, TimedOut
from harvester.pages.asking import Asking, Split, Turn, named
from harvester.pages.copies import position, trials
from harvester.pages.recalls import Recalls, same_page
from harvester.pages.served import Served
from harvester.pages.union import Union
from harvester.pages.walk import MOST_DOUBLES, Walk
from harvester.windows import Window

MOST_WALKS: Final = 84
"""How often rows that never keep still are walked through until the union is whole: with ties in random order
over two pages each walk misses a record with probability 1/4, so 40 walks leave one chance in 10^24, and each
has to come once more. Two rows have to come the same way 41 times.
"""
MOST_OF_HALVES: Final = 16
"""How often where halves may show it too."""
MOST_WAYS: Final = 8
"""How often where they have to go one way: of what lies inside, halves hold less."""
MOST_SHAMS: Final = 3
"""How often what stands last may have gone when it is asked for once more behind an empty page: a server may
answer nothing past a depth."""


class Uniting:
    def __init__(self, asking: Asking, *, widen: timedelta, served: Served) -> None:
        self._asking = asking
        self._widen = widen
        self._served = served

    async def read(
        self,
        part: Window,
        turn: Turn,
        *,
        can_halve: bool,
        is_patient: bool = False,
        counted: set[int] | None = None,
    ) -> tuple[int, bool]:
        """Adds what comes to `turn`; how many pages were asked for, and whether that is all of the part.

        `counted` as in Union. Raises Moved where the part cannot be halved either, Split where the same
        records come for every offset, or where a page behind the first one is refused or comes too late.
        """
        turn.begin(part)
        shams = asked = tried = 0
        most_ways = MOST_OF_HALVES if is_patient else MOST_WAYS
        union = Union(counted, is_small=not can_halve, trusts_copies=not self._served.copies_in_doubt)
        while True:
            asked += await self._walk(part, turn, union, can_halve=can_halve)
            if union.end():
                if union.position == 0:
                    return asked, True
                page = await self._ask(part, union.position - 1, asked)
                asked += 1
                await turn.add(page.rows, page.rejects)  # it may show newer versions
                if {hash(row[1]) for row in page.rows} & union.came.keys():
                    self._served.note_offset_led_on()
                    return asked, True
                shams += 1
            if union.is_slow(most_ways) and not tried:
                tried = await self._try_copies(part, turn, union, asked)
                asked += tried
            if can_halve and (shams or union.is_useless(MOST_OF_HALVES, most_ways)):
                return asked, False
            if union.walks >= MOST_WALKS or shams >= MOST_SHAMS:
                raise Moved(
                    f"{named(part)}: rows changed their order on each of {MOST_WALKS} readings; "
                    "run again later"
                )

    async def _try_copies(self, part: Window, turn: Turn, union: Union, asked: int) -> int:
        """Whether each record that came at several positions stands at all of them; how many pages were asked
        for. None is tried where there are too few sizes of pages to ask for."""
        doubled = union.doubled
        wanted = {key: trials(len(positions)) for key, positions in doubled.items()}
        limit, rounds, more = self._served.limit, max(wanted.values(), default=0), 0
        if not 0 < rounds < limit:
            return 0
        for trial in range(rounds):
            for key, positions in doubled.items():
                if trial >= wanted[key]:
                    continue
                page = await self._ask(part, position(positions, trial), asked + more, most=limit - trial)
                more += 1
                await turn.add(page.rows, page.rejects)
                if page.rejects:
                    return more  # which of its items came first is not known
                if [hash(row[1]) for row in page.rows[:1]] != [key]:
                    union.doubt()
                    return more
        union.hold(doubled)
        return more

    async def _walk(self, part: Window, turn: Turn, union: Union, *, can_halve: bool) -> int:
        union.begin()
        recalls, asked = Recalls(self._asking, part), 0
        most = union.first_page
        # Another size is another request, which need not fare the same where it begins at the same place.
        limit = self._served.limit
        rest = max(1, limit - union.walks) if limit > 8 * union.walks or not can_halve else None
        while True:
            page = await self._ask(part, union.position, asked, most=most or rest)
            asked, most = asked + 1, None
            if union.is_end(page):
                return asked
            if union.position > MOST_DOUBLES * (len(union.came) + len(page.rows) + len(page.rejects)):
                raise Split(asked, same_page(part))
            await turn.add(page.rows, page.rejects)
            union.take(page)
            self._served.copies_in_doubt |= not union.trusts_copies
            middle = self._walk_of(part).at(union.position // 2)
            asked += await recalls.after(asked, middle, partial(_is_any_of, union.came.keys()))

    def _walk_of(self, part: Window, most: int | None = None) -> Walk:
        return Walk(part, widen=self._widen, served=self._served, most=most)

    async def _ask(self, part: Window, position: int, asked: int, *, most: int | None = None) -> Page:
        """Split where one behind the first page is refused or comes too late."""
        try:
            return await self._asking.page(self._walk_of(part, most).at(position), part, asked)
        except (ServerFailed, TimedOut) as error:
            if asked:
                raise Split(asked + 1, error) from error
            raise


def _is_any_of(hashes: Set[int], page: Page) -> bool:
    return bool(page.rejects) or any(hash(row[1]) in hashes for row in page.rows)
