"""The requests that a dialect builds."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dialects import Ask, Dialect, load
from harvester.dialects.request import RequestWriter
from harvester.dialects.schema import Asking, Times
from harvester.dialects.template import compiled, fill
from harvester.dialects.times import TimeWriter
from harvester.errors import ConfigError
from tests.interactions import ASK, INTERACTIONS, START, body_of, page, record

# --- requests


def test_an_interaction_is_asked_for_as_the_page_of_the_api_says() -> None:
    selected = INTERACTIONS.select(
        fields=["AgentId", "_id"], queues=[3, 4], filter={"AgentId": {"$in": [7]}}, resolution="Hour"
    )
    request = selected.request(
        Ask(start=START, end=START + timedelta(hours=1), limit=500, offset=20, order_by=None)
    )
    assert (request.method, request.path) == ("POST", "/reporting/api/v1/interaction/details")
    assert (request.query, request.origin) == ((), None)
    assert request.headers == (("Content-Type", "application/json"),)
    assert json.loads(request.body or b"") == {
        "StartDateTime": "2024-01-01T10:00:00+0000",
        "EndDateTime": "2024-01-01T11:00:00+0000",
        "DateFilterField": "StartedDateTimeUtc",
        "Resolution": "Hour",
        "Queues": [3, 4],
        "Filter": {"AgentId": {"$in": [7]}},
        "Fields": ["AgentId", "_id", "StartedDateTimeUtc", "RecordWrittenAtUtc"],
        "OrderBy": "_id",
        "Limit": 500,
        "Offset": 20,
    }


def test_what_the_job_does_not_give_is_not_sent() -> None:
    assert set(body_of(INTERACTIONS.select(fields=[], queues=[]))) == {
        "StartDateTime",
        "EndDateTime",
        "DateFilterField",
        "OrderBy",
        "Limit",
        "Offset",
    }
    assert "DateFilterField" not in body_of(load("messages"))


def test_the_order_of_the_ask_goes_before_that_of_the_job_and_that_before_the_default() -> None:
    asked = Ask(start=ASK.start, end=ASK.end, limit=1, offset=0, order_by="AgentId")
    assert body_of(INTERACTIONS)["OrderBy"] == "_id"
    assert body_of(INTERACTIONS.select(order_by="TenantId"))["OrderBy"] == "TenantId"
    assert body_of(INTERACTIONS.select(order_by="TenantId"), asked)["OrderBy"] == "AgentId"


def test_the_date_field_of_the_job_is_asked_for_read_and_added_to_the_fields() -> None:
    selected = INTERACTIONS.select(date_field="EndedEpoch", fields=["AgentId"])
    assert body_of(selected)["DateFilterField"] == "EndedEpoch"
    assert body_of(selected)["Fields"] == ["AgentId", "_id", "EndedEpoch", "RecordWrittenAtUtc"]
    assert selected.date_field == "EndedEpoch"
    rows = selected.read(page(record(1, EndedEpoch=1704103200)), ASK).rows
    assert [row[0] for row in rows] == [START]
    assert selected.select(fields=["TenantId"]).date_field == "EndedEpoch"


def test_a_field_that_holds_a_needed_one_is_not_asked_for_twice(dialect: Callable[..., Dialect]) -> None:
    nested = dialect(
        ('key = "id"', 'key = "meta.id"'), ('skip = "{offset}"', 'skip = "{offset}"\nf = "{fields}"')
    )
    query = nested.select(fields=["meta"]).request(ASK).query
    assert [value for name, value in query if name == "f"] == ["meta", "at"]
    query = nested.select(fields=["me", "a"]).request(ASK).query
    assert [value for name, value in query if name == "f"] == ["me", "a", "meta.id", "at"]


@pytest.mark.parametrize("name", ["fields", "queues", "filter", "date_field", "order_by"])
def test_a_parameter_that_the_dialect_has_no_place_for_is_refused(
    dialect: Callable[..., Dialect], name: str
) -> None:
    chosen: dict[str, Any] = {name: {"a": 1} if name == "filter" else "abc"}
    with pytest.raises(ConfigError, match=f"{name}: the dialect mine has no place for it"):
        dialect().select(**chosen)


def test_a_filter_that_no_json_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[source\] filter"):
        INTERACTIONS.select(filter={"a": 1 << 80})


def test_a_resolution_that_the_source_does_not_know_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"does not know 'Hours'; did you mean Hour\? Known are QuarterHour, Hour, Day"
    ):
        INTERACTIONS.select(resolution="Hours")
    with pytest.raises(ConfigError, match="expected one of QuarterHour, Hour, Day"):
        load("agent-workstate-rollup").select()


def test_parameters_go_into_the_query_a_header_and_json_at_any_depth(dialect: Callable[..., Dialect]) -> None:
    made = dialect(
        ('method = "GET"', 'method = "POST"'),
        ('limit = "{limit}"', 'fixed = true\nq = "{queues}"'),
        (
            "[answer]",
            """[request.headers]
            X-Range = "{start}/{end}"
            X-Zone = "{time_zone}"
            content-type = "application/vnd.api+json"
            [request.body]
            page = { size = "{limit}", deep = [ { by = "{order_by}" }, "{{literal}} {offset}", 1.5 ] }
            only = { filter = "{filter}", none = ["{fields}"] }
            empty = {}
            [answer]""",
        ),
    )
    request = made.select(queues=["a b", 2], time_zone="Europe/Berlin").request(ASK)
    assert request.query == (
        ("from", "2024-01-01T10:00:00.000Z"),
        ("to", "2024-01-01T11:00:00.000Z"),
        ("fixed", "true"),
        ("q", "a b"),
        ("q", "2"),
        ("skip", "0"),
    )
    assert request.headers == (
        ("X-Range", "2024-01-01T10:00:00.000Z/2024-01-01T11:00:00.000Z"),
        ("X-Zone", "Europe/Berlin"),
        ("content-type", "application/vnd.api+json"),
    )
    assert json.loads(request.body or b"") == {
        "page": {"size": 1000, "deep": ["{literal} 0", 1.5]},
        "empty": {},
    }


@pytest.mark.parametrize(
    ("style", "pairs"),
    [("repeat", [("q", "1"), ("q", "x")]), ("comma", [("q", "1,x")]), ("json", [("q", '[1,"x"]')])],
)
def test_a_list_goes_into_the_query_as_declared(
    dialect: Callable[..., Dialect], style: str, pairs: list[tuple[str, str]]
) -> None:
    made = dialect(
        ('path = "/rows"', f'path = "/rows"\nlists = "{style}"'),
        ('skip = "{offset}"', 'skip = "{offset}"\nq = "{queues}"\nwhere = "{filter}"'),
    )
    query = made.select(queues=[1, "x"], filter={"a": [1]}).request(ASK).query
    assert [pair for pair in query if pair[0] == "q"] == pairs
    assert dict(query)["where"] == '{"a":[1]}'


def test_a_header_cannot_be_broken_out_of(dialect: Callable[..., Dialect]) -> None:
    made = dialect(("[answer]", '[request.headers]\nX-Filter = "{filter}"\n[answer]'))
    with pytest.raises(ConfigError, match="X-Filter"):
        made.select(filter="a\r\nHost: b").request(ASK)


MOMENT = datetime(2024, 3, 31, 1, 2, 3, 456_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        (Times(), "2024-03-31T01:02:03.456Z", "2024-03-31T01:02:03.456Z"),
        (Times(precision="s"), "2024-03-31T01:02:03Z", "2024-03-31T01:02:04Z"),
        (
            Times(precision="us", offset="+00:00"),
            "2024-03-31T01:02:03.456000+00:00",
            "2024-03-31T01:02:03.456000+00:00",
        ),
        (
            Times(precision="auto", offset="+0000"),
            "2024-03-31T01:02:03.456+0000",
            "2024-03-31T01:02:03.456+0000",
        ),
        (
            Times(offset="+0000", zone="America/New_York"),
            "2024-03-30T21:02:03.456-0400",
            "2024-03-30T21:02:03.456-0400",
        ),
        (Times(offset="none", zone="Europe/Berlin"), "2024-03-31T03:02:03.456", "2024-03-31T03:02:03.456"),
        (Times(format="epoch_s"), 1711846923, 1711846924),
        (Times(format="epoch_ms"), 1711846923456, 1711846923456),
        (Times(format="epoch_s", zone="Europe/Berlin"), 1711846923, 1711846924),
        (Times(format="%d.%m.%Y %H:%M"), "31.03.2024 01:02", "31.03.2024 01:03"),
        (Times(format="%Y-%m-%d"), "2024-03-31", "2024-04-01"),
        (
            Times(format="%Y%m%dT%H%M%S%z", zone="Asia/Kathmandu"),
            "20240331T064703+0545",
            "20240331T064704+0545",
        ),
    ],
)
def test_times_are_written_as_declared_and_what_cannot_be_written_moves_outwards(
    times: Times, start: str | int, end: str | int
) -> None:
    writer = TimeWriter(times)
    assert (writer.write(MOMENT, up=False), writer.write(MOMENT, up=True)) == (start, end)


def test_whole_seconds_are_written_without_a_fraction_where_precision_is_auto() -> None:
    writer = TimeWriter(Times(precision="auto"))
    assert writer.write(START, up=False) == "2024-01-01T10:00:00Z"


def test_a_request_moves_its_start_down_and_its_end_up(dialect: Callable[..., Dialect]) -> None:
    ask = Ask(start=MOMENT, end=MOMENT + timedelta(seconds=1), limit=1, offset=0, order_by=None)
    query = dialect(("[answer]", '[time]\nprecision = "s"\n[answer]')).request(ask).query
    assert query[:2] == (("from", "2024-03-31T01:02:03Z"), ("to", "2024-03-31T01:02:05Z"))


@given(
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    place=st.sampled_from(
        ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Gaza"]
    ),
    precision=st.sampled_from(["s", "ms", "us"]),
)
def test_a_local_time_that_happens_twice_is_written_so_that_either_reading_holds_the_range(
    moment: datetime, place: str, precision: Any
) -> None:
    moments = [
        moment,
        datetime(2024, 10, 27, 0, 30, 0, 999_999, tzinfo=UTC),
        datetime(2024, 4, 6, 14, 45, tzinfo=UTC),
    ]
    writer = TimeWriter(Times(offset="none", zone=place, precision=precision))
    for one in moments:
        low, high = str(writer.write(one, up=False)), str(writer.write(one, up=True))
        for fold in (0, 1):
            assert (
                datetime.fromisoformat(low).replace(tzinfo=ZoneInfo(place), fold=fold).astimezone(UTC) <= one
            )
            assert (
                datetime.fromisoformat(high).replace(tzinfo=ZoneInfo(place), fold=fold).astimezone(UTC) >= one
            )


# --- requests are written into a form


@pytest.mark.parametrize(
    "body",
    [
        {"from": "{start}", "to": "{end}", "n": "{limit}", "at": "{offset}", "by": "{order_by}"},
        {"range": "{start}..{end}", "page": ["{limit}", "{offset}"], "said": 'a "{start}", {limit}'},
        {"deep": {"list": [{"x": "{offset}"}, "{{start}}"]}, "filter": "{filter}"},
        {"filter": "{filter}", "nothing": 1},
    ],
    ids=["values", "parts of texts", "deep", "no blanks"],
)
@pytest.mark.parametrize("filter", [None, 'é \ue000start\ue000 "x"'])
def test_a_request_that_fills_a_form_is_the_one_that_is_written_anew(
    body: dict[str, Any], filter: str | None
) -> None:
    declaration = replace(INTERACTIONS.declaration, request=Asking(method="POST", path="/rows", body=body))
    writer = RequestWriter(declaration)
    selection = replace(INTERACTIONS.selection, filter=filter)
    for number in range(3):
        for order_by in (None, "time"):
            ask = replace(
                ASK,
                start=START + timedelta(milliseconds=500 * number),
                offset=number * 1000,
                limit=1000 - number,
                order_by=order_by,
            )
            anew = RequestWriter(declaration).write(ask, selection)
            assert writer.write(ask, selection) == anew
            given = {"start": written(ask.start), "end": written(ask.end), "limit": ask.limit}
            given |= {"offset": ask.offset, "order_by": order_by or selection.order_by, "filter": filter}
            expected = fill(
                compiled(body), given, lambda value: value if isinstance(value, str) else str(value)
            )
            assert json.loads(anew.body or b"") == expected


def written(moment: datetime) -> str:
    """As the interactions' API wants it: milliseconds where there are some."""
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "+0000"
    )
