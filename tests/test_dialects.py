"""Dialects: what a file may say, the requests it builds, and what becomes of any answer whatever."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.dialects import Ask, Dialect, Page, load, names, reading_of, row_reader
from harvester.dialects.request import RequestWriter
from harvester.dialects.salvage import split
from harvester.dialects.schema import Asking, Times
from harvester.dialects.spans import spans
from harvester.dialects.template import compiled, fill
from harvester.dialects.times import TimeWriter
from harvester.errors import BadPage, ConfigError, TransientError

START = datetime(2024, 1, 1, 10, tzinfo=UTC)
ASK = Ask(start=START, end=START + timedelta(hours=1), limit=1000, offset=0, order_by=None)
INTERACTIONS = load("interactions")

PLAIN = """
[request]
method = "GET"
path = "/rows"
[request.query]
from = "{start}"
to = "{end}"
limit = "{limit}"
skip = "{offset}"
[answer]
records = "rows"
[record]
key = "id"
date = "at"
"""


@pytest.fixture
def dialect(tmp_path: Path) -> Callable[..., Dialect]:
    """A dialect of PLAIN with each `old` text replaced by its `new` one."""

    def make(*changes: tuple[str, str]) -> Dialect:
        text = PLAIN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return make


def record(number: int, **more: Any) -> dict[str, Any]:
    moment = START + timedelta(milliseconds=number)
    return {
        "_id": f"{number:024x}",
        "StartedDateTimeUtc": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "RecordWrittenAtUtc": "2024-01-01T12:00:00.000Z",
        **more,
    }


def page(*items: dict[str, Any] | bytes, code: int = 0) -> bytes:
    raws = [item if isinstance(item, bytes) else msgspec.json.encode(item) for item in items]
    return b'{"resultCode":%d,"resultCodeName":"Said","data":[%b]}' % (code, b",".join(raws))


def body_of(dialect: Dialect, ask: Ask = ASK) -> Any:
    return json.loads(dialect.request(ask).body or b"null")


# --- files


def test_the_four_datasets_of_the_reporting_api_are_shipped_and_valid() -> None:
    assert names() == ("agent-workstate-events", "agent-workstate-rollup", "interactions", "messages")
    paths = {name: load(name).request(ASK).path for name in names() if name != "agent-workstate-rollup"}
    assert paths == {
        "interactions": "/reporting/api/v1/interaction/details",
        "messages": "/reporting/api/v1/report-message/details",
        "agent-workstate-events": "/reporting/api/v1/agent-workstate-events/details",
    }


def test_an_unknown_name_is_told_the_nearest_and_all_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"'interaction' is not known; did you mean interactions\? Known are agent-"
    ):
        load("interaction")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"a = ", "no TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "no TOML"),
        (b"a" + b".a" * 30_000 + b" = 1", r"more than 100 parts \(at line 1\)"),
        (b"b = 1\n['a'" + b' . "a"' * 30_000 + b"]", r"more than 100 parts \(at line 2\)"),
        (b"a" * 500_000 + b" = 1", "a key of 500,000 characters"),
        (b"# " + b"a" * (1 << 20), "more than 1,048,576 characters"),
    ],
)
def test_a_file_that_is_no_dialect_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "own.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"own.toml.*{told}"):
        load(str(path))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'records = "rows"',
            'recrods = "rows"',
            r"\[answer\]: unknown key 'recrods'; did you mean records\?",
        ),
        ("[record]", "[recorde]", r"the top of the file: unknown key 'recorde'; did you mean record\?"),
        (
            'key = "id"',
            'key = [{ path = "id", typ = "integer" }]',
            r"\[record.key\]: unknown key 'typ'; did you mean type",
        ),
        ('key = "id"\n', "", r"\[record\]: the key 'key' is missing; expected the path of a field"),
        (
            'method = "GET"\n',
            "",
            r"\[request\]: the key 'method' is missing; expected 'GET' or 'POST' or 'PUT'",
        ),
        ('method = "GET"', 'method = "FETCH"', r"FETCH.*request.method"),
        ('key = "id"', "key = 7", r"Expected .*str.*got `int` - at `\$.record.key`"),
        ('key = "id"', 'key = { path = "id", type = "float" }', r"\$.record.key.type"),
        ('key = "id"', "key = []", r"\[record\] key: expected at least one field"),
        ('key = "id"', 'key = ["id", "id"]', r"\[record\] key: names a field twice"),
        ('key = "id"', "key = 'a\"b'", r"\[record\] key 0: .*no path of a field"),
        ('key = "id"', 'key = "a..b"', r"\[record\] key 0: .*no path of a field"),
        ('key = "id"', 'key = "at.x"', r"\[record\]: 'at' cannot be a value and hold 'at.x'"),
        (
            '"{start}"',
            '"{strat}"',
            r"\[request.query\] from: '\{strat\}' names no known parameter; did you mean \{start\}",
        ),
        ('"{start}"', '"{start"', r"brace without its pair"),
        ('"{start}"', "inf", r"\[request.query\] from: inf is no number in JSON"),
        ('"{start}"', "18446744073709551616", r"\[request.query\] from: .* beyond 64 bits"),
        ('"{start}"', '"fixed"', r"\[request\]: no place for \{start\}"),
        ('skip = "{offset}"\n', "", r'\[request\]: no place for \{offset\}.*or paging = "none"'),
        ('path = "/rows"', 'path = "rows"', r"\[request\] path: expected a path from / on"),
        ('path = "/rows"', 'path = "/rows?x={start}"', r"\[request\] path: .*without \? and parameters"),
        ("[answer]", "[request.body]\na = 1\n[answer]", r"\[request\] body: a GET has none"),
        (
            "[answer]",
            '[request.headers]\nX-API-Key = "s"\n[answer]',
            r"X-API-Key: a dialect holds no secrets",
        ),
        ("[answer]", '[request.headers]\n"a b" = "s"\n[answer]', r"'a b': no name of a header"),
        ("[answer]", '[defaults]\norder_by = "id"\n[answer]', r"\[defaults\] order_by: no place for it"),
        ('skip = "{offset}"', 'skip = "{offset}"\nr = "{resolution}"', r"\[resolutions\]: missing"),
        ("[answer]", '[time]\nzone = "Europe/Berln"\n[answer]', r"\[time\]: .*Europe/Berlin"),
        (
            "[answer]",
            '[time]\nzone = "Europe/Berlin"\n[answer]',
            r"\[time\] zone: expected UTC, as offset is Z",
        ),
        ("[answer]", '[time]\nformat = "isoo"\n[answer]', r"\[time\]: 'isoo' writes no time"),
        (
            'date = "at"',
            'date = { path = "at", format = "isoo" }',
            r"\[record.date\] format: expected iso, .*got 'isoo'",
        ),
        (
            'date = "at"',
            'date = { path = "at", format = "%Y-%m-%d %Y" }',
            r"\[record.date\] format: expected iso, .*with each part once",
        ),
        ('date = "at"', 'date = { path = "at", zone = "Nowhere" }', r"\[record.date\]: .*Nowhere"),
        ('records = "rows"', 'success = { path = "ok", value = true }', r"\[answer\] records: missing"),
        (
            'records = "rows"',
            'records = "a"\nsuccess = { path = "a.b", value = 1 }',
            r"outside the list of records",
        ),
        ("[request]", 'membership = "window"\n[request]', r"\[record\]: not used where membership"),
        ("[request]", "widen_s = -1\n[request]", r"widen_s: expected 0 to 86400 seconds, got -1"),
        ("[request]", "max_page_size = 0\n[request]", r"max_page_size: expected 1 or more, got 0"),
        (PLAIN[PLAIN.index("[record]") :], "", r"\[record\]: missing; expected a table with key and date"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_file_key_and_what_was_expected(
    dialect: Callable[..., Dialect], old: str, new: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=f"mine.toml: .*{told}"):
        dialect((old, new))


def test_what_cannot_change_the_records_does_not_change_the_digest(dialect: Callable[..., Dialect]) -> None:
    digest = dialect().digest
    same = [
        dialect(("[request]", "widen_s = 5\nmax_page_size = 10\n[request]")),
        dialect(("[answer]", '[time]\nprecision = "s"\n[answer]')),
    ]
    ordered = ('skip = "{offset}"', 'skip = "{offset}"\nsort = "{order_by}"')
    sorted_one = dialect(ordered)
    sorted_other = dialect(ordered, ("[answer]", '[defaults]\norder_by = "id"\n[answer]'))
    assert sorted_one.digest == sorted_other.digest
    other = [
        dialect(('key = "id"', 'key = "uuid"')),
        dialect(('path = "/rows"', 'path = "/rows2"')),
        dialect(('records = "rows"', 'records = "items"')),
    ]
    assert {one.digest for one in same} == {digest}
    assert len({digest, *(one.digest for one in other)}) == 4
    assert INTERACTIONS.select(date_field="EndedDateTimeUtc").digest != INTERACTIONS.digest
    assert (
        INTERACTIONS.select(date_field="StartedDateTimeUtc", order_by="AgentId").digest == INTERACTIONS.digest
    )


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


# --- good pages


def test_a_good_page_becomes_rows_in_the_servers_order_doubles_included() -> None:
    items = [record(5), record(1), record(5), record(3, RecordWrittenAtUtc=None)]
    read = INTERACTIONS.read(page(*items), ASK)
    assert read.rejects == []
    assert [row[1] for row in read.rows] == [item["_id"] for item in items]
    assert [row[0] for row in read.rows] == [START + timedelta(milliseconds=n) for n in (5, 1, 5, 3)]
    assert [row[2] for row in read.rows] == ["2024-01-01T12:00:00.000Z"] * 3 + [""]
    assert [row[3] for row in read.rows] == [msgspec.json.encode(item) for item in items]
    assert all(row[0].tzinfo is UTC for row in read.rows)
    assert read.decoded_bytes == len(page(*items))


def test_an_empty_page_is_a_good_page() -> None:
    assert INTERACTIONS.read(page(), ASK).rows == []


def test_rows_sort_by_time_and_key_even_where_one_is_there_twice() -> None:
    rows = INTERACTIONS.read(page(record(2), record(1), record(2)), ASK).rows
    assert [row[1][-1] for row in sorted(rows) if isinstance(row[1], str)] == ["1", "2", "2"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(st.dictionaries(st.text(), JSON, max_size=5), max_size=5),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_every_record_keeps_its_bytes(
    records: list[dict[str, Any]], is_ascii: bool, indent: int | None
) -> None:
    full = [record(n) | {f"x{name}": value for name, value in more.items()} for n, more in enumerate(records)]
    separators = (",", ":") if indent is None else None
    texts = [json.dumps(one, ensure_ascii=is_ascii, separators=(",", ":")) for one in full]
    body = json.dumps(
        {"data": full, "resultCode": 0}, ensure_ascii=is_ascii, indent=indent, separators=separators
    )
    read = INTERACTIONS.read(body.encode(), ASK)
    assert [bytes(row[3]).decode() for row in read.rows] == texts
    assert read.rejects == []


ODD = b'{"a":1e400,"b":123456789012345678901234567890,"c":1.00,"d":-0,"e":"\\u00e9\\/\\ud83d\\ude00"'
ODD += b',"d":2,"f":{"_id":1}'


def test_what_is_odd_but_valid_passes_untouched() -> None:
    odd = ODD + b"," + msgspec.json.encode(record(1))[1:]
    for body in (page(odd, record(2)), b"\xef\xbb\xbf" + page(odd, record(2)) + b"\r\n"):
        read = INTERACTIONS.read(body, ASK)
        assert [row[3] for row in read.rows] == [odd, msgspec.json.encode(record(2))]
        assert read.rejects == []


def test_a_record_over_several_lines_becomes_one_line_with_every_token_as_it_was() -> None:
    odd = ODD + b"," + msgspec.json.encode(record(1))[1:]
    spread = odd.replace(b",", b" ,\r\n\t").replace(b":{", b" : {")
    spread = spread.replace(b'01T10:00:00.001Z"', b'01T10:00:00.001Z"\n')
    for body in (page(spread), page(spread, b"null")):
        assert [row[3] for row in INTERACTIONS.read(body, ASK).rows] == [odd]


def test_keys_may_be_nested_several_or_numbers_and_have_any_name(dialect: Callable[..., Dialect]) -> None:
    made = dialect(
        ('key = "id"', 'key = [{ path = \'a.b c.é\\.x\', type = "integer" }, "a.class", "at"]'),
        ('date = "at"', 'date = "at"\nversion = "a.v.w"'),
        ('records = "rows"', 'records = "result.list"\nsuccess = { path = "result.state.ok", value = true }'),
    )
    first = '{"a":{"b c":{"é.x":7},"class":"k","v":{"w":3}},"at":"2024-01-01T10:00:00Z"}'
    second = '{"at":"2024-01-01T10:00:00Z","a":{"class":"k","v":null,"b c":{"é.x":12345678901234567890123}}}'
    third = '{"at":"2024-01-01T10:00:00Z","a":{"class":"k","b c":{"é.x":-1}}}'
    told = '"state":{"ok":true}'
    for body in (
        f'{{"result":{{{told},"list":[{first},{second},{third}]}}}}',
        f'{{"result":{{"list":[{first},{second},{third}],{told}}},"next":null}}',
        f'{{"result":{{"list":[{first},{second},{third},9],{told}}},"next":null}}',
    ):
        rows = made.read(body.encode(), ASK).rows
        assert [row[1] for row in rows] == [
            (7, "k", "2024-01-01T10:00:00Z"),
            (12345678901234567890123, "k", "2024-01-01T10:00:00Z"),
            (-1, "k", "2024-01-01T10:00:00Z"),
        ]
        assert [row[2] for row in rows] == ["3", "", ""]


@pytest.mark.parametrize(
    ("declared", "value", "moment"),
    [
        ('"at"', '"2024-01-01T12:00:00.5+02:00"', "2024-01-01T10:00:00.500Z"),
        ('"at"', '"2024-01-01"', "2024-01-01T00:00:00Z"),
        ('{ path = "at", zone = "America/New_York" }', '"2024-01-01T10:00:00"', "2024-01-01T15:00:00Z"),
        ('{ path = "at", format = "epoch_s" }', "1704103200", "2024-01-01T10:00:00Z"),
        ('{ path = "at", format = "epoch_s" }', "1704103200.125", "2024-01-01T10:00:00.125Z"),
        ('{ path = "at", format = "epoch_ms" }', "1704103200007", "2024-01-01T10:00:00.007Z"),
        ('{ path = "at", format = "auto" }', "1704103200007", "2024-01-01T10:00:00.007Z"),
        ('{ path = "at", format = "auto" }', "1704103200", "2024-01-01T10:00:00Z"),
        ('{ path = "at", format = "auto" }', '"2024-01-01T10:00:00Z"', "2024-01-01T10:00:00Z"),
        ('{ path = "at", format = "%d.%m.%Y %H:%M" }', '"01.01.2024 10:00"', "2024-01-01T10:00:00Z"),
    ],
)
def test_dates_are_read_as_declared(
    dialect: Callable[..., Dialect], declared: str, value: str, moment: str
) -> None:
    rows = (
        dialect(('date = "at"', f"date = {declared}"))
        .read(b'{"rows":[{"id":"a","at":%b}]}' % value.encode(), ASK)
        .rows
    )
    assert [row[0] for row in rows] == [datetime.fromisoformat(moment)]


def test_the_answer_itself_may_be_the_list(dialect: Callable[..., Dialect]) -> None:
    made = dialect(('records = "rows"', ""))
    for body in (b'[{"id":"a","at":"2024-01-01"}]', b' [ {"id":"a","at":"2024-01-01"} , 7 ] '):
        assert [row[1] for row in made.read(body, ASK).rows] == ["a"]
    with pytest.raises(BadPage, match="the answer is an object, not a list"):
        made.read(b'{"rows":[]}', ASK)


# --- pages that are none


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"<!doctype html><html>Bad gateway</html>", "an HTML or XML page"),
        (b"\n<?xml version='1.0'?>", "an HTML or XML page"),
        (b"upstream connect error", "no JSON"),
        (b"\xff\xfe{\x00}\x00", "no JSON"),
        (b"\x1f\x8b\x08\x00", "no JSON"),
        (page(record(1))[:-1], "cut short"),
        (page(record(1), b"null")[:-1], "cut short"),
        (page(record(1)) + b"x", "no JSON"),
        (page(record(1)) + page(record(2)), "no JSON"),
        (page(record(1), code=5), r"resultCode 5 \(Said\), where 0 is success"),
        (page(b"null", code=5), r"resultCode 5 \(Said\), where 0 is success"),
        (page().replace(b'"resultCode":0', b'"resultCode":false'), "resultCode false"),
        (page().replace(b'"resultCode":0', b'"resultCode":"0"'), "resultCode 0"),
        (page().replace(b'"resultCode":0', b'"resultCode":null'), "resultCode null"),
        (page().replace(b'"resultCode":0,', b""), "resultCode nothing"),
        (b'{"resultCode":0,"data":null}', "data is null, not a list"),
        (b'{"resultCode":0,"data":{"a":[]}}', "data is an object, not a list"),
        (b'{"resultCode":0,"data":"[]"}', "data is text, not a list"),
        (b'{"resultCode":0}', "the answer has no data"),
        (b"null", "resultCode nothing"),
        (b"[]", "resultCode nothing"),
        (page(record(1), b"", record(2)), "an empty place"),
        (page(record(1), b""), "an empty place"),
        (b'{"resultCode":0,"data":[{"a":1]}', "closes nothing"),
        (b'{"resultCode":0,"data":[}]}', "closes nothing"),
        (b'{"resultCode":0,"data":[{"a":"b]}', "has no end"),
        (b'{"resultCode":NaN,"data":[]}', "no JSON"),
        (b'{"resultCode":0,"data":[],"data":[{"a":1}]}', "data is there twice"),
        (b'{"resultCode":0,"data":[],"data":[]}', "data is there twice"),
        (b'{"resultCode":0,"data":[],"d\\u0061ta":[]}', "data is there twice"),
        (b'{"resultCode":5,"resultCode":0,"data":[]}', "resultCode is there twice"),
        (b'{"resultCode":0,"resultCode":0,"data":[]}', "resultCode is there twice"),
        (page(record(1)).replace(b"{", b'{"resultCode":5,', 1), "resultCode is there twice"),
        (page(record(1))[:-1] + b',"resultCode":0}', "resultCode is there twice"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"resultCode":0,"data":[]}', "no JSON"),
    ],
)
def test_what_is_no_good_page_as_a_whole_is_worth_another_try_and_says_why(body: bytes, told: str) -> None:
    with pytest.raises(BadPage, match=told) as caught:
        INTERACTIONS.read(body, ASK)
    assert isinstance(caught.value, TransientError)


def test_a_failure_is_told_in_short_and_without_control_characters() -> None:
    body = b'{"resultCode":5,"resultCodeName":"%b","data":null}' % (b"Too\\nlong \\u001b[31m" * 100)
    with pytest.raises(BadPage) as caught:
        INTERACTIONS.read(body, ASK)
    assert len(str(caught.value)) < 200
    assert "Too long" in str(caught.value)
    assert "…" in str(caught.value)
    assert str(caught.value).isprintable()


def test_no_records_are_lost_where_the_list_is_there_twice() -> None:
    whole = page(record(1), record(2))
    more = b'"data":[%b]' % msgspec.json.encode(record(3))
    for body in (whole[:-1] + b"," + more + b"}", whole[:-1] + b',"data":[]}', b'{"data":[],' + whole[1:]):
        with pytest.raises(BadPage, match="data is there twice"):
            INTERACTIONS.read(body, ASK)
    with pytest.raises(BadPage, match="data is there twice"):
        ROLLUP.read(page(b'{"a":1}')[:-1] + b"," + more + b"}", ASK)


def test_what_else_an_envelope_holds_may_be_called_as_it_likes() -> None:
    whole = page({**record(1), "data": [{"data": [], "resultCode": 1}]})
    for more in (b'"more":{"data":[],"resultCode":7}', b'"said":"\\"data\\":[]"', b'"a":1,"a":2'):
        assert len(INTERACTIONS.read(whole[:-1] + b"," + more + b"}", ASK).rows) == 1


@pytest.mark.parametrize("last", [record(2), b'{"a":NaN}', b'"x"', b'{"a":"\\ud800"}'])
def test_a_page_cut_anywhere_is_never_taken_for_a_whole_one(last: Any) -> None:
    whole = page(record(1, name='a "quoted" },{ [name] \u2028'), last)
    assert len(INTERACTIONS.read(whole, ASK).rows) >= 1
    for end in range(len(whole)):
        with pytest.raises(BadPage):
            INTERACTIONS.read(whole[:end], ASK)


# --- items that are no records

KEY = b'"_id":"a"'
DATE = b'"StartedDateTimeUtc":"2024-01-01T10:00:00Z"'
BOTH = KEY + b"," + DATE


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"null", "object"),
        (b"7", "object"),
        (b'"},{"', "object"),
        (b"[{}]", "object"),
        (b"{}", "_id"),
        (b"{" + DATE + b"}", "_id"),
        (b"{" + KEY + b"}", "StartedDateTimeUtc"),
        (b'{"_id":7,' + DATE + b"}", "_id is a number, not text"),
        (b'{"_id":null,' + DATE + b"}", "_id is null, not text"),
        (b'{"_id":"",' + DATE + b"}", "_id is empty"),
        (b"{" + KEY + b',"StartedDateTimeUtc":null}', "StartedDateTimeUtc is null, not text"),
        (b"{" + KEY + b',"StartedDateTimeUtc":1704103200}', "StartedDateTimeUtc is a number, not text"),
        (b"{" + KEY + b',"StartedDateTimeUtc":"yesterday"}', "StartedDateTimeUtc is no ISO 8601 time"),
        (b"{" + KEY + b',"StartedDateTimeUtc":"0001-01-01T00:00:00+23:00"}', "out of range"),
        (b"{" + BOTH + b',"RecordWrittenAtUtc":[1]}', "version is a list"),
        (b"{" + BOTH + b',"RecordWrittenAtUtc":true}', "version is true or false"),
        (b"{" + BOTH + b',"RecordWrittenAtUtc":1e400}', "RecordWrittenAtUtc"),
        (b"{" + BOTH + b',"_id":"b"}', "twice"),
        (b"{" + BOTH + b',"_id":"a"}', "twice"),
        (b"{" + BOTH + b',"\\u005fid":"b"}', "twice"),
        (b"{" + BOTH + b',"StartedDateTimeUtc":"2024-01-01T10:00:01Z"}', "twice"),
        (b"{" + BOTH + b',"RecordWrittenAtUtc":"a","RecordWrittenAtUtc":"b"}', "twice"),
        (b"{" + BOTH + b',"a":NaN}', "NaN is no number"),
        (b"{" + BOTH + b',"a":-Infinity}', "-Infinity is no number"),
        (b"{" + BOTH + b',"a":01}', "no JSON"),
        (b"{" + BOTH + b',"a":1,}', "no JSON"),
        (b"{" + BOTH + b',"a":"x\ny"}', "no JSON: Invalid control character"),
        (b"{" + BOTH + b',"a":"\\x"}', "no JSON: Invalid"),
        (b"{" + BOTH + b',"a":"\\ud800"}', "half of a surrogate pair"),
        (b'{"_id":"\\udfff",' + DATE + b"}", "half of a surrogate pair"),
        (b"{" + BOTH + b',"a":"\xff"}', "no UTF-8"),
        (b"{" + BOTH + b',"\xc3\x28":1}', "no UTF-8"),
        (b'{"_id":"\xed\xa0\x80",' + DATE + b"}", "no UTF-8"),
        (b"{" + BOTH + b',"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        (b"{" + BOTH + b',"a":[NaN,' + b"[" * 50_000 + b"]" * 50_001 + b"}", "no JSON"),
        (b"{" + BOTH + b"} {}", "no JSON"),
        (b"nonsense", "no JSON"),
    ],
)
@pytest.mark.parametrize("name", ["plain", "\u00e9\u2028"])
def test_an_item_that_is_no_record_goes_into_quarantine_alone(item: bytes, reason: str, name: str) -> None:
    around = [record(1, name=name), record(2, name='},{"'), record(3)]
    read = INTERACTIONS.read(page(around[0], item, *around[1:]), ASK)
    assert [row[3] for row in read.rows] == [msgspec.json.encode(one) for one in around]
    assert [reject.raw for reject in read.rejects] == [item]
    assert reason in read.rejects[0].reason


def test_bytes_around_the_records_that_are_no_text_cost_no_record() -> None:
    body = page(record(1), b"7").replace(b"Said", b"Sa\xffd")
    read = INTERACTIONS.read(body, ASK)
    assert (len(read.rows), len(read.rejects)) == (1, 1)
    assert len(INTERACTIONS.read(page(record(1)).replace(b"Said", b"Sa\xffd"), ASK).rows) == 1


def test_a_page_of_rejects_only_is_still_a_page() -> None:
    read = INTERACTIONS.read(page(b"1", b"null"), ASK)
    assert (len(read.rows), len(read.rejects)) == (0, 2)


def test_a_reason_tells_no_value() -> None:
    secret = b'{"_id":["SECRET"],"StartedDateTimeUtc":"SECRET","a":SECRET}'
    (reject,) = INTERACTIONS.read(page(secret), ASK).rejects
    assert "SECRET" not in reject.reason


@given(st.data())
def test_whatever_stands_between_two_brackets_costs_nobody_else(data: st.DataObject) -> None:
    junk = data.draw(st.text(st.characters(exclude_characters='"{}[]\\'), max_size=40))
    items = [record(n) for n in range(data.draw(st.integers(1, 5)))]
    place = data.draw(st.integers(0, len(items)))
    junked = b"{" + junk.encode() + b"}"
    sent: list[Any] = [*items[:place], junked, *items[place:]]
    read = INTERACTIONS.read(page(*sent), ASK)
    assert [row[3] for row in read.rows] == [msgspec.json.encode(item) for item in items]
    assert [reject.raw for reject in read.rejects] == [junked]


ENVELOPES = (
    b'{"data":[%b],"resultCode":0}',
    b' {"x":[{"data":[1]},"data"],"\\u0064ata" : [ %b ] ,"resultCode":0}',
)


@given(st.lists(JSON, max_size=6), st.sampled_from(ENVELOPES), st.booleans())
def test_the_careful_way_takes_a_page_apart_as_a_parser_does(
    items: list[Any], envelope: bytes, is_ascii: bool
) -> None:
    raws = [json.dumps(item, ensure_ascii=is_ascii).encode() for item in items]
    body = envelope % b" , ".join(raws)
    assert split(body, ("data",), 1000) == (raws, envelope.replace(b" %b ", b"").replace(b"%b", b""))


@settings(max_examples=150)
@given(st.data())
def test_no_damage_raises_anything_but_bad_page(data: st.DataObject) -> None:
    whole = page(*(record(n, name=name) for n, name in enumerate(['"},{"', "\u00e9\U0001f600", "\\"])))
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 12))
        body[at : at + cut] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    try:
        read = INTERACTIONS.read(bytes(body), ASK)
    except BadPage:
        return
    assert isinstance(read, Page)
    for row in read.rows:
        assert b"\n" not in bytes(row[3])
        assert INTERACTIONS.row(bytes(row[3])) == row
        assert json.loads(bytes(row[3]))["_id"] == row[1]


PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"null",
    b"NaN",
    b"\n",
    b"\xff",
    b"\x00",
    b"",
]
PIECES += [
    b"[" * 2000,
    b'{"a":' * 2000,
    b'"_id":"b",',
    b'"data":[',
    b"1e400",
    b"9" * 5000,
    b"\xef\xbb\xbf",
    b"//",
]


@pytest.mark.parametrize(
    "piece",
    [
        b"[",
        b"{",
        b'{"a":',
        b"[],",
        b'"',
        b'\\"',
        b'"\\',
        b'"a",',
        b"NaN,",
        b"9",
        b",",
        b" ",
        b"\\",
        b'"a":',
        b"}",
        b'{"data":',
    ],
)
@pytest.mark.parametrize(
    "frame", [b'{"resultCode":0,"data":[%b', b'{"resultCode":0,"data":[{"a":%b}]}', b"%b", b'{"%b']
)
def test_three_hostile_megabytes_are_judged_in_a_bounded_time(piece: bytes, frame: bytes) -> None:
    """At 300 kB here: what is quadratic takes minutes, what is linear a tenth of a second."""
    body = frame % (piece * (300_000 // len(piece)))
    began = time.perf_counter()
    try:
        INTERACTIONS.read(body, ASK)
    except BadPage:
        pass
    assert time.perf_counter() - began < 10.0


# --- aggregates, which belong to their window

ROLLUP = load("agent-workstate-rollup").select(resolution="Hour", time_zone="Europe/Berlin")
MARK = b'"_window_start":"2024-01-01T10:00:00.000Z","_window_end":"2024-01-01T11:00:00.000Z"}'


def test_a_rollup_is_asked_for_exactly_and_in_its_own_spelling() -> None:
    assert (ROLLUP.paging, ROLLUP.membership, ROLLUP.widen_s) == ("none", "window", 0.0)
    assert (INTERACTIONS.paging, INTERACTIONS.membership, INTERACTIONS.widen_s) == ("offset", "date", 1.0)
    assert body_of(ROLLUP.select(queues=[1], resolution="Day", time_zone="Europe/Berlin")) == {
        "startDateTime": "2024-01-01T10:00:00Z",
        "endDateTime": "2024-01-01T11:00:00Z",
        "relativeTimezone": "Europe/Berlin",
        "resolution": 2,
        "queues": [1],
    }
    late = Ask(start=START, end=START + timedelta(milliseconds=1500), limit=1, offset=0, order_by=None)
    with pytest.raises(ConfigError, match="too coarse"):
        ROLLUP.request(late)


def test_an_aggregate_gets_its_window_as_its_last_members_and_nothing_else() -> None:
    items = [b'{"AgentId":7,"States":[{"s":1.50}]}', b'{"a":1 }', b"{ }", b"{}", b'{"a":1}']
    read = ROLLUP.read(page(*items), ASK)
    assert [row[3] for row in read.rows] == [
        b'{"AgentId":7,"States":[{"s":1.50}],' + MARK,
        b'{"a":1 ,' + MARK,
        b"{ " + MARK,
        b"{" + MARK,
        b'{"a":1,' + MARK,
    ]
    assert [(row[0], row[1], row[2]) for row in read.rows] == [(START, item.decode(), "") for item in items]
    for row in read.rows:
        assert ROLLUP.row(bytes(row[3])) == row
        assert list(json.loads(bytes(row[3])))[-2:] == ["_window_start", "_window_end"]


def test_equal_aggregates_of_one_window_have_one_key() -> None:
    rows = ROLLUP.read(page(b'{"a":1}', b'{"a":1}', b'{\n"a":1}'), ASK).rows
    assert len({row[1] for row in rows}) == 1


@pytest.mark.parametrize("item", [b"7", b"[]", b'"{}"', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}'])
def test_an_aggregate_that_is_none_goes_into_quarantine(item: bytes) -> None:
    read = ROLLUP.read(page(b'{"a":1}', item), ASK)
    assert [row[1] for row in read.rows] == ['{"a":1}']
    assert [reject.raw for reject in read.rejects] == [item]


@pytest.mark.parametrize("line", [b"", b"{}", b'{"a":1}', b'{"a":NaN,' + MARK, b'{"a":1,' + MARK + b"x"])
def test_a_line_without_its_window_is_no_aggregate(line: bytes) -> None:
    with pytest.raises(ValueError):
        ROLLUP.row(line)


# --- stored lines and versions


def test_a_stored_line_gives_the_row_that_it_was() -> None:
    rows = INTERACTIONS.read(page(record(1, name="\u00e9"), record(2, RecordWrittenAtUtc=7)), ASK).rows
    reader = row_reader(json.loads(json.dumps(reading_of(INTERACTIONS))))
    for row in rows:
        assert INTERACTIONS.row(bytes(row[3])) == row
        assert reader(bytes(row[3])) == row
    rollup = ROLLUP.read(page(b'{"a":1}'), ASK).rows[0]
    assert row_reader(json.loads(json.dumps(reading_of(ROLLUP))))(bytes(rollup[3])) == rollup


@pytest.mark.parametrize("line", [b"", b"{}", b"null", b'{"_id":"a"', b"\xff", b"[" * 50_000])
def test_a_damaged_line_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        INTERACTIONS.row(line)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"membership": "date"},
        {"membership": "date", "record": None},
        {"membership": "date", "record": {"key": 1}},
    ],
)
def test_an_output_that_does_not_tell_how_to_read_it_is_a_value_error(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        row_reader(told)


OLD_TO_NEW = [
    "",
    "0001-01-01T00:00:00+23:00",  # before the calendar begins: text
    "alpha",
    "beta",
    "-1",
    "9",
    "10.5",
    "11",
    "1e3",
    "123456789012345678901234567890",
    "123456789012345678901234567891",
    "0001-01-01T01:00:00Z",
    "2024-01-01T00:00:00.500Z",
    "2024-01-01T02:00:00+01:00",
    "2024-01-01T01:00:00.001Z",
]


def test_versions_are_ordered_as_times_as_numbers_or_as_text() -> None:
    for i, older in enumerate(OLD_TO_NEW):
        for newer in OLD_TO_NEW[i + 1 :]:
            assert INTERACTIONS.version_is_newer(newer, older), (newer, older)
            assert not INTERACTIONS.version_is_newer(older, newer), (older, newer)


@pytest.mark.parametrize(
    ("one", "same"),
    [("a", "a"), ("1", "1.0"), ("2024-01-01T00:00:00Z", "2024-01-01T01:00:00.000+01:00"), ("", "")],
)
def test_of_two_equal_versions_neither_is_newer(one: str, same: str) -> None:
    assert not INTERACTIONS.version_is_newer(one, same)
    assert not INTERACTIONS.version_is_newer(same, one)


@given(
    st.lists(
        st.text() | st.integers().map(str) | st.floats().map(str) | st.datetimes().map(str),
        min_size=3,
        max_size=3,
    )
)
def test_any_versions_have_one_order(versions: list[str]) -> None:
    newer = INTERACTIONS.version_is_newer
    a, b, c = random.Random(0).sample(versions, 3)
    assert not (newer(a, b) and newer(b, a))
    assert not (newer(a, b) and newer(b, c)) or newer(a, c)


# --- where records stand


class _Listed(msgspec.Struct):
    data: list[msgspec.Raw]


NASTY = st.text(alphabet='{}[],:" \\_iday', max_size=12) | st.sampled_from(
    ['"},{"_id":', '},{"_id":', '"data":[{"_id":"', "}]", "{", '[{"', "]}"]
)
VALUES = st.recursive(
    NASTY | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["_id", "data", "a"]), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["_id", "data", "a", "b"]), VALUES, min_size=1)


@given(
    st.lists(OBJECTS, max_size=5),
    st.dictionaries(st.sampled_from(["_id", "a", "z"]), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(["_id2", "b", "y"]), VALUES, max_size=2),
    st.sampled_from([None, 0]),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
@settings(max_examples=150)
def test_records_are_found_where_a_parser_finds_them_or_not_at_all(
    records: list[dict[str, Any]],
    before: dict[str, Any],
    behind: dict[str, Any],
    indent: int | None,
    separators: tuple[str, str],
) -> None:
    page = {**before, "data": records, **behind}
    body = json.dumps(page, indent=indent, separators=separators).encode()
    expected = [bytes(raw) for raw in msgspec.json.decode(body, type=_Listed).data]
    found = spans(body, "data", "_id", len(expected))
    assert found is None or found == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"_id":"a","n":1},{"_id":"b","t":"},{ \\"_id\\":"},{"_id":"c"}]}',
        b'{"code":0,"data":[{"_id":"a","n":{"x":[{"y":1}]}},{"_id":"b"},{"_id":"c"}],"meta":{"z":[{}]}}',
    ],
    ids=["flat, with braces in a text", "objects in a record and behind the list"],
)
def test_records_of_usual_pages_are_found_without_parsing_them_again(body: bytes) -> None:
    expected = [bytes(raw) for raw in msgspec.json.decode(body, type=_Listed).data]
    assert spans(body, "data", "_id", 3) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"_id":"a","n":[{"x":1},{"_id":"b"}]},{"b":1,"_id":"b"}]}',
        b'{"others":[{"_id":"a"}],"data":[{"_id":"b"}]}',
        b'{"data":[{"_id":"a"},{"_id":"b"}],"data":[{"_id":"c"}]}',
        b'{"x":{"data":[{"_id":"a"}]},"data":[{"_id":"b"}]}',
        b'{"data":[{"_id":"a"}, {"_id":"b"}]}',
        b'{"data":[{"_id":"a","t":"}]"}]}',
    ],
    ids=["a list of objects in a record", "another list", "twice", "deeper", "a blank", "the end in a text"],
)
def test_records_that_only_a_parser_can_tell_apart_are_left_to_it(body: bytes) -> None:
    count = len(msgspec.json.decode(body, type=_Listed).data)
    assert spans(body, "data", "_id", count) is None


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
