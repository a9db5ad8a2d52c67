"""The loop around Seek: a stretch is read by time, and what fails in it is narrowed down and given up."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from typing import Final, Protocol

from harvester.dialects import Ask, Dialect, Page, Reject, Row
from harvester.errors import BadPage, ContractBroken, Refused, Rejected, ServerFailed, SourceError, TimedOut
from harvester.events import Emit, WindowSplit
from harvester.pages.asking import Asking, Split, Turn
from harvester.pages.offsets import try_out
from harvester.pages.order import LEAST_PROOF, proves_order
from harvester.pages.reader import FLOOR_S, Pages
from harvester.pages.seek import Seek
from harvester.pages.served import Served
from harvester.pages.steps import Step
from harvester.transport import Layer, OutageOutlived
from harvester.windows import Span, Window

GIVE_UP_S: Final = 900.0
"""What fails on every try is narrowed down to this, so that a quarter of an hour is lost to a bad record and
not a day.
"""
GIVEN_UP_IN_A_ROW: Final = 16
"""With so many requests given up and not one good page between them, it is the server that fails and not a
stretch of time: nothing is narrowed down until a page comes. And with so many seconds refused in a row, what
follows is not tried second by second."""
ORDER_TRIALS: Final = 5
"""How often rows may not tell, being too few or in both orders at once, before the server counts as one that
keeps none."""

MOST_MOVED: Final = 3
MOVED_SHARE: Final = 100
"""So many pages, and one in so many, may leave out a row that had come before, since somebody deleted it;
where it is more, it is the order."""

MOST_STILL: Final = 1000
"""So many pages may be of one instant; then what follows is walked, for what cannot be told by time."""


class Stretch(Protocol):
    """What a stretch's reader does with what comes; `records.Sheaf` is one."""

    async def add(self, rows: list[Row], rejects: list[Reject]) -> None: ...

    def close(self, end: datetime) -> None:
        """Everything up to here has come."""

    def fail(self, end: datetime, error: str) -> None:
        """From the last segment's end up to here nothing could be had."""

    def gather(self, window: Window) -> Turn:
        """A window of the stretch that is read by itself."""

    def lose(self, window: Window, error: str) -> None:
        """That window could not be had after all."""

    def windows(self, start: datetime, end: datetime) -> Iterable[Window]: ...


class Unsorted(Exception):
    """A stretch cannot be read by time: its windows have to be walked one by one."""


class Stretches:
    def __init__(
        self, layer: Layer[Ask, Page], pages: Pages, *, dialect: Dialect, served: Served, emit: Emit
    ) -> None:
        self._layer = layer
        self._asking = Asking(layer, served)
        self._pages = pages
        self._dialect = dialect
        self._served = served
        self._emit = emit
        self._widen = timedelta(seconds=dialect.widen_s)

    async def read(
        self,
        stretch: Span,
        turn: Stretch,
        *,
        cuts: Sequence[datetime] = (),
        beyond: timedelta = timedelta(0),
        horizon: datetime | None = None,
        on_page: Callable[[Seek], None] = lambda seeking: None,
    ) -> int:
        """Hands every record of the stretch to `turn`, by time; returns the number of pages asked for.

        `cuts` are the ends of the windows in it, `beyond` is how far a request may reach over its end for a
        record that proves it; where none comes, one may reach on, but not over `horizon`. `on_page` may trim
        the stretch after a page. What fails on every try is narrowed down and given up, the rest goes on.
        Raises Unsorted, with nothing built upon, where the server does not keep an order.
        """
        seeking = Seek(
            stretch,
            widen=self._widen,
            served=self._served,
            order_by=self._dialect.date_field or "",
            cuts=cuts,
            beyond=beyond,
            horizon=horizon,
        )
        asked = refused = still = 0
        at = seeking.position
        while seeking.position < seeking.end:
            try:
                page = await self._asking.page(seeking.ask, _reach(seeking), asked)
                asked, refused = asked + 1, 0
                still = still + 1 if seeking.position == at else 0
                at = seeking.position
                if still > MOST_STILL:
                    raise Unsorted
                asked += await self._take(seeking, page, turn, on_page)
                del page  # else it would stay in memory beside the next one
            except Split as split:
                asked += split.asked
                if seeking.is_by_offset:
                    step = seeking.distrust_offset(is_refused=True)
                    asked += await self._step(step, seeking, turn, on_page)
                else:
                    floor_s = FLOOR_S if refused < GIVEN_UP_IN_A_ROW else GIVE_UP_S
                    if not self._give_up(seeking, turn, split.reason, floor_s=floor_s):
                        refused += 1
                        if refused == GIVEN_UP_IN_A_ROW:
                            seeking.reach_far()
            except (Refused, ContractBroken):
                raise
            except OutageOutlived as error:
                seeking.trim(seeking.end)
                self._give_up(seeking, turn, error, floor_s=inf)
            except SourceError as error:
                self._served.given_up += 1
                if seeking.is_by_offset and isinstance(error, ServerFailed | TimedOut):
                    step = seeking.distrust_offset(is_refused=True)
                    asked += await self._step(step, seeking, turn, on_page)
                    continue
                hopeless = self._served.given_up >= GIVEN_UP_IN_A_ROW
                if hopeless:
                    seeking.reach_far()
                self._give_up(seeking, turn, error, floor_s=inf if hopeless else GIVE_UP_S)
        return asked

    async def _take(self, seeking: Seek, page: Page, turn: Stretch, on_page: Callable[[Seek], None]) -> int:
        """What a page means for the stretch; how many further pages were asked for on the way."""
        asked = 0
        if self._served.order_kept is None and not seeking.is_by_offset and len(page.rows) >= LEAST_PROOF:
            asked += await self._prove_order(seeking, page)
        if self._served.order_kept is False:
            raise Unsorted
        step, fresh = seeking.take(page)
        if step is Step.UNSORTED:
            self._untold(is_unsorted=bool(self._served.order_kept) and not page.rejects)
            raise Unsorted
        if step is Step.MOVED:
            served = self._served
            served.moved += 1
            if served.moved > MOST_MOVED + served.pages // MOVED_SHARE:
                served.order_kept = False
            raise Unsorted
        if fresh or page.rejects:
            await turn.add(fresh, page.rejects)
        return asked + await self._step(step, seeking, turn, on_page)

    async def _step(self, step: Step, seeking: Seek, turn: Stretch, on_page: Callable[[Seek], None]) -> int:
        asked = 0
        if step is Step.UNSORTED:
            raise Unsorted
        if step is Step.END:
            turn.close(seeking.end)
        elif step is Step.REPEATED:
            served = self._served
            reach = _reach(seeking)
            asked += await try_out(
                seeking.at, seeking.knows, seeking.page_rows, reach, asking=self._asking, served=served
            )
            asked += await self._step(seeking.distrust_offset(), seeking, turn, on_page)
        elif step is Step.STUCK:
            turn.close(seeking.position)
            second = min(seeking.end, seeking.position + timedelta(seconds=FLOOR_S))
            window = next(iter(turn.windows(seeking.position, second)))
            try:
                asked += await self._pages.read(window, turn.gather(window))
            except (Refused, ContractBroken):
                raise
            except SourceError as error:
                turn.lose(window, f"{type(error).__name__}: {error}")
            seeking.move_to(window.end)
        else:
            on_page(seeking)
            if seeking.position >= seeking.end:
                turn.close(seeking.end)
        return asked

    async def _prove_order(self, seeking: Seek, page: Page) -> int:
        """Asks for the same range by key: only a server that keeps both orders is read by time."""
        served = self._served
        async with served.proving:
            if served.order_kept is not None:
                return 0
            if len(self._dialect.key_fields) != 1 or "order_by" not in self._dialect.places:
                served.order_kept = False
                return 0
            ask = replace(seeking.ask_again(), order_by=self._dialect.key_fields[0])
            try:
                served.order_kept = proves_order(page, await self._layer.send(ask))
            except Rejected:
                served.order_kept = False
            if served.order_kept is None:
                self._untold()
            return 1

    def _untold(self, *, is_unsorted: bool = False) -> None:
        """The rows did not tell whether the order is kept, or that it is not."""
        served = self._served
        served.order_trials += 1
        if is_unsorted or (served.order_kept is None and served.order_trials >= ORDER_TRIALS):
            served.order_kept = False

    def _give_up(self, seeking: Seek, turn: Stretch, error: SourceError, *, floor_s: float) -> bool:
        """Reaches half as far: true. Where that is no use any more, what is left of the reach has failed."""
        if not self._served.pages and isinstance(error, BadPage | Rejected):
            # Not one good page ever came: it is the source that is wrong, and no smaller reach will mend it.
            raise ContractBroken(f"never one good page: {error}") from error
        if floor_s < inf and seeking.halve(timedelta(seconds=floor_s)):
            self._emit(WindowSplit(start=seeking.position, end=seeking.until, reason=str(error)))
            return True
        if not self._served.pages and isinstance(error, ContractBroken):
            raise ContractBroken(
                f"{error}: one second and one record are refused too, and nothing was ever served; check "
                f"[source] dialect and its date field, {self._dialect.date_field}"
            ) from error
        end = seeking.until
        turn.close(seeking.position)
        turn.fail(end, f"{type(error).__name__}: {error}")
        seeking.skip_to(end)
        return False


def _reach(seeking: Seek) -> Window:
    return Window(
        start=seeking.position, end=max(seeking.until, seeking.position + timedelta(milliseconds=1))
    )
