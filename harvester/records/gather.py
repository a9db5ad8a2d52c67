"""Pages become one Batch: which records are inside the window, which version is the newest, in which order.

A record belongs to the window that its date field falls into; inside a window the key decides, and of two
versions the newer one stays. What arrives is kept in memory up to a bound that all windows share (`Held`);
above it a window's records go to disk in sorted runs, which are merged again when the batch is written. So
memory grows neither with the span nor with a window's size, and the rows of a batch come out sorted by
(time, key) whatever their arrival.
"""

import heapq
import os
import pickle
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Final, Self

from anyio import to_thread

from harvester import syscalls
from harvester.dialects import Dialect, Key, Reject, Row
from harvester.errors import StorageError
from harvester.records.strays import Strays
from harvester.windows import Window

HELD_BYTES: Final = 32 << 20
"""Raw bytes of records that wait for their turn, over all windows: 11 pages of 3 MB."""
_LEAST_HELD_BYTES: Final = 16 << 20
_MOST_HELD_BYTES: Final = 48 << 20
"""A quarter of the 200 MiB that a run may take, since 16 answers under way need 48 MB besides."""
USUAL_RECORD_BYTES: Final = 4096
RUN_BYTES: Final = 1 << 20
"""Least size of a run on disk: smaller ones would make many files, and what every window may keep in memory
beyond `HELD_BYTES`.
"""
_CHUNK_ROWS: Final = 64
"""Rows of a run in memory while runs are merged; a window of 50,000 records has about 50 of them."""
_by_time_and_key = itemgetter(0, 1)
_key = itemgetter(1)
_raw = itemgetter(3)


class Held:
    """Bytes that batches keep in memory, over all windows of a run."""

    def __init__(self, limit_bytes: int = HELD_BYTES, run_bytes: int = RUN_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.run_bytes = run_bytes
        self.bytes = 0
        self.strays = Strays()

    @classmethod
    def beside(cls, tasks: int, page_size: int) -> Self:
        """As much again as a page of each task: what waits for the oldest of them stays in memory where they
        come in turn, and small pages make a small process.
        """
        usual_bytes = tasks * page_size * USUAL_RECORD_BYTES
        return cls(max(_LEAST_HELD_BYTES, min(usual_bytes, _MOST_HELD_BYTES)))

    @property
    def is_over(self) -> bool:
        return self.bytes > self.limit_bytes


class _Run:
    """Sorted rows without doubles, in memory or in a file."""

    def __init__(self, rows: list[Row], size_bytes: int, held: Held) -> None:
        self._rows: list[Row] | None = rows
        self._path: Path | None = None
        self._held = held
        self.size_bytes = size_bytes
        self.records = len(rows)
        self._last = rows[-1][0] if rows else datetime.min.replace(tzinfo=UTC)

    @property
    def in_memory(self) -> bool:
        return self._rows is not None

    def spill(self, path: Path) -> None:
        assert self._rows is not None
        try:
            file = syscalls.create(path)
            self._path = path  # from here on there is something to remove
            try:
                for i in range(0, len(self._rows), _CHUNK_ROWS):
                    rows = _with_bytes(self._rows[i : i + _CHUNK_ROWS])
                    syscalls.write_all(file, pickle.dumps(rows, protocol=pickle.HIGHEST_PROTOCOL))
            finally:
                os.close(file)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot write: {error.strerror}; free some space, then run again"
            ) from error
        self._drop_rows()

    def _drop_rows(self) -> None:
        if self._rows is not None:
            self._rows = None
            self._held.bytes -= self.size_bytes

    def chunks(self) -> Iterator[list[Row]]:
        if self._rows is not None:
            yield self._rows
            return
        assert self._path is not None
        with self._path.open("rb") as file:
            while True:
                try:
                    chunk: list[Row] = pickle.load(file)  # our own file, 0600, of this very run
                except EOFError:
                    return
                yield chunk

    def rows(self) -> Iterator[Row]:
        return chain.from_iterable(self.chunks())

    def before(self, end: datetime) -> "_Run":
        """This run without its rows from `end` on; itself where it has none."""
        if self._last < end:
            return self
        kept = [row for row in self.rows() if row[0] < end]
        self.discard()
        size_bytes = sum(len(row[3]) for row in kept)
        self._held.bytes += size_bytes
        return _Run(kept, size_bytes, self._held)

    def renew(self, row: Row, is_newer: Callable[[str, str], bool]) -> None:
        """Puts a newer version in the place of the one that is here, in memory."""
        assert self._rows is not None
        at = bisect_left(self._rows, row[:2])
        if at < len(self._rows) and self._rows[at][:2] == row[:2] and is_newer(row[2], self._rows[at][2]):
            more = len(row[3]) - len(self._rows[at][3])
            self._rows[at] = row
            self.size_bytes += more
            self._held.bytes += more

    def discard(self) -> None:
        self._drop_rows()
        path, self._path = self._path, None
        if path is None:
            return
        try:
            syscalls.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{path}: cannot remove: {error.strerror}; mend it, then run again") from error


@dataclass(slots=True, kw_only=True)
class Batch:
    """All records of one window, each once, in its newest version. `chunks` may be read once; then
    `discard`.
    """

    window: Window
    records: int
    raw_bytes: int
    """Without line ends."""
    duplicates: int
    outside: int
    rejects: list[Reject]
    chunks: Iterable[list[Row]]
    """The rows, in lists as they lie in memory."""
    is_over: bool = True
    """Whether the window had ended when its first page was asked for."""
    _runs: list[_Run] = field(default_factory=list)

    @property
    def rows(self) -> Iterator[Row]:
        return chain.from_iterable(self.chunks)

    @property
    def error(self) -> str | None:
        """Why the window is not proven although its records came: some items were no valid records."""
        if not self.rejects:
            return None
        return f"{len(self.rejects)} item(s) quarantined, the first: {self.rejects[0].reason}"

    def renew(self, rows: list[Row], is_newer: Callable[[str, str], bool]) -> None:
        """Of these, what is a newer version of a record of the batch takes its place. It is of the same time:
        one that was moved in time belongs where it is now."""
        if len(self._runs) == 1 and self._runs[0].in_memory:
            before = self._runs[0].size_bytes
            for row in rows:
                self._runs[0].renew(row, is_newer)
            self.raw_bytes += self._runs[0].size_bytes - before
        elif rows:
            self.chunks = _renewed(self.chunks, {row[:2]: row for row in rows}, is_newer)

    def spill(self, path: Callable[[], Path]) -> None:
        """Moves what is in memory to disk: the batch has to wait, and others need the room."""
        for run in self._runs:
            if run.in_memory:
                run.spill(path())

    def discard(self) -> None:
        for run in self._runs:
            run.discard()


class Gather:
    """Takes a window's pages as they come and ends as its Batch."""

    def __init__(
        self, window: Window, *, dialect: Dialect, held: Held, spill_path: Callable[[], Path]
    ) -> None:
        self.window = window
        self._newer = dialect.version_is_newer
        self._held = held
        self._spill_path = spill_path
        self._runs: list[_Run] = []
        self._hashes = array("q")
        """One per row that was put into a run; equal ones betray a key that stands in two runs."""
        self._now: dict[Key, Row] = {}
        self._now_bytes = 0
        self._mark = (0, 0, 0)
        self._part = window
        self._rejects: dict[bytes, Reject] = {}
        self._duplicates = 0
        self._outside = 0

    def begin(self, part: Window) -> None:
        """A part of the window is read from its beginning: what an earlier reading of this part brought is
        dropped.
        """
        if part == self._part:
            self._drop_now()
            for run in self._runs[self._mark[0] :]:
                run.discard()
            del self._runs[self._mark[0] :]
            del self._hashes[self._mark[1] :]
            for raw in list(self._rejects)[self._mark[2] :]:
                del self._rejects[raw]
        elif part.start >= self._part.end:
            self._close_run()
        else:  # a half of the part before: begin that half's range again
            self.begin(self._part)
        self._mark = (len(self._runs), len(self._hashes), len(self._rejects))
        self._part = part

    def cut(self, window: Window) -> None:
        """The window ends earlier than was thought, and rows behind its end are not kept."""
        if window.end >= self._part.end:
            self.window = window
            return  # nothing was kept from there on
        beyond = [key for key, row in self._now.items() if row[0] >= window.end]
        for key in beyond:
            size = len(self._now.pop(key)[3])
            self._now_bytes -= size
            self._held.bytes -= size
        self._runs = [run.before(window.end) for run in self._runs]
        self.window = window

    def _drop_now(self) -> None:
        self._held.bytes -= self._now_bytes
        self._now, self._now_bytes = {}, 0

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        start, end = self._part.start, self._part.end
        inside = [row for row in rows if start <= row[0] < end]
        if len(inside) < len(rows):
            self._outside += len(rows) - len(inside)
            self._held.strays.note([row for row in rows if not start <= row[0] < end], self._newer)
        self.doubt(rejects)
        await self.keep(owned(inside))

    async def keep(self, rows: list[Row]) -> None:
        """Rows that lie inside, and hold no more in memory than they are worth."""
        added = self._keep(rows)
        self._now_bytes += added
        self._held.bytes += added
        if self._held.is_over and self._now_bytes >= self._held.run_bytes:
            self._close_run()
            await to_thread.run_sync(self._runs[-1].spill, self._spill_path())

    def _keep(self, rows: list[Row]) -> int:
        """Returns by how many bytes that is more than before."""
        now, added = self._now, 0
        fresh = dict(zip(map(_key, rows), rows, strict=True))
        if len(fresh) == len(rows) and now.keys().isdisjoint(fresh):
            now.update(fresh)  # nearly always: a page that is as new as it is free of doubles
            return sum(map(len, map(_raw, rows)))
        for row in rows:
            key = row[1]
            known = now.get(key)
            if known is None:
                now[key] = row
                added += len(row[3])
            else:
                self._duplicates += 1
                kept = self._newest(known, row)
                now[key] = kept
                added += len(kept[3]) - len(known[3])
        return added

    def doubt(self, rejects: list[Reject]) -> None:
        """Items that are no records and may have been of this window."""
        for reject in rejects:
            self._rejects.setdefault(reject.raw, reject)

    def _newest(self, one: Row, other: Row) -> Row:
        """The newer version; of two that claim the same version, one that does not depend on which came
        first.
        """
        if self._newer(other[2], one[2]):
            return other
        if self._newer(one[2], other[2]):
            return one
        return max(one, other, key=lambda row: (row[0], bytes(row[3])))

    def _close_run(self) -> None:
        if self._now:
            rows = sorted(self._now.values())  # by time and key: no key is there twice
            self._hashes.extend(map(hash, self._now))
            self._runs.append(_Run(rows, self._now_bytes, self._held))
            self._now, self._now_bytes = {}, 0

    async def batch(self) -> Batch:
        """The window's records. Nothing may be added afterwards."""
        self._close_run()
        dropped = self._losers() if len(self._runs) < 2 else await to_thread.run_sync(self._losers)
        records = sum(run.records for run in self._runs) - dropped.rows
        raw_bytes = sum(run.size_bytes for run in self._runs) - dropped.bytes
        self._duplicates += dropped.rows
        return Batch(
            window=self.window,
            records=records,
            raw_bytes=raw_bytes,
            duplicates=self._duplicates,
            outside=self._outside,
            rejects=list(self._rejects.values()),
            chunks=_merged(self._runs, dropped.winners),
            _runs=self._runs,
        )

    def discard(self) -> None:
        self._drop_now()
        for run in self._runs:
            run.discard()
        self._runs.clear()

    def _losers(self) -> "_Dropped":
        """Keys that stand in two runs: who wins, and how much the others amount to."""
        twice = _equal_ones(self._hashes) if len(self._runs) > 1 else set()
        dropped = _Dropped(winners={}, rows=0, bytes=0)
        if not twice:
            return dropped
        for run in self._runs:
            for row in run.rows():
                if hash(row[1]) in twice:
                    known = dropped.winners.get(row[1])
                    if known is None:
                        dropped.winners[row[1]] = row
                        continue
                    kept = self._newest(known, row)
                    lost = row if kept is known else known
                    dropped.winners[row[1]] = kept
                    dropped.rows += 1
                    dropped.bytes += len(lost[3])
        return dropped


@dataclass(slots=True)
class _Dropped:
    winners: dict[Key, Row]
    rows: int
    bytes: int


def _equal_ones(hashes: "array[int]") -> set[int]:
    """Values that occur twice, found in passes that hold 200,000 at a time, so that memory stays bounded."""
    passes = 1 + len(hashes) // 200_000
    twice: set[int] = set()
    for turn in range(passes):
        seen: set[int] = set()
        for value in hashes:
            if value % passes == turn:
                if value in seen:
                    twice.add(value)
                seen.add(value)
    return twice


def _merged(runs: list[_Run], winners: dict[Key, Row]) -> Iterable[list[Row]]:
    if len(runs) == 1:
        return runs[0].chunks()
    merged = heapq.merge(*(run.rows() for run in runs), key=_by_time_and_key)
    return chunked(_chosen(merged, winners) if winners else merged)


def owned(rows: list[Row]) -> list[Row]:
    """Rows of one page, which views of it keep in memory as a whole: where they are less than half of it,
    with bytes of their own."""
    view = rows[0][3] if rows else b""
    if isinstance(view, bytes) or 2 * sum(map(len, map(_raw, rows))) >= len(view.obj):  # type: ignore[arg-type]
        return rows
    return _with_bytes(rows)


def _with_bytes(rows: list[Row]) -> list[Row]:
    return [(time, key, version, bytes(raw)) for time, key, version, raw in rows]


def _renewed(
    chunks: Iterable[list[Row]],
    renewed: dict[tuple[datetime, Key], Row],
    is_newer: Callable[[str, str], bool],
) -> Iterator[list[Row]]:
    for chunk in chunks:
        offered = ((row, renewed.get(row[:2], row)) for row in chunk)
        yield [other if is_newer(other[2], row[2]) else row for row, other in offered]


def chunked(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in short lists, for who takes them as `Batch.chunks`."""
    rows = iter(rows)
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield chunk


def _chosen(rows: Iterable[Row], winners: dict[Key, Row]) -> Iterator[Row]:
    written: set[Key] = set()
    for row in rows:
        winner = winners.get(row[1])
        if winner is None:
            yield row
        elif row[1] not in written and row[0] == winner[0] and row[2] == winner[2] and row[3] == winner[3]:
            written.add(row[1])
            yield row
