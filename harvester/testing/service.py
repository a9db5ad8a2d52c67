"""The calls themselves: a request's body in, an answer out, with the faults that concern query, rows and
body.

No sockets here, no waiting. With no fault struck, a page of neighbouring records is one slice of the mapped
file.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from . import spoil
from .datasets import FIELDS, PATHS, QUEUES_PATH, TIME_ZONES_PATH, Datasets, queues_body, time_zones_body
from .faults import Fault, draw
from .people import QUEUES, TIME_ZONES
from .query import BadRequest, Query, parse, project
from .rows import MOVING, Rows
from .settings import Settings
from .table import Table
from .wire import Answer, Part

JSON = {"Content-Type": "application/json; charset=utf-8"}

_HEAD = b'{"resultCode":0,"resultCodeName":"Success","data":['
_TAIL = b"]}"
_ZONES = ("RelativeTimeZone", "RelativeTimezone")


class Service:
    def __init__(self, settings: Settings, datasets: Datasets) -> None:
        self.datasets = datasets
        self.rows = Rows(settings.seed)
        self._settings = settings

    def respond(
        self,
        method: str,
        path: str,
        raw: bytes,
        *,
        struck: Mapping[str, Fault],
        number: int,
        now: datetime,
        entry: dict[str, Any],
        written: datetime | None = None,
    ) -> Answer:
        """`entry` is the request's line in the log; the count of rows is added to it. What is written anew
        is so at `written`, by default the end of the data.
        """
        if path in (QUEUES_PATH, TIME_ZONES_PATH):
            if method != "GET":
                return error(405, f"{method} is not allowed here")
            known = queues_body(QUEUES) if path == QUEUES_PATH else time_zones_body(TIME_ZONES)
            return Answer(200, dict(JSON), [known])
        dataset = PATHS.get(path)
        if dataset is None:
            return error(404, f"no call {path}")
        if method != "POST":
            return error(405, f"{method} is not allowed here")
        try:
            body = _decoded(raw)
            if "relative" in struck:
                body = {name: value for name, value in body.items() if name not in _ZONES}
            if dataset == "rollup":
                rolled = self.datasets.rollup(body, now)
                limit, offset = body.get("limit") or len(rolled), body.get("offset") or 0
                parts: list[Part] = [b",".join(rolled[offset : offset + limit])]
                entry["rows"] = len(rolled[offset : offset + limit])
            else:
                query = parse(body, date_field=FIELDS[dataset].date, now=now)
                table = self.datasets.table(dataset)
                parts = self._page(table, query, struck, number, entry, written or self._settings.end)
        except BadRequest as problem:
            return error(400, str(problem))
        except Refused as refusal:
            return error(refusal.status, str(refusal))
        return _enveloped(parts, struck)

    def _page(
        self,
        table: Table,
        query: Query,
        struck: Mapping[str, Fault],
        number: int,
        entry: dict[str, Any],
        written: datetime,
    ) -> list[Part]:
        limit, offset = self._cut(query, struck, number)
        rows = self.rows.selected(table, query, self._settings.ends, struck, number)
        if any(name in struck for name in MOVING):
            self.rows.move(table, rows, offset, struck, round(written.timestamp() * 1000))
            rows = self.rows.selected(table, query, self._settings.ends, struck, number)
        if (fault := struck.get("rows_refused")) and len(rows) > fault.value:
            raise Refused(int(fault.options["code"]), "the range holds too many rows")
        if (fault := struck.get("past_end")) and offset >= max(1, len(rows)):
            if fault.value == "refused":
                raise BadRequest("Offset must be less than the number of rows")
            offset = len(rows) - 1
        page = rows[max(0, offset) : offset + limit]
        entry["rows"] = len(page)
        damage = struck.get("record")
        if damage is None and not query.fields:
            return list(table.joined(page))
        records = []
        for row in page:
            record = bytes(table.row(row))
            if query.fields:
                record = project(record, query.fields)
            if damage is not None and spoil.is_damaged(table.key(row), damage.options["one_in"]):
                record = spoil.damage(damage.value, record, table.fields)
            records.append(record)
        return [b",".join(records)]

    def _cut(self, query: Query, struck: Mapping[str, Fault], number: int) -> tuple[int, int]:
        """Limit and Offset as this server takes them."""
        limit, offset = query.limit or self._settings.default_limit, query.offset
        if (fault := struck.get("limit_refused")) and limit > fault.value:
            raise BadRequest(f"Limit must be {fault.value} or less")
        if (fault := struck.get("offset_refused")) and offset >= fault.value:
            raise BadRequest(f"Offset must be less than {fault.value}")
        if query.filter and "filter" in struck and struck["filter"].value == "refused":
            raise BadRequest("Filter is not supported")
        longest = struck.get("window_refused_s")
        if longest is not None and query.end_us - query.start_us > longest.value * 1_000_000:
            raise Refused(int(longest.options["code"]), "the range is too long")
        limit = min(limit, self._settings.page_cap)
        if fault := struck.get("page_cap"):
            limit = min(limit, self._cap(fault, query, number))
        if fault := struck.get("limit_ignored"):
            limit = fault.value
        if fault := struck.get("more_than_limit"):
            limit += fault.value
        return limit, 0 if "offset_ignored" in struck else offset

    def _cap(self, fault: Fault, query: Query, number: int) -> int:
        """The largest page that this request gets."""
        least, most = int(fault.options["least"]), int(fault.value)
        if not least:
            return most
        subjects: dict[str, object] = {
            "window": (query.start_us, query.end_us),
            "offset": (query.start_us, query.end_us, query.offset),
            "request": number,
        }
        drawn = draw(self._settings.seed, "page_cap", subjects[fault.options["per"]])
        return least + int(drawn * (most - least + 1))


class Refused(Exception):
    """A refusal with a status of its own."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def error(status: int, words: str) -> Answer:
    body = orjson.dumps({"resultCode": status, "resultCodeName": words, "data": None})
    return Answer(status, dict(JSON), [body])


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body is no JSON object")
    return body


def _enveloped(parts: list[Part], struck: Mapping[str, Fault]) -> Answer:
    if fault := struck.get("result_code"):
        body = orjson.dumps({"resultCode": fault.value, "resultCodeName": "Failure", "data": None})
        return Answer(200, dict(JSON), [body])
    if fault := struck.get("data"):
        return Answer(200, dict(JSON), [spoil.instead_of_data(fault.value)])
    answer = Answer(200, dict(JSON), [_HEAD, *parts, _TAIL])
    if fault := struck.get("oversize"):
        answer.parts[-1:] = [b" " * (fault.value * 2**20), _TAIL]
    if fault := struck.get("body"):
        answer.parts = [spoil.spoil(fault.value, b"".join(answer.parts))]
        if fault.value in ("html", "text"):
            answer.headers["Content-Type"] = "text/html" if fault.value == "html" else "text/plain"
    return answer
