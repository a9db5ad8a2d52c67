"""Which versions the last rows had that came: where two requests overlap, they may come again in newer ones.

Pure. Of a page only its last rows are remembered, as many as the next request reaches back to.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from harvester.dialects import Key, Row


class Versions:
    def __init__(self, widen: timedelta) -> None:
        """`widen`: how far a request reaches back over the last row of the page before. By offset, one begins
        with a row from before the last second."""
        self._back = max(2 * widen, timedelta(seconds=1))
        self._shown: dict[Key, str] = {}
        self._before: dict[Key, str] = {}
        """Of the page before: what stands behind an overlap is asked for between two looks at that."""
        self._until: datetime | None = None

    def note(self, rows: list[Row]) -> None:
        """The rows of a page, by time."""
        if not rows:
            return
        since = rows[-1][0] - self._back
        at = len(rows)
        while at and rows[at - 1][0] >= since:
            at -= 1
        self._shown, self._before = {row[1]: row[2] for row in rows[max(0, at - 1) :]}, self._shown
        self._until = max(rows[-1][0], self._until or rows[-1][0])

    def changed(self, rows: Iterable[Row]) -> list[Row]:
        """Those of the next page that came in another version with one of the two before."""
        if self._until is None:
            return []
        changed = []
        for row in rows:
            if row[0] > self._until:
                break
            if self._shown.get(row[1], self._before.get(row[1], row[2])) != row[2]:
                changed.append(row)
        return changed
