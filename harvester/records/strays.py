"""Rows that came with the pages of another window: where two requests overlap, or from behind an end.

They count for no window, since each record comes with its own. But one that was written again in between
may show a newer version here than there. So they wait until their window is stored, and take the place of
what it brought where they are newer. What is not needed any more goes as windows are stored, in their order.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Final

from harvester.dialects import Key, Row
from harvester.windows import Window

STRAY_BYTES: Final = 2 << 20
"""Raw bytes of such rows, over all windows: some 700 records of 3 KB. Few windows are under way at once, and
each brings a second's records from around it and some from behind its end."""
_time: Final = itemgetter(0)


class Strays:
    """Of one run; only the task that reads pages and the one that stores touch it, on one loop."""

    def __init__(self, limit_bytes: int = STRAY_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._rows: dict[Key, Row] = {}
        self._bytes = 0

    def note(self, rows: list[Row], is_newer: Callable[[str, str], bool]) -> None:
        """Keeps the newest version of each. Beyond the bound what lies latest is let go: it is read last."""
        for row in rows:
            known = self._rows.get(row[1])
            if row[2] and (known is None or is_newer(row[2], known[2])):
                self._rows[row[1]] = (*row[:3], bytes(row[3]))  # a view would keep its whole page
                self._bytes += len(row[3]) - (0 if known is None else len(known[3]))
        while self._bytes > self._limit_bytes:
            self._drop(max(self._rows.values(), key=_time))

    def take(self, window: Window) -> list[Row]:
        """Those of a window that is to be stored, and of none again: nor of any before it."""
        if not self._rows:
            return []
        past = [row for row in self._rows.values() if row[0] < window.end]
        for row in past:
            self._drop(row)
        return [row for row in past if window.start <= row[0]]

    def _drop(self, row: Row) -> None:
        del self._rows[row[1]]
        self._bytes -= len(row[3])
