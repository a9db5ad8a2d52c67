"""Windows in the ledger: which are done, which failed, and what of a span is still to be asked for.

A window that has no row is OPEN: it was never asked for, or what it brought was not sealed.
"""

import sqlite3
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from harvester.errors import StorageError
from harvester.ledger.facts import Facts
from harvester.ledger.states import TRANSITIONS, Counts, Gap, Settled, State, from_us, to_us
from harvester.windows import Span, subtract

NOT_OVER: Final = "provisional: asked for before it was over; run again afterwards"
NOT_PUBLISHED: Final = "sealed and not yet published; run again to go on"
_OVERLAP: Final = (
    "start >= coalesce((SELECT start FROM windows WHERE start <= ? ORDER BY start DESC LIMIT 1), ?) "
    "AND start < ? AND end > ?"
)
"""Windows that overlap a range, with the values of `_overlap`. No two rows overlap, so but for those that
begin inside only the last one before can: without the first line each question would go through all windows
of the ledger, and a run would cost the square of its windows.
"""
_INSERT_WINDOW: Final = (
    "INSERT INTO windows (start, end, state, records, error, staged) VALUES (?, ?, ?, ?, ?, ?)"
)


class Proven(Facts):
    """The part of the ledger that says of each instant whether its records are proven to be here."""

    def missing(self, span: Span) -> list[Span]:
        """The stretches of `span` that no done window covers, in order."""
        return self._without(span, "state = 'done'")

    def unpublished(self, span: Span) -> list[Span]:
        """The stretches of `span` that readers cannot rely on, in order: the missing ones, and those whose
        records are staged.
        """
        return self._without(span, "state = 'done' AND staged IS NULL")

    def _without(self, span: Span, which: str) -> list[Span]:
        rows = self._rows(
            f"SELECT start, end FROM windows WHERE {which} AND {_OVERLAP} ORDER BY start",
            *_overlap(to_us(span.start), to_us(span.end)),
        )
        return subtract(span, _joined(rows))

    def staged(self) -> list[Gap]:
        """Stretches that are done while their records wait to be published."""
        rows = self._rows(
            "SELECT start, end FROM windows WHERE staged IS NOT NULL AND state = 'done' ORDER BY start"
        )
        return [Gap(start=span.start, end=span.end, error=NOT_PUBLISHED) for span in _joined(rows)]

    def gaps(self, span: Span | None = None) -> list[Gap]:
        """Windows that failed or are provisional, in order, with what was last said of them."""
        low, high = (to_us(span.start), to_us(span.end)) if span else (-(1 << 62), 1 << 62)
        rows = self._rows(
            f"SELECT start, end, error FROM windows WHERE state <> 'done' AND {_OVERLAP} ORDER BY start",
            *_overlap(low, high),
        )
        return [
            Gap(start=from_us(start), end=from_us(end), error=error or NOT_OVER) for start, end, error in rows
        ]

    def counts(self, span: Span | None = None) -> Counts:
        low, high = (to_us(span.start), to_us(span.end)) if span else (-(1 << 62), 1 << 62)
        rows = self._rows(
            "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed'), "
            "coalesce(sum(records), 0) FROM windows WHERE start >= ? AND start < ?",
            low,
            high,
        )
        done, failed, records = rows[0]
        return Counts(done=done, failed=failed, records=records)

    def fail(self, settled: Iterable[Settled]) -> None:
        """Records windows that failed and brought nothing."""
        with self._transaction() as db:
            self._settle(db, settled)

    @staticmethod
    def _settle(db: sqlite3.Connection, settled: Iterable[Settled], staged: int | None = None) -> None:
        rows = [
            (to_us(one.window.start), to_us(one.window.end), one.state.value, one.records, one.error, staged)
            for one in settled
        ]
        if not rows:
            return
        whole = _overlap(min(row[0] for row in rows), max(row[1] for row in rows))
        (is_known,) = db.execute(f"SELECT EXISTS (SELECT 1 FROM windows WHERE {_OVERLAP})", whole).fetchone()
        are_apart = all(one[1] <= other[0] for one, other in pairwise(rows))
        if are_apart and not is_known and all(TRANSITIONS[State.OPEN, State(row[2])] for row in rows):
            db.executemany(_INSERT_WINDOW, rows)
            return
        for row in rows:
            start, end, state, *_ = row
            where = _overlap(start, end)
            done = f"SELECT EXISTS (SELECT 1 FROM windows WHERE {_OVERLAP} AND state = 'done')"
            before = State.DONE if db.execute(done, where).fetchone()[0] else State.OPEN
            if not TRANSITIONS[before, State(state)]:
                raise StorageError(
                    f"the window {from_us(start).isoformat()} is {before.value} and cannot become {state}"
                )
            db.execute(f"DELETE FROM windows WHERE {_OVERLAP}", where)
            db.execute(_INSERT_WINDOW, row)


def _overlap(start: int, end: int) -> tuple[int, int, int, int]:
    return start, start, end, start


def _joined(rows: Iterable[tuple[int, int]]) -> list[Span]:
    """Neighbours become one, so that a year of done windows is one span and not 35,000."""
    joined: list[tuple[int, int]] = []
    for start, end in rows:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [Span(start=from_us(start), end=from_us(end)) for start, end in joined]
