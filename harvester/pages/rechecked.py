"""Between the walks and the source: every page is compared with the contract that a probe has made.

What differs is told once, as ContractChanged, and nothing else is done: the run goes on by what it sees, as
it does without a contract.
"""

from typing import Literal

from harvester.contract import Change, Recheck
from harvester.dialects import Ask, Dialect, Page
from harvester.events import ContractChanged, Emit
from harvester.pages.served import Served
from harvester.transport import Layer


class Rechecked:
    def __init__(
        self, inner: Layer[Ask, Page], recheck: Recheck, *, dialect: Dialect, served: Served, emit: Emit
    ) -> None:
        self._inner = inner
        self._recheck = recheck
        self._dialect = dialect
        self._served = served
        self._emit = emit

    async def send(self, ask: Ask) -> Page:
        page = await self._inner.send(ask)
        dialect, served = self._dialect, self._served
        order = ask.order_by or dialect.order_by
        by: Literal["key", "date"] | None = None
        if order is not None and dialect.key_fields == (order,):
            by = "key"
        elif order is not None and order == dialect.date_field:
            by = "date"
        self._tell(self._recheck.page(ask, page, by=by))
        self._tell(
            self._recheck.served(
                limit=served.limit,
                caps=served.caps or (),
                offset_ignored=served.offset_ignored,
                seek=served.seek_seen,
            )
        )
        return page

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            self._emit(ContractChanged(fact=change.fact, known=change.known, seen=change.seen))
