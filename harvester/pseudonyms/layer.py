"""The layer behind which nobody sees a plain value: pages come up with their fields replaced already.

It stands right above the reading of pages, so what waits in memory, is spilled, staged, sealed, quarantined
or compared has passed it. A job without such fields has no such layer, and its records pay nothing.
"""

from dataclasses import replace
from typing import Final

from anyio import to_thread

from harvester.dialects import Ask, Dialect, Page, Reject, Row
from harvester.events import Emit, FieldNeverSeen
from harvester.pseudonyms.fields import Pseudonyms
from harvester.transport import Layer

_IN_THREAD_ROWS: Final = 2000
"""Pages above this are rewritten in a worker thread; a usual page of 1000 takes some 20 ms."""


def veiled(inner: Layer[Ask, Page], dialect: Dialect, pseudonyms: Pseudonyms | None) -> Layer[Ask, Page]:
    """`inner` itself where nothing is to be replaced."""
    return inner if pseudonyms is None else Veiled(inner, dialect, pseudonyms)


def tell_never_seen(pseudonyms: Pseudonyms | None, records: int, emit: Emit) -> None:
    """At the end of a run that read so many records."""
    for field in pseudonyms.never_seen() if pseudonyms is not None and records else ():
        emit(FieldNeverSeen(field=field, records=records))


class Veiled:
    def __init__(self, inner: Layer[Ask, Page], dialect: Dialect, pseudonyms: Pseudonyms) -> None:
        self._inner = inner
        self._dialect = dialect
        self._pseudonyms = pseudonyms

    async def send(self, ask: Ask) -> Page:
        page = await self._inner.send(ask)
        if len(page.rows) > _IN_THREAD_ROWS:
            return await to_thread.run_sync(self._veiled, page)
        return self._veiled(page)

    def _veiled(self, page: Page) -> Page:
        rows: list[Row] = []
        rejects = [self._pseudonyms.reject(reject) for reject in page.rejects]
        for row in page.rows:
            raw = bytes(row[3])
            try:
                rows.append(self._row(row, self._pseudonyms.record(raw)))
            except (ValueError, RecursionError):
                rejects.append(self._pseudonyms.reject(Reject(reason="nested too deeply", raw=raw)))
        return replace(page, rows=rows, rejects=rejects)

    def _row(self, row: Row, raw: bytes) -> Row:
        if self._dialect.membership == "window":
            return self._dialect.row(raw)  # the record itself is its key there
        return row[0], row[1], row[2], raw
