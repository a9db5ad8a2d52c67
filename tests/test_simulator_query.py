import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from harvester.testing.datasets import Datasets
from harvester.testing.filters import compile_filter
from harvester.testing.query import Query, asked_range, select
from harvester.testing.service import Service
from harvester.testing.settings import Settings
from harvester.testing.table import time_of, to_ms
from tests.raw_client import DAY, DETAILS, EVENTS, MESSAGES, ROLLUP

NOW = datetime(2024, 1, 4, 10, 22, tzinfo=UTC)

RECORD = {
    "AgentId": 7,
    "Talk": 1.0,
    "Name": "Ann",
    "QueueId": None,
    "Answered": True,
    "StartedDateTimeUtc": "2024-01-01T00:00:00.000Z",
    "State": {"Since": 5},
}


def served(
    service: Service, path: str = DETAILS, *, method: str = "POST", raw: bytes | None = None, **body: Any
) -> Any:
    """Status and decoded body of one call."""
    sent = json.dumps(body).encode() if raw is None else raw
    answer = service.respond(method, path, sent, struck={}, number=1, now=NOW, entry={})
    return answer.status, json.loads(b"".join(answer.parts))


@pytest.fixture(scope="module")
def service() -> Service:
    settings = Settings(records=3000)
    return Service(settings, Datasets(settings))


@pytest.fixture(scope="module")
def ask(service: Service) -> Callable[..., list[dict[str, Any]]]:
    def asked(path: str = DETAILS, **body: Any) -> list[dict[str, Any]]:
        status, answer = served(service, path, **body)
        assert (status, answer["resultCode"], answer["resultCodeName"]) == (200, 0, "Success"), answer
        data: list[dict[str, Any]] = answer["data"]
        return data

    return asked


Ask = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"AgentId": 7}, True),
        ({"AgentId": 7.0}, True),
        ({"AgentId": "7"}, False),
        ({"AgentId": {"$eq": 8}}, False),
        ({"AgentId": {"$ne": 8}}, True),
        ({"AgentId": {"$ne": 7}}, False),
        ({"Missing": {"$ne": 7}}, True),
        ({"AgentId": {"$gt": 6}}, True),
        ({"AgentId": {"$gt": 7}}, False),
        ({"AgentId": {"$gte": 7}}, True),
        ({"AgentId": {"$lt": 7}}, False),
        ({"AgentId": {"$lte": 7}}, True),
        ({"AgentId": {"$gt": 3, "$lt": 7}}, False),
        ({"AgentId": {"$gt": "3"}}, False),
        ({"QueueId": {"$lt": 3}}, False),
        ({"AgentId": {"$in": [1, 7]}}, True),
        ({"AgentId": {"$in": []}}, False),
        ({"AgentId": {"$nin": [1, 7]}}, False),
        ({"AgentId": {"$nin": [1]}}, True),
        ({"Missing": {"$nin": [1]}}, True),
        ({"QueueId": None}, True),
        ({"Missing": None}, True),
        ({"Answered": True}, True),
        ({"Answered": 1}, False),
        ({"Name": {"$gt": "Abel"}}, True),
        ({"State.Since": {"$gte": 5}}, True),
        ({"Name.Since": 5}, False),
        ({"StartedDateTimeUtc": {"$gte": "2024-01-01T01:00:00+01:00"}}, True),
        ({"StartedDateTimeUtc": {"$gt": "2024-01-01T01:00:00+01:00"}}, False),
        ({"AgentId": 7, "Name": "Bob"}, False),
        ({"$and": [{"AgentId": 7}, {"Name": "Ann"}]}, True),
        ({"$and": [{"AgentId": 7}, {"Name": "Bob"}]}, False),
        ({"$or": [{"AgentId": 8}, {"Name": "Ann"}]}, True),
        ({"$or": [{"AgentId": 8}, {"Name": "Bob"}]}, False),
        ({"$not": {"AgentId": 7}}, False),
        ({"AgentId": {"$not": {"$gt": 7}}}, True),
        ({"$or": [{"$and": [{"AgentId": 7}, {"$not": {"Name": "Bob"}}]}, {"Talk": 9}]}, True),
    ],
)
def test_filter_operators_decide_as_mongo_does(condition: dict[str, Any], holds: bool) -> None:
    assert compile_filter(condition)(RECORD) is holds


@pytest.mark.parametrize(
    "condition",
    [
        [],
        {"AgentId": {}},
        {"AgentId": {"$regex": "x"}},
        {"$nor": []},
        {"$and": {}},
        {"$or": []},
        {"AgentId": {"$in": 7}},
        {"AgentId": {"$not": 7}},
    ],
)
def test_filters_that_mean_nothing_are_refused(condition: Any) -> None:
    with pytest.raises(ValueError, match="Filter"):
        compile_filter(condition)


def test_an_absolute_range_holds_both_ends_in_any_offset(ask: Ask) -> None:
    day = ask(**DAY, Limit=5000)
    first, last = day[0]["StartedDateTimeUtc"], day[-1]["StartedDateTimeUtc"]
    assert first == "2024-01-03T00:00:00.000Z"
    assert ask(StartDateTime=first, EndDateTime=last, Limit=5000) == day
    local = {"StartDateTime": "2024-01-02T19:00:00-0500", "EndDateTime": "2024-01-03T18:59:59.999-0500"}
    assert ask(**local, Limit=5000) == day


@pytest.mark.parametrize(
    ("ends", "shift_ms", "after_start", "around_end"),
    [
        ("inclusive", (0, 0), {0, 1}, {-500, -1, 0}),
        ("inclusive", (1, -1), {1}, {-500, -1}),
        ("inclusive", (0.5, -0.5), {1}, {-500, -1}),
        ("exclusive", (0, 0), {0, 1}, {-500, -1}),
        ("exclusive", (0, 1), {0, 1}, {-500, -1, 0}),
        ("open", (0, 0), {1}, {-500, -1}),
        ("end_only", (0, 0), {1}, {-500, -1, 0}),
        ("end_only", (-1, -1), {0, 1}, {-500, -1}),
        ("seconds", (0, 0), {0, 1}, {-500, -1, 0, 1}),
        ("exclusive_seconds", (999, 999), {0, 1}, {-500, -1}),
        ("exclusive_seconds", (0, 1000), {0, 1}, {-500, -1, 0, 1}),
        ("open_seconds", (0, 0), set(), {-500, -1}),
        ("open_seconds", (-1, 999), {0, 1}, {-500, -1}),
        ("end_only_seconds", (0, 0), set(), {-500, -1, 0, 1}),
        ("end_only_seconds", (-1, -1), {0, 1}, {-500, -1}),
        ("seconds", (999, -1), {0, 1}, {-500, -1}),
    ],
)
def test_ends_count_as_they_are_told(
    service: Service, ends: str, shift_ms: tuple[float, float], after_start: set[int], around_end: set[int]
) -> None:
    """The data has records half a second and a millisecond before every midnight, at it, and a millisecond
    after.
    """
    edges = to_ms("2024-01-03T00:00:00Z"), to_ms("2024-01-04T00:00:00Z")
    start, end = (edge * 1000 + int(shift * 1000) for edge, shift in zip(edges, shift_ms, strict=True))
    query = Query(start_us=start, end_us=end, date_field="StartedDateTimeUtc")
    table = service.datasets.table("interactions")
    found = {time_of(table.row(row), "StartedDateTimeUtc") for row in select(table, query, ends)}
    around = [{at for at in (-500, -1, 0, 1) if edge + at in found} for edge in edges]
    assert around == [after_start, around_end]


@pytest.mark.parametrize(
    ("resolution", "zone", "periods", "start", "end"),
    [
        ("Day", "", (-1, -1), "2024-01-03T00:00", "2024-01-04T00:00"),
        ("Day", "UTC", (0, 0), "2024-01-04T00:00", "2024-01-05T00:00"),
        ("Day", "America/New_York", (-2, -1), "2024-01-02T05:00", "2024-01-04T05:00"),
        ("Day", "Asia/Kathmandu", (0, 0), "2024-01-03T18:15", "2024-01-04T18:15"),
        ("Hour", "Asia/Kathmandu", (0, 0), "2024-01-04T10:15", "2024-01-04T11:15"),
        ("Hour", "UTC", (-3, -2), "2024-01-04T07:00", "2024-01-04T09:00"),
        ("QuarterHour", "UTC", (-1, 0), "2024-01-04T10:00", "2024-01-04T10:30"),
    ],
)
@pytest.mark.parametrize("spelling", ["RelativeTimeZone", "RelativeTimezone"])
def test_relative_ranges_count_from_the_current_period(
    spelling: str, resolution: str, zone: str, periods: tuple[int, int], start: str, end: str
) -> None:
    body: dict[str, Any] = {
        "RelativePeriodStart": periods[0],
        "RelativePeriodEnd": periods[1],
        spelling: zone,
    }
    low, high = asked_range({**body, "Resolution": resolution}, NOW)
    assert low == datetime.fromisoformat(start + "Z")
    assert high == datetime.fromisoformat(end + "Z") - timedelta(milliseconds=1)


def test_a_relative_day_is_as_long_as_it_was() -> None:
    body = {
        "RelativePeriodStart": -1,
        "RelativePeriodEnd": -1,
        "Resolution": "Day",
        "RelativeTimezone": "Europe/Berlin",
    }
    low, high = asked_range(body, datetime(2024, 4, 1, 10, tzinfo=UTC))
    assert high - low == timedelta(hours=23) - timedelta(milliseconds=1)


def test_pages_follow_each_other_in_the_order_of_the_date(ask: Ask) -> None:
    whole = ask(**DAY, Limit=5000)
    paged = [record for offset in range(0, 5000, 100) for record in ask(**DAY, Limit=100, Offset=offset)]
    assert paged == whole
    assert len(whole) > 300
    assert [r["StartedDateTimeUtc"] for r in whole] == sorted(r["StartedDateTimeUtc"] for r in whole)
    assert ask(**DAY, Limit=10, Offset=15) == whole[15:25]
    assert ask(**DAY, Offset=5000) == []


def test_limit_has_a_default_and_a_cap() -> None:
    settings = Settings(records=500, page_cap=40, default_limit=30)
    service = Service(settings, Datasets(settings))
    asked: list[dict[str, Any]] = [{}, {"Limit": 35}, {"Limit": 99}]
    assert [len(served(service, **DAY, **one)[1]["data"]) for one in asked] == [30, 35, 40]


@pytest.mark.parametrize(
    "field", ["_id", "AgentId", "TotalTalkTime", "FirstQueuedAtUtc", "RecordWrittenAtUtc"]
)
def test_order_by_sorts_by_any_field_nulls_first(ask: Ask, field: str) -> None:
    values = [record[field] for record in ask(**DAY, OrderBy=field, Limit=5000)]
    assert values == sorted(
        values, key=lambda value: (value is not None, value or 0 if field != "_id" else value)
    )
    assert len(set(values)) > 10


def test_any_date_field_selects(ask: Ask) -> None:
    for field in ("RecordWrittenAtUtc", "FirstQueuedAtUtc", "StartedEpoch"):
        values = [record[field] for record in ask(**DAY, DateFilterField=field, Limit=5000)]
        assert len(values) > 100
        assert values == sorted(values)
        if field.endswith("Utc"):
            assert all(value.startswith("2024-01-03T") for value in values)


def test_fields_project_and_keep_each_value_as_it_was_written(service: Service, ask: Ask) -> None:
    sent = {**DAY, "Fields": ["TotalTalkTime", "_id", "AgentFirstName", "NoSuch"], "Limit": 300}
    assert set(ask(**sent)[0]) == {"_id", "TotalTalkTime", "AgentFirstName"}
    raw = json.dumps(sent).encode()
    body = b"".join(service.respond("POST", DETAILS, raw, struck={}, number=1, now=NOW, entry={}).parts)
    assert b'"TotalTalkTime":1E2,' in body
    assert b"\\ud83d" in body


def test_queues_and_filter_narrow_together(ask: Ask) -> None:
    whole = ask(**DAY, Limit=5000)
    queues, low = [101, 103], 10_700
    expected = [r for r in whole if r["QueueId"] in queues and r["AgentId"] > low]
    assert expected
    assert ask(**DAY, Limit=5000, Queues=queues, Filter={"AgentId": {"$gt": low}}) == expected


def test_seeking_by_key_walks_a_range(ask: Ask) -> None:
    whole = ask(**DAY, OrderBy="_id", Limit=5000)
    walked: list[Any] = []
    while page := ask(
        **DAY, OrderBy="_id", Limit=70, Filter={"_id": {"$gt": walked[-1]["_id"]}} if walked else {}
    ):
        walked += page
    assert walked == whole


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"StartDateTime": None}, "StartDateTime"),
        ({"StartDateTime": "yesterday"}, "yesterday"),
        ({"StartDateTime": "2024-02-01T00:00:00Z"}, "before"),
        ({"RelativePeriodStart": -1, "RelativePeriodEnd": -1}, "StartDateTime"),
        ({"StartDateTime": None, "EndDateTime": None}, "Relative"),
        ({"Limit": 0}, "Limit"),
        ({"Limit": "10"}, "Limit"),
        ({"Offset": -1}, "Offset"),
        ({"Limit": True}, "Limit"),
        ({"Fields": "_id"}, "Fields"),
        ({"Queues": ["a"]}, "Queues"),
        ({"OrderBy": "NoSuchField"}, "NoSuchField"),
        ({"DateFilterField": "NoSuchUtc"}, "NoSuchUtc"),
        ({"Filter": {"A": {"$regex": "x"}}}, "regex"),
        ({"startDateTime": "2024-01-01T00:00:00Z"}, "startDateTime"),
    ],
)
def test_nonsense_is_answered_with_400_and_a_word(
    service: Service, change: dict[str, Any], word: str
) -> None:
    body = {name: value for name, value in {**DAY, **change}.items() if value is not None}
    status, answer = served(service, **body)
    assert status == 400
    assert word in answer["resultCodeName"]
    assert answer["data"] is None


@pytest.mark.parametrize(
    ("relative", "word"),
    [
        ({"Resolution": "Minute"}, "Minute"),
        ({"RelativeTimeZone": "Mars/Olympus"}, "Mars"),
        ({"RelativePeriodEnd": -3}, "before"),
        ({"RelativePeriodEnd": 1.5}, "1.5"),
    ],
)
def test_nonsense_in_relative_ranges_too(service: Service, relative: dict[str, Any], word: str) -> None:
    body = {"RelativePeriodStart": -1, "RelativePeriodEnd": -1, "Resolution": "Day", **relative}
    status, answer = served(service, **body)
    assert (status, word in answer["resultCodeName"]) == (400, True)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff"])
def test_a_body_that_is_no_object_is_a_400(service: Service, raw: bytes) -> None:
    assert served(service, raw=raw)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/reporting/api/v1/lookup/queues", 200),
        ("GET", "/reporting/api/v1/lookup/timezones", 200),
        ("POST", "/reporting/api/v1/lookup/queues", 405),
        ("GET", DETAILS, 405),
        ("POST", "/reporting/api/v2/interaction/details", 404),
    ],
)
def test_paths_and_methods_are_those_of_the_reference(
    service: Service, method: str, path: str, status: int
) -> None:
    got, answer = served(service, path, method=method)
    assert got == status
    assert bool(answer["data"]) == (status == 200)


def test_messages_are_nested_and_known_by_a_uuid(ask: Ask) -> None:
    found = ask(MESSAGES, **DAY, Limit=2000, OrderBy="AgentMessage.State.AgentId")
    agents = [message["AgentMessage"]["State"]["AgentId"] for message in found]
    assert agents == sorted(agents)
    assert all(str(UUID(message["_id"])) == message["_id"] for message in found)
    wanted = {"AgentMessage.State.AgentId": agents[-1]}
    assert len(ask(MESSAGES, **DAY, Filter=wanted)) == agents.count(agents[-1])


def test_workstate_events_are_dated_in_whole_seconds(ask: Ask) -> None:
    epochs = [event["Epoch"] for event in ask(EVENTS, **DAY, Limit=2000)]
    assert epochs == sorted(epochs)
    assert to_ms(DAY["StartDateTime"]) <= epochs[0] * 1000 <= epochs[-1] * 1000 < to_ms(DAY["EndDateTime"])


def test_the_rollup_sums_up_the_events_of_each_period(ask: Ask) -> None:
    events = ask(EVENTS, StartDateTime="2024-01-03T15:00:00Z", EndDateTime="2024-01-03T16:59:59Z", Limit=2000)
    span = {"startDateTime": "2024-01-03T15:00:00Z", "endDateTime": "2024-01-03T17:00:00Z"}
    two_hours = ask(ROLLUP, **span, resolution=1)
    one_day = ask(ROLLUP, **span, resolution=2)
    assert sum(row["events"] for row in two_hours) == len(events) == sum(row["events"] for row in one_day)
    assert [row["agentId"] for row in one_day] == sorted({event["AgentId"] for event in events})
    agent = events[0]["AgentId"]
    spent = sum(state["seconds"] for state in next(r for r in one_day if r["agentId"] == agent)["workstates"])
    assert spent == to_ms("2024-01-03T17:00:00Z") / 1000 - events[0]["Epoch"]
    relative = ask(ROLLUP, relativePeriodStart=-1, relativePeriodEnd=-1, resolution=2, relativeTimezone="UTC")
    absolute = {"startDateTime": "2024-01-03T00:00:00Z", "endDateTime": "2024-01-04T00:00:00Z"}
    assert relative == ask(ROLLUP, **absolute, resolution=2)
    assert [row["agentId"] for row in ask(ROLLUP, **span, resolution=2, agents=[agent])] == [agent]


def test_the_rollup_takes_camel_case_only(service: Service) -> None:
    assert served(service, ROLLUP, **DAY)[0] == 400
    assert served(service, ROLLUP, startDateTime="2024-01-03T15:00:00Z", endDateTime="x")[0] == 400
    assert served(service, ROLLUP, relativePeriodStart=-1, relativePeriodEnd=-1, resolution=7)[0] == 400
