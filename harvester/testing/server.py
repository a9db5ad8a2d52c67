"""The simulator's door: one HTTP server for the Reporting API's calls and for its own control.

A request passes the stages in this order, and each may end it: limits, waiting, status, authentication, the
call itself (service.py), compression, the wire (wire.py). Data is served under `/reporting/`; truth and
control under `/_simulator/`, which control.py answers.
"""

import asyncio
import email.utils
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import orjson
from aiohttp import web

from . import control, wire
from .datasets import PATHS, Datasets
from .faults import Ask, Fault, Schedule, draw, parse_faults
from .limits import Bucket, Limits
from .query import BadRequest, asked_range
from .service import JSON, Service, error
from .settings import Settings
from .spoil import HTML, instead_of_data
from .stats import Stats
from .wire import Answer

# Packed answers that are kept: to compress a page costs ten times what it costs to serve it.
_PACKED_KEPT = 512


class Simulator:
    """`async with Simulator(settings).start() as simulator:` serves until the block ends; `url` and `token`
    say where.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.token = self.settings.token
        self._now = self.settings.now
        self.stats = Stats()
        self.schedule = Schedule(parse_faults(self.settings.faults), self.settings.seed)
        self.datasets = Datasets(self.settings, self.now)
        self.service = Service(self.settings, self.datasets)
        self.url = ""
        self._limits = Limits()
        self._token_changed = False
        self._count, self._begun_s = (
            0,
            0.0,
        )  # requests since the faults were set, and when the first of them came
        self._port = self.settings.port
        self._door: asyncio.Server | None = None
        self._web: web.Server | None = None
        self._packed: OrderedDict[tuple[object, ...], Answer] = OrderedDict()
        self._bombs: dict[int, bytes] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._reopening: asyncio.Task[None] | None = None

    def start(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        self.datasets.table("interactions")
        self._web = web.Server(self._handle, access_log=None, handler_cancellation=True)
        await self._open()
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()
        if self._reopening is not None:
            self._reopening.cancel()
        if self._web is not None:
            await self._web.shutdown(0.05)
        if self._tasks is not None:
            # Not told what the block raised: it would come out wrapped in a group.
            await self._tasks.__aexit__(None, None, None)

    def set_faults(self, entries: Iterable[Mapping[str, object]]) -> None:
        """Replaces the faults while running and forgets what the old ones counted. ValueError names what is
        wrong.
        """
        self.schedule = Schedule(parse_faults(entries), self.settings.seed)
        self._limits = Limits()
        self._token_changed = False
        self._count, self._begun_s = 0, 0.0

    def set_token(self, token: str) -> None:
        """From now on only this token is good; an `expire_token` that has struck is over."""
        self.token = token
        self._token_changed = True

    def set_now(self, now: datetime) -> None:
        """Stops the clock at this instant. ValueError where it names no zone."""
        if now.tzinfo is None:
            raise ValueError(f"{now.isoformat()} has no zone")
        self._now = now

    def now(self) -> datetime:
        return self._now or datetime.now(UTC)

    async def _open(self) -> None:
        assert self._web is not None
        loop = asyncio.get_running_loop()
        self._door = await loop.create_server(self._web, self.settings.host, self._port, backlog=1024)
        self._port = self._door.sockets[0].getsockname()[1]
        self.url = f"http://{self.settings.host}:{self._port}"

    def _close(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    def _refuse_for(self, seconds: float) -> None:
        """Closes the door and every connection, and opens the same door again after so long."""
        if self._door is None or self._web is None:
            return
        self._close()
        for connection in self._web.connections:
            if connection.transport is not None:
                connection.transport.abort()

        async def reopen() -> None:
            await asyncio.sleep(seconds)
            await self._open()

        assert self._tasks is not None
        self._reopening = self._tasks.create_task(reopen(), name="simulator reopens")

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_simulator/"):
            return await control.handle(self, request)
        dataset = PATHS.get(request.path, request.path.rpartition("/")[2])
        self.stats.arrived(dataset)
        try:
            raw = await request.read()
            number, struck, entry = self._struck(dataset, raw)
            answer = await self._answer(request, raw, struck, entry, number)
            entry["status"] = answer.status
            self.stats.answered(answer.status, answer.size_bytes, entry.get("rows", 0))
            if struck and any(name in struck for name in wire.BROKEN):
                return await wire.send_broken(request, answer, struck)
            return await wire.send(request, answer)
        finally:
            self.stats.in_flight -= 1

    def _struck(self, dataset: str, raw: bytes) -> tuple[int, dict[str, Fault], dict[str, Any]]:
        """The request's number since the faults were set, those that strike it, and its line in the log."""
        now_s = time.monotonic()
        self._count += 1
        self._begun_s = self._begun_s or now_s
        at_s = round(now_s - self.stats.first_s, 6)
        entry: dict[str, Any] = {
            "number": self.stats.requests,
            "at_s": at_s,
            "in_flight": self.stats.in_flight,
            "dataset": dataset,
        }
        window: dict[str, Any] = {}
        try:
            body = {name[:1].upper() + name[1:]: value for name, value in orjson.loads(raw).items()}
            start, end = (round(t.timestamp() * 1_000_000) for t in asked_range(body, self.now()))
            window = {
                "start_us": start,
                "end_us": end,
                "limit": body.get("Limit"),
                "offset": body.get("Offset") or 0,
            }
            self.stats.windows.add((dataset, start, end))
            entry["filter"] = bool(body.get("Filter"))
        except (BadRequest, ValueError, TypeError, AttributeError):
            pass  # a look-up, or nonsense: the call itself will say what is wrong with it
        entry |= window
        self.stats.asked.append(entry)
        if not self.schedule.faults:
            return self._count, {}, entry
        ask = Ask(number=self._count, elapsed_s=now_s - self._begun_s, dataset=dataset, **window)
        struck = self.schedule.strike(ask)
        self.stats.by_fault.update(struck.keys())
        if "churn" in struck and self._now is not None:
            self._now += timedelta(seconds=struck["churn"].options["step_s"])
        return self._count, struck, entry

    async def _answer(
        self,
        request: web.BaseRequest,
        raw: bytes,
        struck: Mapping[str, Fault],
        entry: dict[str, Any],
        number: int,
    ) -> Answer:
        skew_s = struck["skew_s"].value if "skew_s" in struck else 0.0
        if "refuse_s" in struck:
            self._refuse_for(struck["refuse_s"].value)
        self._limits.in_flight = self.stats.in_flight
        refusing = self._limits.refuses(struck, time.monotonic())
        if refusing is None:
            await self._wait(struck, entry, number)
            refusing = struck.get("status")
        if refusing is not None:
            answer = _refusal(refusing, skew_s)
        elif fault := struck.get("redirect"):
            answer = Answer(int(fault.options["code"]), {"Location": fault.value})
        elif not self._is_welcome(request, number, struck):
            answer = error(401, "Unauthorized")
        elif "forbid" in struck:
            answer = error(403, "Forbidden")
        else:
            answer = self._served(request, raw, struck, entry, number)
        if skew_s:
            answer.headers["Date"] = email.utils.formatdate(time.time() + skew_s, usegmt=True)
        if rate := struck.get("rate"):
            bucket = self._limits.bucket(rate)
            answer.headers |= bucket.headers(rate.options["headers"], time.time() + skew_s)
        return answer

    async def _wait(self, struck: Mapping[str, Fault], entry: Mapping[str, Any], number: int) -> None:
        if fault := struck.get("workers"):
            async with self._limits.workers(fault):
                await asyncio.sleep(fault.options["ms"] / 1000)
        wait_ms = self.settings.latency_ms
        if fault := struck.get("latency_ms"):
            jitter = draw(self.settings.seed, "jitter", number) * fault.options["jitter_ms"]
            wait_ms += fault.value + jitter
        if fault := struck.get("slow_offset_ms"):
            wait_ms += fault.value * (entry.get("offset") or 0) / 1000
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)

    def _is_welcome(self, request: web.BaseRequest, number: int, struck: Mapping[str, Fault]) -> bool:
        expiry = struck.get("expire_token")
        if expiry is not None and number > expiry.value and not self._token_changed:
            return False
        given = request.headers.get("x-api-key")
        if given is None:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "apikey":
                return False
        return given == self.token

    def _served(
        self,
        request: web.BaseRequest,
        raw: bytes,
        struck: Mapping[str, Fault],
        entry: dict[str, Any],
        number: int,
    ) -> Answer:
        if fault := struck.get("gzip_bomb"):
            body = self._bombs.get(fault.value) or self._bombs.setdefault(fault.value, wire.bomb(fault.value))
            return Answer(200, {**JSON, "Content-Encoding": "gzip"}, [body])
        answer = self.service.respond(
            request.method,
            request.path,
            raw,
            struck=struck,
            number=number,
            now=self.now(),
            entry=entry,
            written=self._now,
        )
        encoding = self._encoding(request.headers.get("Accept-Encoding", ""))
        if encoding is None or (struck and any(name in struck for name in wire.BROKEN)):
            return answer
        if struck:
            return wire.compressed(answer, encoding)
        name = (request.path, raw, encoding, *(table.generation for table in self.datasets.rendered()))
        known = self._packed.get(name)
        if known is None:
            known = self._packed[name] = wire.compressed(answer, encoding)
            if len(self._packed) > _PACKED_KEPT:
                self._packed.popitem(last=False)
        return known

    def _encoding(self, accepted: str) -> str | None:
        """Of the answers to a client that accepts this; zstd before gzip."""
        offered = (("zstd", self.settings.zstd), ("gzip", self.settings.gzip))
        return next((name for name, is_offered in offered if is_offered and name in accepted), None)


def _refusal(fault: Fault, skew_s: float) -> Answer:
    """A status with its Retry-After: seconds, the same as a date by the server's clock, or a text as it
    stands.
    """
    status = int(fault.value if fault.name == "status" else fault.options["code"])
    answer = error(status, "Refused")
    content = fault.options.get("content")
    if content in ("html", "empty"):
        answer.parts = [HTML] if content == "html" else []
    elif content == "no_records":
        answer.parts = [instead_of_data("empty")]
    if fault.name == "status":
        spent = Bucket(rate=1.0, burst=1.0)
        spent.tokens = 0.0
        answer.headers |= spent.headers(fault.options["headers"], time.time() + skew_s)
    after = fault.options["retry_after"]
    if after is not None and fault.options["retry_as"] == "date":
        answer.headers["Retry-After"] = email.utils.formatdate(
            time.time() + skew_s + float(after), usegmt=True
        )
    elif after is not None:
        answer.headers["Retry-After"] = str(after)
    return answer
