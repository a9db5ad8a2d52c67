"""The layer between asks and requests: an Ask becomes a request, its answer a good Page or BadPage."""

from typing import Protocol

from harvester.dialects import Ask, Dialect, Page, Request
from harvester.events import Emit, PageFetched
from harvester.transport import Answer, Layer


class Parse(Protocol):
    async def __call__(self, dialect: Dialect, answer: Answer, ask: Ask) -> Page: ...


class Read:
    """The layer that turns an Ask into a good Page: the request is built, sent, and its answer judged."""

    def __init__(self, dialect: Dialect, inner: Layer[Request, Answer], *, parse: Parse, emit: Emit) -> None:
        self._dialect = dialect
        self._inner = inner
        self._parse = parse
        self._emit = emit

    async def send(self, ask: Ask) -> Page:
        answer = await self._inner.send(self._dialect.request(ask))
        page = await self._parse(self._dialect, answer, ask)
        self._emit(
            PageFetched(
                start=ask.start,
                end=ask.end,
                offset=ask.offset,
                records=len(page.rows),
                received_bytes=answer.received_bytes,
                decoded_bytes=len(answer.body),
                elapsed_s=answer.elapsed_s,
            )
        )
        return page
