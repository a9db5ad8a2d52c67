"""`/_simulator/`: the truth, the statistics and the levers of a running server, without authentication.

GET  /_simulator/truth?dataset=&start=&end=[&date_field=&fields=A,B&queues=1,2&filter=JSON]   lines of JSON
     (for `rollup` instead: &resolution=QuarterHour|Hour|Day&time_zone=); with &strict=1 the present state
     alone, without leniency for what moved while the server ran
GET  /_simulator/stats      counts by status, in flight, times
GET  /_simulator/requests   the last requests, a line of JSON each
POST /_simulator/faults     a list of faults, or {"faults": [...]}: they replace the ones before
POST /_simulator/token      {"token": "..."}: only this one is good from now on
POST /_simulator/clock      {"now": "..."}: the clock of relative ranges and of a live server
POST /_simulator/reset      statistics start anew
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from .datasets import FIELDS, periods
from .query import RESOLUTIONS, BadRequest, parse, zone_of
from .service import error
from .truth import rollup_line, truth
from .wire import Answer, send

if TYPE_CHECKING:
    from .server import Simulator


async def handle(simulator: "Simulator", request: web.BaseRequest) -> web.StreamResponse:
    try:
        answer = _answered(simulator, request.method, request.path, request.query, await request.read())
    except (BadRequest, ValueError, KeyError, TypeError) as problem:
        answer = error(400, str(problem) or type(problem).__name__)
    if isinstance(answer, Answer):
        return await send(request, answer)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while block := list(islice(answer, 2000)):
        await response.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in block))
    await response.write_eof()
    return response


def _answered(
    simulator: "Simulator", method: str, path: str, query: Mapping[str, str], body: bytes
) -> Answer | Iterator[Mapping[str, Any]]:
    """One answer, or lines to stream. The first line is made here: a bad question gets a 400, not half an
    answer.
    """
    match method, path.removeprefix("/_simulator/"):
        case "GET", "truth":
            lines = lines_of_truth(simulator, query)
            first = next(lines, None)
            return iter(()) if first is None else chain((first,), lines)
        case "GET", "requests":
            return iter(list(simulator.stats.asked))
        case "GET", "stats":
            return _json(simulator.stats.report())
        case "POST", "faults":
            entries = orjson.loads(body)
            simulator.set_faults(entries["faults"] if isinstance(entries, dict) else entries)
            return _json({"faults": len(simulator.schedule.faults)})
        case "POST", "token":
            simulator.set_token(str(orjson.loads(body)["token"]))
            return _json({"changed": True})
        case "POST", "clock":
            simulator.set_now(datetime.fromisoformat(orjson.loads(body)["now"]))
            return _json({"now": simulator.now()})
        case "POST", "reset":
            simulator.stats.reset()
            return _json({"reset": True})
    return error(404, f"no {method} {path}")


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
    for since, until in periods(low, high, resolution, zone_of(zone)):
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
