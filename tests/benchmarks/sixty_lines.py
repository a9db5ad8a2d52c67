"""The yardstick: what a competent engineer writes in an afternoon. It works, and promises nothing: no
proof of the end, no order, no resume, half a file after a kill."""

import argparse
import asyncio
import gzip
import os
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson

LIMIT = 1000
IN_FLIGHT = 16
TRIES = 5
MILLISECOND = timedelta(milliseconds=1)


async def page(session: aiohttp.ClientSession, body: dict[str, Any]) -> Any:
    for attempt in range(1, TRIES + 1):
        try:
            async with session.post("/reporting/api/v1/interaction/details", json=body) as answer:
                answer.raise_for_status()
                return orjson.loads(await answer.read())["data"]
        except (aiohttp.ClientError, TimeoutError):
            if attempt == TRIES:
                raise
            await asyncio.sleep(2**attempt)


async def window(slots: Any, session: Any, start: datetime, end: datetime, file: Any) -> None:
    body = {"StartDateTime": start.isoformat(), "EndDateTime": (end - MILLISECOND).isoformat()}
    offset = 0
    while True:
        async with slots:
            records = await page(session, {**body, "Limit": LIMIT, "Offset": offset})
        file.write(b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records))
        offset += len(records)
        if len(records) < LIMIT:
            return


async def harvest(given: argparse.Namespace) -> None:
    headers = {"Authorization": f"apikey {os.environ['HARVESTER_TOKEN']}"}
    slots, start, files = asyncio.Semaphore(IN_FLIGHT), given.start, {}
    with ExitStack() as stack:
        async with aiohttp.ClientSession(given.url, headers=headers) as session, asyncio.TaskGroup() as group:
            while start < given.end:
                name = given.folder / f"{start:%Y-%m-%d}.jsonl"
                if name not in files:
                    file = gzip.open(f"{name}.gz", "wb", given.level) if given.level else name.open("wb")
                    files[name] = stack.enter_context(file)
                end = min(start + timedelta(seconds=given.step), given.end)
                group.create_task(window(slots, session, start, end, files[name]))
                start = end


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("start", type=datetime.fromisoformat)
    parser.add_argument("end", type=datetime.fromisoformat)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--level", type=int, default=6)
    parser.add_argument("--step", type=int, default=3600)
    asyncio.run(harvest(parser.parse_args()))
