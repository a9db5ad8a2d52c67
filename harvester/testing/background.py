"""A simulator for callers that block: tests of commands, scripts, other processes."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from .server import Simulator
from .settings import Settings


@contextlib.contextmanager
def running(settings: Settings | None = None) -> Iterator[Simulator]:
    """Serves from a thread with a loop of its own until the block ends. Raises what the start raised."""
    simulator = Simulator(settings)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()
    failed: list[BaseException] = []

    async def serve() -> None:
        try:
            async with simulator.start():
                started.set()
                await stop.wait()
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="simulator", daemon=True)
    thread.start()
    started.wait()
    try:
        if failed:
            raise failed[0]
        yield simulator
    finally:
        if not failed:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
