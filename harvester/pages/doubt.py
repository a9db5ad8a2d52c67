"""Rows in order that may be in it by chance. Pure.

A page that came in another order, for one request, and was cut, may hold a few rows that ascend with others
missing between them. So few rows have to come again, in the next page, which may hold more behind them. And
what has come from behind the place up to which all is there has to stand on each page that reaches as far.
"""

from datetime import datetime
from typing import Final

from harvester.dialects import Key, Row
from harvester.pages.order import is_surprising

MOST_DOUBTS: Final = 32
"""Pages in a row may be doubted; then the server counts as one that keeps no order."""


class Doubt:
    def __init__(self) -> None:
        self._rows: list[Row] = []
        """What came behind `position`, by so few rows that it may have been left out what is between them."""
        self.pages = 0
        """Pages in a row that were doubted."""
        self._seen: dict[Key, datetime] = {}
        """What came from behind `position`."""

    def see(self, rows: list[Row], position: datetime) -> None:
        if rows and rows[-1][0] > position:
            self._seen.update((row[1], row[0]) for row in rows if row[0] > position)

    def is_lacking(self, rows: list[Row], position: datetime, end: datetime) -> bool:
        """Whether a page of what lies between these times, in order, leaves out a row that has come. If it is
        cut, then behind its last row."""
        if not self._seen:
            return False
        self._seen = {key: at for key, at in self._seen.items() if at > position}
        end = rows[-1][0] if rows else end
        keys = {row[1] for row in rows}
        return any(at < end and key not in keys for key, at in self._seen.items())

    @property
    def is_any(self) -> bool:
        return bool(self._rows)

    def end(self) -> None:
        self._rows, self.pages = [], 0

    def unknown(self, rows: list[Row]) -> list[Row]:
        """Those that did not come while they were doubted."""
        if not self._rows:
            return rows
        known = {(row[1], row[2]) for row in self._rows}
        return [row for row in rows if (row[1], row[2]) not in known]

    def sure(self, rows: list[Row], position: datetime) -> list[Row] | None:
        """Rows up to which no row is missing; None where all of these are in a row. Everything before
        `position` has come."""
        if is_surprising(rows):
            self._rows = []
            return None
        here = [row for row in rows if row[0] >= position]
        before, self._rows = [row for row in self._rows if row[0] >= position], here
        if not before:
            return []
        last = before[-1][0]
        earlier = {row[1] for row in before if row[0] < last}
        follows = here[len(earlier) :]
        if {row[1] for row in here[: len(earlier)]} != earlier or not follows or follows[0][0] != last:
            return []
        if here[-1][0] > last:
            return [row for row in here if row[0] <= last]  # what is behind them has come once
        self._rows = []
        return None
