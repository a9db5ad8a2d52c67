"""Starts the program's own commands as processes, tells them what to do, and reads what they take."""

import contextlib
import os
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Final, Self

import anyio
import orjson
from anyio import to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

_PROGRAM: Final = (sys.executable, "-m", "harvester")
_LINE_BYTES: Final = 1 << 20
_TRIES: Final = 40
_TRY_S: Final = 0.25
"""Ten seconds, and no outage of the soak is longer than two."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds at an instant; of several, the most of each."""

    rss_mib: float = 0.0
    files: int = 0
    threads: int = 0

    def most(self, other: Self) -> "Usage":
        return Usage(
            max(self.rss_mib, other.rss_mib),
            max(self.files, other.files),
            max(self.threads, other.threads),
        )


def usage_of(pid: int) -> Usage:
    """Zeros where the process is gone. Reads /proc, so Linux only."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return Usage()
    told = dict(line.split(":", 1) for line in text.splitlines())
    if "VmRSS" not in told:
        return Usage()
    return Usage(int(told["VmRSS"].split()[0]) / 1024, files, int(told["Threads"]))


class Server:
    """A simulator in a process of its own."""

    def __init__(self, pid: int, hello: Mapping[str, Any]) -> None:
        self.pid = pid
        self.url: str = hello["url"]
        self.token: str = hello["token"]

    async def set_faults(self, faults: Sequence[dict[str, Any]]) -> None:
        await self._post("faults", list(faults))

    async def set_token(self, token: str) -> None:
        await self._post("token", {"token": token})
        self.token = token

    async def stats(self) -> dict[str, Any]:
        told: dict[str, Any] = orjson.loads(await to_thread.run_sync(self._ask, "stats", None))
        return told

    async def _post(self, name: str, value: Any) -> None:
        await to_thread.run_sync(self._ask, name, orjson.dumps(value))

    def _ask(self, name: str, body: bytes | None) -> bytes:
        """Asks again while the server is out of reach, which it may have been told to be."""
        for _ in range(_TRIES):
            with contextlib.suppress(OSError):
                return self._once(name, body)
            time.sleep(_TRY_S)
        return self._once(name, body)

    def _once(self, name: str, body: bytes | None) -> bytes:
        with urllib.request.urlopen(f"{self.url}/_simulator/{name}", body, timeout=60) as answer:
            return bytes(answer.read())


@contextlib.asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[Server]:
    """`harvester simulate` with these arguments, until the block ends."""
    process = await anyio.open_process([*_PROGRAM, "simulate", *arguments], stderr=None, stdin=DEVNULL)
    async with process:
        try:
            assert process.stdout is not None
            lines = BufferedByteReceiveStream(process.stdout)
            hello = await lines.receive_until(b"\n", _LINE_BYTES)
            yield Server(process.pid, orjson.loads(hello))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


class Run:
    """One `harvester run`. `exit_code` is None where it was killed."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments = arguments
        self._log = log
        self.exit_code: int | None = None
        self.told: dict[str, Any] = {}
        self.ended = anyio.Event()
        self._process: Process | None = None

    async def finish(self) -> None:
        with self._log.open("wb") as log:
            process = await anyio.open_process(
                [*_PROGRAM, "run", *self._arguments], stdin=DEVNULL, stdout=PIPE, stderr=log
            )
            async with process:
                self._process = process
                assert process.stdout is not None
                said = b"".join([block async for block in process.stdout])
                code = await process.wait()
            self._process = None
        self.exit_code = None if code < 0 else code
        self.ended.set()
        if said:
            self.told = orjson.loads(said.splitlines()[-1])

    def signal(self, one: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(one)

    def usage(self) -> Usage:
        return usage_of(self._process.pid) if self._process is not None else Usage()

    @property
    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]
