"""The simulator's calls in the process of the run, without a socket between: nothing here is about the
network, and the way through it costs more than all else.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from zlib import crc32

from anyio.lowlevel import checkpoint

from harvester.dialects import Request
from harvester.events import Emit, RequestSent
from harvester.testing.server import Simulator
from harvester.testing.settings import Settings
from harvester.transport import Answer, Layer, ServerClock, TransportSettings

_LATE: Final = 40
"""Turns of the loop that an answer takes at most. Each takes its own, so that windows come out of turn and
wait, as they do behind a network."""


class Near:
    """`open` is what a harvest is given for its session. Its faults strike every request."""

    def __init__(self, settings: Settings) -> None:
        self.simulator = Simulator(settings)
        self._struck = {fault.name: fault for fault in self.simulator.schedule.faults}
        self.simulator.datasets.table("interactions")

    @asynccontextmanager
    async def open(
        self, settings: TransportSettings, *, emit: Emit, server_clock: ServerClock
    ) -> AsyncIterator[Layer[Request, Answer]]:
        self._emit = emit
        yield self

    async def send(self, ask: Request, /) -> Answer:
        self._emit(RequestSent())
        asked = ask.body or b""
        for _ in range(crc32(asked) % _LATE):
            await checkpoint()
        entry: dict[str, Any] = {}
        answer = self.simulator.service.respond(
            ask.method, ask.path, asked, struck=self._struck, number=1, now=datetime.now(UTC), entry=entry
        )
        assert answer.status == 200, answer
        body = b"".join(answer.parts)
        return Answer(status=200, headers={}, body=body, received_bytes=len(body), elapsed_s=0.001)
