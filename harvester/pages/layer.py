"""The layer between asks and requests: an Ask becomes a request, its answer a good Page or BadPage."""

from dataclasses import replace
from typing import Final

from anyio import to_thread

from harvester.dialects import Ask, Dialect, Page, Request
from harvester.events import Emit, PageFetched
from harvester.transport import Answer, Layer

PARSE_IN_THREAD_BYTES: Final = 8 << 20
"""Pages above this are parsed in a worker thread. The parser holds the interpreter's lock all the while, so a
thread frees the loop of nothing: it adds a hop, and the memory of all pages that are parsed at once. A usual
page of 3 MB takes 6 ms.
"""


class Read:
    """The layer that turns an Ask into a good Page: the request is built, sent, and its answer judged."""

    def __init__(self, dialect: Dialect, inner: Layer[Request, Answer], *, emit: Emit) -> None:
        self._dialect = dialect
        self._inner = inner
        self._emit = emit

    async def send(self, ask: Ask) -> Page:
        answer = await self._inner.send(self._dialect.request(ask))
        if len(answer.body) < PARSE_IN_THREAD_BYTES:
            page = self._dialect.read(answer.body, ask)
        else:
            page = await to_thread.run_sync(self._dialect.read, answer.body, ask)
        page = replace(page, received_bytes=answer.received_bytes)
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
