"""The reference of everything built on aiohttp: sends the requests listed in a file (a body a line), reads
the answers and throws them away. `discard.py URL REQUESTS` prints how many bytes came."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop

IN_FLIGHT = 16


async def discard(url: str, bodies: Iterator[bytes]) -> int:
    headers = {"Authorization": f"apikey {os.environ['HARVESTER_TOKEN']}", "Content-Type": "application/json"}
    received = 0

    async def reader(session: aiohttp.ClientSession) -> None:
        nonlocal received
        for body in bodies:
            async with session.post("/reporting/api/v1/interaction/details", data=body) as answer:
                answer.raise_for_status()
                received += len(await answer.read())

    async with aiohttp.ClientSession(url, headers=headers) as session, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(reader(session))
    return received


if __name__ == "__main__":
    lines = iter(Path(sys.argv[2]).read_bytes().splitlines())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(discard(sys.argv[1], lines)))
