"""A GET API that we did not write needs a TOML file and nothing else: datasette over real observations."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest

from harvester.dialects import Ask, Dialect, Row, load
from harvester.errors import BadPage
from tests.thirdparty import DIALECT, ThirdParty

YEAR = (datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC))
WEATHER = load(DIALECT)


def answer(base_url: str, dialect: Dialect, ask: Ask) -> bytes:
    request = dialect.request(ask)
    url = f"{base_url}{request.path}?{urlencode(request.query)}"
    with urlopen(
        HttpRequest(url, request.body, dict(request.headers), method=request.method), timeout=30
    ) as got:
        return bytes(got.read())


def walked(base_url: str, dialect: Dialect, start: datetime, end: datetime, limit: int) -> Iterator[Row]:
    """The rows of start <= t < end, asked for as wide as the dialect says and page by page until one is
    empty."""
    wider = timedelta(seconds=dialect.widen_s)
    offset = 0
    while True:
        ask = Ask(start=start - wider, end=end + wider, limit=limit, offset=offset, order_by=None)
        page = dialect.read(answer(base_url, dialect, ask), ask)
        assert page.rejects == []
        if not page.rows:
            return
        yield from (row for row in page.rows if start <= row[0] < end)
        offset += len(page.rows)


def test_walking_its_pages_gives_every_row_of_a_table_once(weather: ThirdParty) -> None:
    rows = list(walked(weather.base_url, WEATHER, *YEAR, limit=1000))
    told = [(row[1], row[0].strftime("%Y-%m-%dT%H:%M:%SZ")) for row in rows]
    assert told == weather.records()
    assert len(told) == 26_115


def test_days_join_without_a_gap_and_without_an_overlap(weather: ThirdParty) -> None:
    """Three airports share every hour, midnight included."""
    edges = [datetime(2013, 3, 1, tzinfo=UTC) + timedelta(days=n) for n in range(11)]
    found = Counter(
        row[1]
        for start, end in pairwise(edges)
        for row in walked(weather.base_url, WEATHER, start, end, limit=50)
    )
    inside = [
        key for key, hour in weather.records() if "2013-03-01T00:00:00Z" <= hour < "2013-03-11T00:00:00Z"
    ]
    assert found == Counter(inside)


def test_chosen_fields_come_with_the_needed_ones(weather: ThirdParty) -> None:
    selected = WEATHER.select(fields=["origin", "temp"], resolution="Day")
    row = next(walked(weather.base_url, selected, *YEAR, limit=1))
    assert row[3] == b'{"origin": "EWR", "temp": "39.02", "id": 1, "time_hour": "2013-01-01T06:00:00Z"}'
    assert row[:3] == (datetime(2013, 1, 1, 6, tzinfo=UTC), 1, "")


def test_its_error_pages_are_no_good_pages(weather: ThirdParty) -> None:
    """They come with a status that the transport judges; the dialect would not take them for pages either."""
    ask = Ask(start=YEAR[0], end=YEAR[1], limit=10, offset=0, order_by="no_such_column")
    with pytest.raises(HTTPError) as caught:
        answer(weather.base_url, WEATHER, ask)
    with caught.value as error, pytest.raises(BadPage, match=r"truncated nothing \(Cannot sort table"):
        WEATHER.read(error.read(), ask)
