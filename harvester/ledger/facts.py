"""What the ledger keeps beside windows and shards: the job and the spans that were asked of the output, what
runs learned of the source, and what the clock showed last.
"""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from harvester.errors import OtherJob
from harvester.ledger.file import LedgerFile
from harvester.ledger.states import from_us, to_us
from harvester.windows import Span, merge


class Facts(LedgerFile):
    """The part of the ledger that is told once or learned, and read by the next run."""

    # --- the job and its spans

    def adopt_job(self, fingerprint: Mapping[str, Any], reading: Mapping[str, Any] | None = None) -> None:
        """Writes the job into a new ledger; raises OtherJob, naming what differs, where another one
        stands.
        """
        known = self.job()
        if known is None:
            with self._transaction() as db:
                self._tell(db, {"job": fingerprint, "reading": reading or {}})
            return
        wanted = json.loads(json.dumps(dict(fingerprint)))
        differing = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
        if differing:
            differences = "; ".join(
                f"{key}: {known.get(key)!r} there, {wanted.get(key)!r} asked" for key in differing
            )
            raise OtherJob(
                f"{self._path.parent.parent}: this output belongs to another job ({differences}); "
                "use the same settings, or another output.url"
            )

    @staticmethod
    def _tell(db: sqlite3.Connection, told: Mapping[str, Mapping[str, Any]]) -> None:
        rows = [(key, json.dumps(dict(value), sort_keys=True)) for key, value in told.items()]
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)

    def job(self) -> dict[str, Any] | None:
        rows = self._rows("SELECT value FROM meta WHERE key = 'job'")
        return json.loads(rows[0][0]) if rows else None

    def reading(self) -> dict[str, Any]:
        """How the output's lines are to be read, as `dialects.row_reader` takes it."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'reading'")
        return json.loads(rows[0][0]) if rows else {}

    def extend(self, span: Span) -> None:
        """Adds a span to what is asked of this output; spans that touch become one."""
        known = self.spans()
        spans = merge([*known, span])
        if spans == known:
            return
        with self._transaction() as db:
            db.execute("DELETE FROM spans")
            db.executemany("INSERT INTO spans VALUES (?, ?)", [(to_us(s.start), to_us(s.end)) for s in spans])

    def spans(self) -> list[Span]:
        rows = self._rows("SELECT start, end FROM spans ORDER BY start")
        return [Span(start=from_us(start), end=from_us(end)) for start, end in rows]

    # --- what runs learn

    def learned(self) -> dict[str, Any]:
        rows = self._rows("SELECT key, value FROM meta WHERE key LIKE 'learned.%'")
        return {key.removeprefix("learned."): json.loads(value) for key, value in rows}

    def learn(self, facts: Mapping[str, Any]) -> None:
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [(f"learned.{key}", json.dumps(value)) for key, value in facts.items()],
            )

    # --- the clock

    def seen(self) -> datetime | None:
        """What the clock showed when a run looked at it last."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'seen'")
        return from_us(json.loads(rows[0][0])) if rows else None

    def see(self, now: datetime, *, doubted_since: datetime | None = None) -> int:
        """Keeps what the clock shows now. Windows that ended after `doubted_since` are proven no longer: the
        clock by which they were over ran ahead. Returns how many there were.
        """
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('seen', ?)", (json.dumps(to_us(now)),))
            if doubted_since is None:
                return 0
            return db.execute(
                "UPDATE windows SET state = 'provisional' WHERE state = 'done' AND end > ?",
                (to_us(doubted_since),),
            ).rowcount
