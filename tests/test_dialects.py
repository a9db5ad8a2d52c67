"""Dialects: what a file may say, and what is read from stored lines and versions."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dialects import Dialect, load, names, reading_of, row_reader
from harvester.errors import ConfigError
from tests.interactions import ASK, INTERACTIONS, ROLLUP, page, record
from tests.plain_dialect import PLAIN

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
        *(
            (
                "[answer]",
                f'[request.headers]\n{name} = "x"\n[answer]',
                rf"\[request.headers\] {name}: says how",
            )
            for name in ("Host", "host", "Content-Length", "Transfer-Encoding", "Expect")
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
