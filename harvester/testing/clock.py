"""The present, for a server that is `live`: a record is there from when it was first written, and written
again later.

The clock is the settings' `now`, moved on through `/_simulator/clock`, or the real one. What a clock has
brought in before the first request counts as having been there always; what it brings later has moved while
the server ran.
"""

from bisect import bisect_right

from .rows import written_at
from .table import Table, time_of


class Timeline:
    """Empties the table of what is yet to come and puts it back when its time has come."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._shown: dict[int, int] = {}  # the row that stands in for one that is yet to be written again
        self._turns = sorted(turn for row in table.rows() for turn in _turns(table, row))
        self._next = 0
        table.empty()

    def advance(self, now_ms: int) -> None:
        """A clock that goes back changes nothing: what is there stays there."""
        table, begun = self._table, self._next > 0
        last = bisect_right(self._turns, (now_ms, 2**62, 0))
        for _, row, first_ms in self._turns[self._next : last]:
            if first_ms:
                raw = written_at(bytes(table.row(row)), first_ms)
                self._shown[row] = table.insert(raw, noticed=begun)
            else:
                if (stand_in := self._shown.pop(row, None)) is not None:
                    table.delete(stand_in, noticed=begun)
                table.show(row, noticed=begun)
        self._next = max(self._next, last)


def _turns(table: Table, row: int) -> list[tuple[int, int, int]]:
    """When a row is to appear: once, or first in an older version, written at the instant in the third
    place.
    """
    raw = table.row(row)
    last = time_of(raw, table.fields.version) or time_of(raw, table.fields.date) or 0
    first = time_of(raw, "FirstRollupAtUtc") or last
    return [(last, row, 0)] if first >= last else [(first, row, first), (last, row, 0)]
