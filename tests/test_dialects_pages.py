"""What becomes of an answer: a good page, or none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dialects import Ask, Dialect
from harvester.errors import BadPage, ConfigError, TransientError
from tests.interactions import ASK, INTERACTIONS, JSON, ROLLUP, START, body_of, page, record

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


# --- aggregates, which belong to their window

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


def test_a_line_that_a_table_gave_back_is_an_aggregate_too() -> None:
    """Its members stand in the order of the columns, and none of them is the last."""
    line = b'{"_window_end":"2024-01-01T11:00:00Z","_window_start":"2024-01-01T10:00:00Z","a":1,"b":null}'
    assert ROLLUP.row(line) == (START, '{"a":1,"b":null}', "", line)
    with pytest.raises(ValueError, match="_window_end"):
        ROLLUP.row(b'{"_window_start":"2024-01-01T10:00:00Z","a":1}')
    with pytest.raises(ValueError, match="time zone"):
        ROLLUP.row(line.replace(b"10:00:00Z", b"10:00:00"))
