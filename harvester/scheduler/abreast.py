"""How many stretches are read side by side: those that find room in memory, and more where more answers come
of it.

The records of a stretch wait until it is whole and all before it are stored. Where many are read at a time
nearly all of them go to disk and back, a fifth of what a run costs: that is worth it where the answers are
what everybody waits for, since twice as many stretches then bring twice as many pages in the same time. Where
the CPU is, here or at the server, or the line between, they bring no more. So it is tried out:

    ==============  ====================================  ===================================================
    what is tried   where it is kept                      then
    ==============  ====================================  ===================================================
    twice as many   two fifths more records in the time   twice as many again, at once; else back and a rest
    half as many    nearly as many records in the time    half as many again, at once; else back and a rest
    ==============  ====================================  ===================================================
"""

from typing import Final

import anyio

LEAST: Final = 2
"""While the records of one page are read, the next one is on its way."""
WORTH_IT: Final = 1.4
AS_GOOD: Final = 0.85
ENOUGH: Final = 6
"""Pages by which a number is judged, or one for each stretch under way."""
FIRST_LESS: Final = 64
"""Pages until fewer are tried."""
REST: Final = 256
"""Pages until more are tried again, and twice as many after each time in vain."""
MAX_REST: Final = 8192


class Abreast:
    """Asked by the plan before each stretch, and told when it is read and when it is stored."""

    def __init__(self, least: int, most: int) -> None:
        """`least` find room in memory."""
        self._most = max(1, most)
        self._least = min(max(LEAST, least), self._most)
        self.limit = self._least
        self.reading = 0
        self._unstored = 0
        self._freed = anyio.Event()
        self._changed_s = 0.0
        """When the limit became what it is."""
        self._pages = self._records = 0
        self._took_s = 0.0
        self._before: tuple[int, float] | None = None
        """The limit that is compared with, and records per second then; None where nothing is on trial."""
        self._is_upwards = True
        """Whether the next trial is of more."""
        self._rest = REST
        self._due = 0
        """Pages until that."""

    async def begin(self) -> None:
        """Comes back when one more may be read. As long as they are no more than find room in memory, only
        one that is read waits there for one before it, or is being stored."""
        while self.reading >= self.limit or self.waits_for_store:
            self._freed = anyio.Event()
            await self._freed.wait()
        self.reading += 1
        self._unstored += 1

    @property
    def waits_for_store(self) -> bool:
        return self.limit <= self._least and self._unstored > self.limit

    def is_read(self) -> None:
        self.reading -= 1
        self._freed.set()

    def is_stored(self) -> None:
        self._unstored -= 1
        self._freed.set()

    def came(self, records: int, *, since_s: float, now_s: float) -> None:
        """A full page of a stretch, from the one before it on. What left before the limit was changed, or
        with another number of stretches under way, does not tell."""
        limit = self.limit
        if since_s < self._changed_s or self.reading != limit:
            return
        self._pages += 1
        if self._pages <= limit:
            return  # those that have just begun
        self._records += records
        self._took_s += now_s - since_s
        if self._pages < limit + max(ENOUGH, limit, self._due):
            return
        speed = limit * self._records / max(self._took_s, 1e-9)
        before, former = self._before or (limit, 0.0)
        if speed >= (WORTH_IT if limit > before else AS_GOOD) * former:
            self._try(speed, now_s)
        else:
            self._turn(before, now_s)

    def _try(self, speed: float, now_s: float) -> None:
        limit = self.limit
        to = min(2 * limit, self._most) if self._is_upwards else max(limit // 2, self._least)
        if to == limit:
            self._turn(limit, now_s)
            return
        if self._before is not None:
            self._rest = REST
        self._before, self._due = (limit, speed), 0
        self._set(to, now_s)

    def _turn(self, limit: int, now_s: float) -> None:
        """Stays here for a while, and then tries the other way."""
        self._before, self._is_upwards = None, not self._is_upwards
        self._due = FIRST_LESS
        if self._is_upwards:
            self._due, self._rest = self._rest, min(2 * self._rest, MAX_REST)
        self._set(limit, now_s)

    def _set(self, limit: int, now_s: float) -> None:
        self.limit = limit
        self._changed_s = now_s
        self._freed.set()
        self._pages = self._records = 0
        self._took_s = 0.0
