"""One page: asked for smaller where the server refuses it, or told to be beyond reach in one piece."""

from collections.abc import Callable
from typing import Final, Protocol

from harvester.dialects import Ask, Page, Reject, Row
from harvester.errors import ContractBroken, Rejected, SourceError
from harvester.pages.served import Served
from harvester.transport import Layer
from harvester.windows import Window

_SMALLER_MAY_PASS: Final = {400, 413, 414, 422}


class Turn(Protocol):
    """What a window's reader does with what comes; `records.Gather` is one."""

    def begin(self, part: Window) -> None:
        """A part of the window is read from its beginning; what an earlier reading of it brought is
        dropped.
        """

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None:
        """Keeps what is new and lies inside the window."""


class Split(Exception):
    """This part cannot be read in one piece; `reason` is raised where it cannot be halved either."""

    def __init__(self, asked: int, reason: SourceError, keys: set[int] | None = None) -> None:
        """`keys` are hashes of what came, where that matters to the halves."""
        super().__init__()
        self.keys = keys
        self.asked = asked
        self.reason = reason


class Asking:
    """Sends what a walk or a stretch asks for, and notes in `served` what comes."""

    def __init__(self, layer: Layer[Ask, Page], served: Served) -> None:
        self._layer = layer
        self._served = served

    async def page(self, ask: Callable[[], Ask], part: Window, asked: int = 0) -> Page:
        """`asked` requests were sent for the part before. Raises Split where no smaller page can help."""
        served = self._served
        while True:
            limit = served.limit
            try:
                asks = ask()
                page = await self._layer.send(asks)
            except Rejected as error:
                if error.status_code not in _SMALLER_MAY_PASS:
                    raise
                good = served.pages > 0
                if limit > 1 and (not good or served.is_limit_in_doubt):
                    if limit == served.limit:
                        served.limit = limit // 2
                    continue
                served.refuse_range()
                cured = SourceError(str(error)) if good else ContractBroken(str(error))
                raise Split(asked + 1, cured) from error
            served.note(page, offset=asks.offset)
            if page.unfit and not served.records:
                raise ContractBroken(
                    f"{named(part)}: no record has the declared key and date ({page.unfit.reason}); "
                    "check [source] dialect and date_field"
                )
            return page


def named(window: Window) -> str:
    return f"window {window.start.isoformat()} to {window.end.isoformat()}"
