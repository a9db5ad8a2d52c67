"""Items that are no records go into quarantine alone, and no damage costs more."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.dialects import Page
from harvester.dialects.salvage import split
from harvester.errors import BadPage
from tests.interactions import ASK, INTERACTIONS, JSON, page, record

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
    unread = ("no JSON", "is no number", "no UTF-8", "surrogate", "nested")
    assert read.rejects[0].is_damaged == any(word in reason for word in unread)
    assert read.unfit == (None if read.rejects[0].is_damaged else read.rejects[0])


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
