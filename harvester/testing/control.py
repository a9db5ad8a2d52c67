"""`/_simulator/`: the truth, the statistics and the levers of a running server, without authentication.

GET  /_simulator/truth?dataset=&start=&end=[&date_field=&fields=A,B&queues=1,2&filter=JSON]   lines of JSON
     (for `rollup` instead: &resolution=QuarterHour|Hour|Day&time_zone=); with &strict=1 the present state
     alone, without leniency for what moved while the server ran
GET  /_simulator/stats      counts by status, in flight, times
GET  /_simulator/requests   the last requests, a line of JSON each
POST /_simulator/faults     a list of faults, or {"faults": [...]}: they replace the ones before
POST /_simulator/token      {"token": "..."}: only this one is good from now on
POST /_simulator/reset      statistics start anew
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from .datasets import FIELDS, periods
from .query import RESOLUTIONS, BadRequest, parse
from .service import error
from .truth import rollup_line, truth
from .wire import Answer, send

if TYPE_CHECKING:
    from .server import Simulator

_LINES = {"Content-Type": "application/x-ndjson"}


async def handle(simulator: "Simulator", request: web.BaseRequest) -> web.StreamResponse:
    name = request.path.removeprefix("/_simulator/")
    try:
        match request.method, name:
            case "GET", "truth":
                return await _streamed(request, lines_of_truth(simulator, request.query))
            case "GET", "requests":
                return await _streamed(request, iter(list(simulator.stats.asked)))
            case "GET", "stats":
                answer = _json(simulator.stats.report())
            case "POST", "faults":
                body = orjson.loads(await request.read())
                simulator.set_faults(body["faults"] if isinstance(body, dict) else body)
                answer = _json({"faults": len(simulator.schedule.faults)})
            case "POST", "token":
                simulator.set_token(str(orjson.loads(await request.read())["token"]))
                answer = _json({"changed": True})
            case "POST", "reset":
                simulator.stats.reset()
                answer = _json({"reset": True})
            case _:
                answer = error(404, f"no {request.method} {request.path}")
    except (BadRequest, ValueError, KeyError, TypeError) as problem:
        answer = error(400, str(problem) or type(problem).__name__)
    return await send(request, answer)


def lines_of_truth(simulator: "Simulator", asked: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What a perfect harvest of `start <= t < end` holds now; both ends default to the simulator's own
    span.
    """
    settings = simulator.settings
    dataset = (asked.get("dataset") or "interactions").removeprefix("agent-workstate-")
    start, end = (
        asked.get("start") or settings.start.isoformat(),
        asked.get("end") or settings.end.isoformat(),
    )
    if dataset == "rollup":
        yield from _rollup_truth(simulator, start, end, asked)
        return
    if dataset not in FIELDS:
        raise BadRequest(f"no dataset {dataset}; there are {', '.join(FIELDS)} and rollup")
    body: dict[str, Any] = {"StartDateTime": start, "EndDateTime": end}
    if asked.get("date_field"):
        body["DateFilterField"] = asked["date_field"]
    if asked.get("fields"):
        body["Fields"] = asked["fields"].split(",")
    if asked.get("queues"):
        body["Queues"] = [int(queue) for queue in asked["queues"].split(",")]
    if asked.get("filter"):
        body["Filter"] = orjson.loads(asked["filter"])
    query = parse(body, date_field=FIELDS[dataset].date, now=simulator.now())
    table = simulator.datasets.table(dataset)
    yield from truth(
        table,
        query,
        rows=simulator.service.rows,
        faults=simulator.schedule.faults,
        strict=asked.get("strict") in ("1", "true"),
    )


def _rollup_truth(
    simulator: "Simulator", start: str, end: str, asked: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    resolution = asked.get("resolution") or "Hour"
    if resolution not in RESOLUTIONS:
        raise BadRequest(f"resolution must be one of {', '.join(RESOLUTIONS)}")
    zone = asked.get("time_zone") or "UTC"
    low, high = datetime.fromisoformat(start), datetime.fromisoformat(end)
    for since, until in periods(low, high, resolution, ZoneInfo(zone)):
        body = {
            "startDateTime": since.isoformat(),
            "endDateTime": until.isoformat(),
            "resolution": RESOLUTIONS.index(resolution),
            "relativeTimezone": zone,
        }
        for raw in simulator.datasets.rollup(body, simulator.now()):
            yield rollup_line(raw, since)


def _json(value: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, [orjson.dumps(value)])


async def _streamed(request: web.BaseRequest, lines: Iterable[Mapping[str, Any]]) -> web.StreamResponse:
    """The first line is made before the answer begins, so that a bad question is still answered with a
    400.
    """
    lines = iter(lines)
    block = [line for line in (next(lines, None),) if line is not None]
    response = web.StreamResponse(headers=_LINES)
    await response.prepare(request)
    for line in lines:
        block.append(line)
        if len(block) == 2000:
            await response.write(_block(block))
            block.clear()
    if block:
        await response.write(_block(block))
    await response.write_eof()
    return response


def _block(lines: list[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
