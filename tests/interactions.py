"""Records of the interactions, pages of them, and what asks for them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from harvester.dialects import Ask, Dialect, load

START = datetime(2024, 1, 1, 10, tzinfo=UTC)
ASK = Ask(start=START, end=START + timedelta(hours=1), limit=1000, offset=0, order_by=None)
INTERACTIONS = load("interactions")
ROLLUP = load("agent-workstate-rollup").select(resolution="Hour", time_zone="Europe/Berlin")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


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
