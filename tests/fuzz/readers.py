"""Readers of what comes from outside: what each is fed, which of our errors it may raise, and what must hold.

A target takes bytes and returns nothing. Whatever it raises is a finding.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import msgspec
import orjson

from harvester import config, contract, dialects
from harvester.contract import Recheck
from harvester.dialects import Ask, Dialect
from harvester.dialects.declaration import parse
from harvester.dialects.schema import Date
from harvester.dialects.times import time_reader
from harvester.errors import BadPage, Broken, ConfigError, Rejected, SourceError, TransientError
from harvester.pages import Served
from harvester.scheduler.known import begin_with
from harvester.transport import status
from harvester.transport.decoding import decode
from harvester.transport.server_clock import ServerClock
from tests.fuzz import seeds
from tests.fuzz.edits import document, toml
from tests.fuzz.scratch import scratch
from tests.harvesting import START

_NOW: Final = datetime(2024, 6, 1, tzinfo=UTC)
_ASK: Final = Ask(start=START, end=START + timedelta(hours=1), limit=100, offset=0, order_by=None)
_READERS: Final = ("interactions", "messages", "agent-workstate-events", "agent-workstate-rollup")
_FORMATS: Final = ("iso", "auto", "epoch_s", "epoch_ms", "%Y-%m-%dT%H:%M:%S%z")
_ENCODINGS: Final = ("gzip", "zstd", "identity")
_MOST_BYTES: Final = 1 << 20


def page(data: bytes) -> None:
    """Rows are the body's own bytes on one line, each item is a row or a reject, and a stored row reads the
    same again.
    """
    if not data:
        return
    dialect = _dialect(_READERS[data[0] % len(_READERS)])
    body = document(data[1:], seeds.page_tree(), json.dumps)
    try:
        read = dialect.read(body, _ASK)
    except BadPage:
        return
    is_windowed = dialect.membership == "window"
    flat = b"\n" not in body and b"\r" not in body
    for row in read.rows:
        raw = bytes(row[3])
        assert b"\n" not in raw
        assert b"\r" not in raw
        assert row[0].tzinfo is UTC
        json.loads(raw, parse_int=str, parse_float=str, parse_constant=_no_constant)
        if is_windowed:
            assert not flat or raw[: raw.rindex(b'"_window_start"')].rstrip(b",") in body
        else:
            assert not flat or raw in body
            assert dialect.row(raw)[:3] == row[:3]
    items = _items(body)
    if items is not None:
        assert len(read.rows) + len(read.rejects) == items


def dialect(data: bytes) -> None:
    """What parses is a dialect that can ask and read."""
    text = document(data, _tree("dialect", data), toml)
    with suppress(ConfigError):
        made = Dialect.of("fuzzed", parse(text.decode("utf-8", errors="replace"), "fuzzed.toml"))
        made = made.select(time_zone="UTC", resolution=None)
        made.request(_ASK)
        with suppress(BadPage):
            made.read(b'{"resultCode":0,"data":[{"_id":"a"}]}', _ASK)
        dialects.row_reader(dialects.reading_of(made))


def job(data: bytes) -> None:
    """A job that is whole, or a sentence about what is wrong in it."""
    path = scratch() / "job.toml"
    path.write_bytes(document(data, _tree("job", data), toml))
    with suppress(ConfigError):
        loaded = config.load(path, environ={})
        config.shown(loaded)
        config.job_of(loaded, now=_NOW)


def headers(data: bytes) -> None:
    """However long a server asks to wait, it is a number of seconds that has an end, and no `Date` moves our
    clock out of the calendar.
    """
    told = _texts(data)
    for code in (200, 302, 401, 403, 404, 429, 500, 503):
        error = status.failure(code, told, what="GET /", now=_NOW, max_outage_s=1e9)
        assert (error is None) == (code == 200)
        assert error is None or isinstance(error, SourceError)
        if isinstance(error, TransientError) and error.retry_after_s is not None:
            assert 0 <= error.retry_after_s <= status.MAX_RETRY_AFTER_S
    moment = status.http_date(told.get("date", ""))
    if moment is not None:
        moment - _NOW  # aware, and near enough to be compared
    clock = ServerClock(_Still())
    clock.hear(told)
    assert clock.earlier(_NOW) <= _NOW


def date(data: bytes) -> None:
    """A time in UTC, or the reason why it is none."""
    if not data:
        return
    reader = time_reader(Date(path="at", format=_FORMATS[data[0] % len(_FORMATS)]))
    try:
        value = msgspec.json.decode(data[1:])
    except (msgspec.DecodeError, RecursionError, ValueError):
        value = data[1:].decode("utf-8", errors="replace")
    try:
        moment = reader(value)
    except (ValueError, OverflowError):
        return
    assert moment.utcoffset() == timedelta(0)


def contract_json(data: bytes) -> None:
    """What can be read can be begun with, and compared with what comes."""
    with suppress(ValueError):
        found = contract.decode(document(data, seeds.CONTRACT, json.dumps))
        served = Served(100)
        recheck = begin_with(found, served)
        assert 0 < served.limit <= 100
        _compare(recheck)


def encoding(data: bytes) -> None:
    """Whole, or an error; never more than was agreed."""
    if not data:
        return
    try:
        body = decode(data[1:], _ENCODINGS[data[0] % len(_ENCODINGS)], max_bytes=_MOST_BYTES, what="GET /")
    except (Broken, BadPage, Rejected):
        return
    assert len(body) <= _MOST_BYTES or data[0] % len(_ENCODINGS) == 2


class _Still:
    """A clock that stands."""

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return _NOW

    async def sleep(self, seconds: float, /) -> None:
        raise AssertionError("nobody waits here")


def _compare(recheck: Recheck) -> None:
    dialect = _dialect("interactions")
    read = dialect.read(orjson.dumps(seeds.page_tree()), _ASK)
    recheck.page(_ASK, read, by="key")
    recheck.page(_ASK, read, by="date")
    recheck.served(limit=7, caps=[3], offset_ignored=True)


@cache
def _dialect(name: str) -> Dialect:
    made = dialects.load(name)
    period = "Hour" if made.membership == "window" else None  # sums are always of a whole period
    return made.select(time_zone="UTC", resolution=period)


def _tree(of: str, data: bytes) -> Any:
    trees = seeds.trees(of)
    return trees[len(data) % len(trees)]


def _texts(data: bytes) -> dict[str, str]:
    """Headers: a JSON object where it is one, else the bytes as the one header that matters most."""
    with suppress(msgspec.DecodeError, RecursionError, ValueError):
        told = msgspec.json.decode(data, type=dict[str, str])
        return {name.lower(): value for name, value in told.items()}
    text = data.decode("latin-1")
    names = ("retry-after", "date", "x-ratelimit-reset", "ratelimit-reset", "ratelimit", "location")
    return dict.fromkeys(names, text)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


class _Twice(Exception):
    pass


def _items(body: bytes) -> int | None:
    """Items of `data` as another parser counts them; None where that one cannot tell."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise _Twice
        return dict(pairs)

    try:
        told = json.loads(body.removeprefix(b"\xef\xbb\xbf").decode(), object_pairs_hook=once, parse_int=str)
    except (ValueError, RecursionError, _Twice):
        return None
    items = told.get("data") if isinstance(told, dict) else None
    return len(items) if isinstance(items, list) else None
