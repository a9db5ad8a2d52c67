"""Where records stand in the bytes of a page."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.dialects.spans import spans


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


@pytest.mark.parametrize(("size", "kind"), [(100, bytes), (600, memoryview)])
def test_of_a_large_page_records_are_views(size: int, kind: type) -> None:
    records = [b'{"_id":"%d","t":"%b"}' % (number, size * b"x") for number in range(1000)]
    body = b'{"data":[%b]}' % b",".join(records)
    found = spans(body, "data", "_id", 1000)
    assert found == records
    assert set(map(type, found or [])) == {kind}
