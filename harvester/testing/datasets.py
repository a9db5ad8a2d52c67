"""The four datasets behind the calls: which path serves which, and the tables, rendered when they are first
asked for.

The workstate rollup has no table: it is computed from the workstate events, for each period of the range and
each agent the seconds in each workstate. Its rows carry neither key nor date.
"""

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from .clock import Timeline
from .faults import draw
from .messages import WORKSTATES, messages, workstate_events
from .query import BadRequest, asked_range, period, zone_of
from .records import interactions, slim_interactions
from .rhythm import instants
from .rows import clone
from .settings import Settings
from .table import Fields, Renderer, Table, render

PATHS = {
    "/reporting/api/v1/interaction/details": "interactions",
    "/reporting/api/v1/report-message/details": "messages",
    "/reporting/api/v1/agent-workstate-events/details": "events",
    "/reporting/api/v1/agent/workstate/rollup": "rollup",
}
QUEUES_PATH = "/reporting/api/v1/lookup/queues"
TIME_ZONES_PATH = "/reporting/api/v1/lookup/timezones"

FIELDS = {
    "interactions": Fields(date="StartedDateTimeUtc"),
    "messages": Fields(date="CreatedAtUtc"),
    "events": Fields(date="Epoch"),
}
_RENDERERS: dict[str, Renderer] = {
    "interactions": interactions,
    "messages": messages,
    "events": workstate_events,
}

_ROLLUP_PARAMETERS = frozenset(
    ("queues", "agents", "startDateTime", "endDateTime", "relativePeriodStart", "relativePeriodEnd",
     "relativeTimezone", "resolution", "includeInactiveTime", "limit", "offset")
)  # fmt: skip
_RESOLUTIONS = ("QuarterHour", "Hour", "Day")


class Datasets:
    def __init__(self, settings: Settings, now: Callable[[], datetime] | None = None) -> None:
        self._settings = settings
        self._now = now
        self._tables: dict[str, Table] = {}
        self._timelines: dict[str, Timeline] = {}

    def table(self, dataset: str) -> Table:
        """The table as it is at this moment."""
        known = self._tables.get(dataset)
        if known is None:
            known = self._tables[dataset] = self._render(dataset)
            if self._settings.twins:
                self._add_twins(known)
            if self._settings.live:
                self._timelines[dataset] = Timeline(known)
        if self._settings.live and self._now is not None:
            self._timelines[dataset].advance(round(self._now().timestamp() * 1000))
        return known

    def _add_twins(self, table: Table) -> None:
        settings = self._settings
        for row in list(table.rows()):
            if draw(settings.seed, "twins", table.key(row)) < settings.twins:
                table.insert(clone(bytes(table.row(row)), row), noticed=False)

    def rendered(self) -> list[Table]:
        return list(self._tables.values())

    def count(self, dataset: str) -> int:
        """How many records are planned inside the span, without rendering them."""
        settings = self._settings
        given = {"interactions": settings.records, "messages": settings.messages, "events": settings.events}
        count = given[dataset]
        return settings.records // 4 if count is None else count

    def rollup(self, body: dict[str, Any], now: datetime) -> list[bytes]:
        """The rows of one rollup call, in the order of period and agent."""
        unknown = sorted(set(body) - _ROLLUP_PARAMETERS)
        if unknown:
            raise BadRequest(f"unknown parameter {unknown[0]}")
        number = body.get("resolution", 2)
        if isinstance(number, bool) or number not in (0, 1, 2):
            raise BadRequest(f"resolution must be 0, 1 or 2, not {number!r}")
        zone_name = body.get("relativeTimezone") or "UTC"
        names = {
            "StartDateTime": "startDateTime",
            "EndDateTime": "endDateTime",
            "RelativePeriodStart": "relativePeriodStart",
            "RelativePeriodEnd": "relativePeriodEnd",
        }
        upper = {name: body[lower] for name, lower in names.items() if body.get(lower) is not None}
        upper |= {"Resolution": _RESOLUTIONS[number], "RelativeTimezone": zone_name}
        start, end = asked_range(upper, now)
        if start > end:
            raise BadRequest("endDateTime is before startDateTime")
        if "RelativePeriodEnd" in upper:
            end += timedelta(milliseconds=1)  # from the last instant to the edge behind it
        queues, agents = (set(body.get(name) or ()) for name in ("queues", "agents"))
        rows: list[bytes] = []
        for low, high in periods(start, end, _RESOLUTIONS[number], zone_of(zone_name)):
            rows += self._rolled_up(low, high, queues, agents)
        return rows

    def _rolled_up(self, low: datetime, high: datetime, queues: set[int], agents: set[int]) -> list[bytes]:
        table = self.table("events")
        low_ms, high_ms = round(low.timestamp() * 1000), round(high.timestamp() * 1000)
        by_agent: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in table.index(table.fields.date).between(low_ms, high_ms - 1):
            event = orjson.loads(table.row(row))
            if (not agents or event["AgentId"] in agents) and (not queues or event["QueueId"] in queues):
                by_agent[event["AgentId"]].append(event)
        return [_row(agent, by_agent[agent], high_ms) for agent in sorted(by_agent)]

    def _render(self, dataset: str) -> Table:
        settings = self._settings
        start_ms, end_ms = (round(t.timestamp() * 1000) for t in (settings.start, settings.end))
        seed = f"{settings.seed}/{dataset}"
        times = instants(
            self.count(dataset),
            start_ms=start_ms,
            end_ms=end_ms,
            seed=seed,
            rhythm=settings.rhythm,
            cluster=settings.cluster,
        )
        # Neighbours of the span: its ends themselves, and ever further away from them.
        steps = [1, 500, 999, 1_000, 60_000, 3_600_000]
        far = [steps[min(n, 5)] * max(1, n - 4) for n in range(settings.beyond // 2)]
        if FIELDS[dataset].date == "Epoch":
            far = [-(-step // 1000) * 1000 for step in far]
        after = [end_ms, *(end_ms + step for step in far)][: settings.beyond - len(far)]
        if FIELDS[dataset].date == "Epoch":  # whole seconds
            times = array("q", [t - t % 1000 for t in times])
        times = array("q", [*(start_ms - step for step in reversed(far)), *times, *after])
        renderer, name = _RENDERERS[dataset], dataset
        if settings.slim and dataset == "interactions":
            renderer, name = slim_interactions, "slim-interactions"
        return render(renderer, times, seed, FIELDS[dataset], settings.cache, name)


def queues_body(queues: tuple[tuple[int, str], ...]) -> bytes:
    return _envelope([{"id": number, "name": name} for number, name in queues])


def time_zones_body(zones: tuple[str, ...]) -> bytes:
    return _envelope([{"id": name, "name": name.replace("_", " ")} for name in zones])


def digest(raw: bytes) -> str:
    """Of a rollup row: its content, however it is written."""
    return hashlib.sha256(orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def periods(
    start: datetime, end: datetime, resolution: str, zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime]]:
    """The periods that the range touches, the first and the last cut to it."""
    low = start.astimezone(UTC)
    while low < end:
        edge = period(low, resolution, zone, 1)
        yield low, min(edge, end.astimezone(UTC))
        low = edge


def _row(agent: int, events: list[dict[str, Any]], high_ms: int) -> bytes:
    """Seconds in each workstate between the events and the period's end."""
    seconds = dict.fromkeys((number for number, _ in WORKSTATES), 0.0)
    at = [one["Epoch"] * 1000 for one in events]
    for event, begun, ended in zip(events, at, [*at[1:], high_ms], strict=True):
        seconds[event["WorkstateId"]] += (ended - begun) / 1000
    names = dict(WORKSTATES)
    return orjson.dumps(
        {
            "agentId": agent,
            "firstName": events[0]["FirstName"],
            "lastName": events[0]["LastName"],
            "events": len(events),
            "workstates": [
                {"workstateId": number, "name": names[number], "seconds": spent}
                for number, spent in seconds.items()
                if spent
            ],
        }
    )


def _envelope(data: list[dict[str, Any]]) -> bytes:
    return orjson.dumps({"resultCode": 0, "resultCodeName": "Success", "data": data})
