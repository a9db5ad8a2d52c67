"""Each fault, seen by a client that repairs nothing."""

import contextlib
import email.utils
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from harvester.testing import Settings, Simulator, running
from harvester.testing.limits import Bucket
from tests.raw_client import DAY, ask, bytes_on_the_wire, call

HOUR: dict[str, Any] = {"StartDateTime": "2024-01-03T15:00:00Z", "EndDateTime": "2024-01-03T15:59:59.999Z"}


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with running(Settings(records=2000)) as simulator:
        yield simulator


@pytest.fixture
def simulator(server: Simulator) -> Iterator[Simulator]:
    """A server without faults and with statistics anew; tests set the faults they look at."""
    call(server, "POST", "/_simulator/reset")
    yield server
    server.set_faults([])
    server.set_token(server.settings.token)


def plain(simulator: Simulator, **body: Any) -> list[Any]:
    """What a server without faults answers."""
    faults = [dict(name_and_options(fault)) for fault in simulator.schedule.faults]
    simulator.set_faults([])
    try:
        return ask(simulator, **body).records
    finally:
        simulator.set_faults(faults)


def name_and_options(fault: Any) -> Iterator[tuple[str, Any]]:
    yield fault.name, fault.value
    yield from fault.options.items()


# Answers that are no page.


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ({"status": 503}, 503, None),
        ({"status": 429, "retry_after": 2}, 429, "2"),
        ({"status": 500, "content": "html"}, 500, None),
        ({"status": 502, "content": "empty"}, 502, None),
        ({"status": 504}, 504, None),
        ({"status": 408, "retry_after": 1e9}, 408, "1000000000.0"),
        ({"status": 429, "retry_after": "soon"}, 429, "soon"),
        ({"forbid": True}, 403, None),
        ({"redirect": "http://elsewhere.test/"}, 302, None),
        ({"redirect": "/", "code": 307}, 307, None),
        ({"limit_refused": 500}, 400, None),
        ({"offset_refused": 0}, 400, None),
        ({"window_refused_s": 3600}, 400, None),
        ({"window_refused_s": 3600, "code": 504}, 504, None),
        ({"rows_refused": 10}, 504, None),
        ({"filter": "refused"}, 400, None),
    ],
)
def test_refusals(simulator: Simulator, fault: dict[str, Any], status: int, retry_after: str | None) -> None:
    simulator.set_faults([fault])
    reply = ask(simulator, Limit=501, Filter={"AgentId": {"$gt": 0}})
    assert (reply.status, reply.headers.get("retry-after")) == (status, retry_after)
    if fault.get("content") == "html":
        assert b"<html>" in reply.body
    if fault.get("content") == "empty":
        assert reply.body == b""
    if "redirect" in fault:
        assert reply.headers["location"] == fault["redirect"]


def test_refusals_by_size_let_smaller_asks_pass(simulator: Simulator) -> None:
    simulator.set_faults(
        [{"limit_refused": 500}, {"offset_refused": 100}, {"window_refused_s": 3600}, {"rows_refused": 100}]
    )
    assert ask(simulator, **HOUR, Limit=500, Offset=99).status == 200


def test_retry_after_as_a_date_goes_by_the_servers_skewed_clock(simulator: Simulator) -> None:
    simulator.set_faults([{"status": 503, "retry_after": 30, "retry_as": "date"}, {"skew_s": 7200}])
    headers = ask(simulator).headers
    date, after = (email.utils.parsedate_to_datetime(headers[name]) for name in ("date", "retry-after"))
    assert 29 <= (after - date).total_seconds() <= 31
    assert 7100 < date.timestamp() - time.time() < 7300


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "simulator-token"}, 200),
        ({"Authorization": "apikey simulator-token"}, 200),
        ({"Authorization": "APIKEY simulator-token"}, 200),
        ({"Authorization": "Bearer simulator-token"}, 401),
        ({"Authorization": "simulator-token"}, 401),
        ({"x-api-key": "another"}, 401),
        ({"Accept": "*/*"}, 401),
    ],
)
def test_both_ways_of_authentication_and_no_other(
    simulator: Simulator, headers: dict[str, str], status: int
) -> None:
    assert ask(simulator, headers=headers).status == status


def test_a_token_expires_after_so_many_requests_until_it_is_changed(simulator: Simulator) -> None:
    simulator.set_faults([{"expire_token": 2}])
    assert [ask(simulator).status for _ in range(4)] == [200, 200, 401, 401]
    call(simulator, "POST", "/_simulator/token", {"token": "fresh"})
    assert ask(simulator).status == 200
    assert ask(simulator, headers={"x-api-key": "simulator-token"}).status == 401


# Limits.


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = Bucket(rate=10, burst=3)
    assert [bucket.admits(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.admits(100.15), bucket.admits(100.16)] == [True, False]
    assert [bucket.admits(200.0) for _ in range(4)] == [True, True, True, False]


def test_a_penalty_lengthens_the_pause_for_those_who_knock() -> None:
    patient, knocking = Bucket(rate=1, burst=1, penalty_s=1), Bucket(rate=1, burst=1, penalty_s=1)
    assert patient.admits(0)
    assert knocking.admits(0)
    assert not knocking.admits(0.5)
    assert patient.admits(1.0)
    assert not knocking.admits(1.0)


@pytest.mark.parametrize("style", ["none", "seconds", "epoch", "draft"])
def test_a_rate_limit_is_announced_as_told(simulator: Simulator, style: str) -> None:
    simulator.set_faults([{"rate": 1, "burst": 2, "retry_after": 1, "headers": style}])
    replies = [ask(simulator, Limit=1) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    headers = replies[-1].headers
    assert headers["retry-after"] == "1"
    if style == "none":
        assert not any("ratelimit" in name for name in headers)
    elif style == "draft":
        assert headers["ratelimit"] == '"default";r=0;t=1'
    else:
        reset = int(headers["x-ratelimit-reset"]) - (time.time() if style == "epoch" else 0)
        assert 0 <= reset <= 2
        assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("2", "0")
    assert simulator.stats.report()["throttled_share"] == pytest.approx(1 / 3)


def test_requests_in_flight_are_limited_and_counted(simulator: Simulator) -> None:
    simulator.set_faults([{"in_flight": 2}, {"latency_ms": 1000}])
    with ThreadPoolExecutor(5) as pool:
        first = [pool.submit(ask, simulator, Limit=1) for _ in range(2)]
        while simulator.stats.in_flight < 2:
            assert not any(one.done() for one in first)
            time.sleep(0.005)
        statuses = Counter(pool.map(lambda _: ask(simulator, Limit=1).status, range(3)))
    assert statuses == {503: 3}
    assert [one.result().status for one in first] == [200, 200]
    assert simulator.stats.max_in_flight >= 3


@pytest.mark.parametrize(
    ("fault", "offset", "least_s"),
    [
        ({"latency_ms": 60}, 0, 0.06),
        ({"slow_offset_ms": 600}, 100, 0.06),
        ({"slow_offset_ms": 90_000}, 0, 0.0),
    ],
)
def test_latency(simulator: Simulator, fault: dict[str, Any], offset: int, least_s: float) -> None:
    simulator.set_faults([fault])
    began = time.monotonic()
    ask(simulator, Limit=1, Offset=offset)
    assert least_s <= time.monotonic() - began < least_s + 30


# The wire.


def test_a_body_cut_with_its_length_announced(simulator: Simulator) -> None:
    simulator.set_faults([{"cut": "length"}])
    head, _, body = bytes_on_the_wire(simulator, Limit=5).partition(b"\r\n\r\n")
    announced = int(head.partition(b"Content-Length: ")[2])
    assert len(body) == announced // 2


def test_a_body_cut_without_a_length(simulator: Simulator) -> None:
    simulator.set_faults([{"cut": "close"}])
    head, _, body = bytes_on_the_wire(simulator, Limit=5).partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert body.startswith(b'{"resultCode"')
    assert not body.endswith(b"]}")


def test_a_body_cut_inside_a_chunk(simulator: Simulator) -> None:
    simulator.set_faults([{"cut": "chunked"}])
    head, _, body = bytes_on_the_wire(simulator, Limit=5).partition(b"\r\n\r\n")
    size, _, chunk = body.partition(b"\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert 0 < len(chunk) < int(size, 16)


def test_a_gzip_stream_cut_but_of_the_announced_length(simulator: Simulator) -> None:
    simulator.set_faults([{"cut": "gzip"}])
    reply = ask(simulator, Limit=5)
    assert reply.headers["content-encoding"] == "gzip"
    assert int(reply.headers["content-length"]) == len(reply.body)
    with pytest.raises(EOFError):
        gzip.decompress(reply.body)


@pytest.mark.parametrize("when", ["before", "midway"])
def test_a_reset(simulator: Simulator, when: str) -> None:
    simulator.set_faults([{"reset": when}])
    with pytest.raises(ConnectionResetError):
        bytes_on_the_wire(simulator, Limit=5)


def test_an_answer_that_never_comes(simulator: Simulator) -> None:
    simulator.set_faults([{"hang_s": 0.1}])
    began = time.monotonic()
    assert bytes_on_the_wire(simulator) == b""
    assert time.monotonic() - began >= 0.1


def test_a_dripping_answer(simulator: Simulator) -> None:
    simulator.set_faults([{"drip": 20_000}])
    began = time.monotonic()
    assert ask(simulator, Limit=1).records == plain(simulator, Limit=1)
    assert time.monotonic() - began > 0.1


def test_connections_are_refused_for_a_while_and_then_no_more(simulator: Simulator) -> None:
    simulator.set_faults([{"refuse_s": 1.0, "after": 1}])
    assert ask(simulator).status == 200
    with pytest.raises(OSError):
        ask(simulator)
    with pytest.raises(ConnectionRefusedError):
        ask(simulator)
    status, end = 0, time.monotonic() + 30
    while not status and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):
            status = ask(simulator).status
    assert status == 200


def test_a_gzip_bomb_is_small_and_becomes_large(simulator: Simulator) -> None:
    simulator.set_faults([{"gzip_bomb": 8}])
    reply = ask(simulator)
    assert len(reply.body) < 20_000
    assert len(gzip.decompress(reply.body)) > 8 * 2**20


def test_an_oversize_answer_is_still_a_page(simulator: Simulator) -> None:
    simulator.set_faults([{"oversize": 2}])
    reply = ask(simulator, Limit=3)
    assert len(reply.body) > 2 * 2**20
    assert len(reply.records) == 3


# What a request means.


@pytest.mark.parametrize(
    ("fault", "asked", "got"),
    [
        ({"page_cap": 50}, {"Limit": 100}, (0, 50)),
        ({"page_cap": 50}, {"Limit": 20}, (0, 20)),
        ({"limit_ignored": 30}, {"Limit": 100}, (0, 30)),
        ({"limit_ignored": 30}, {"Limit": 10}, (0, 30)),
        ({"more_than_limit": 5}, {"Limit": 10, "Offset": 10}, (10, 25)),
        ({"offset_ignored": True}, {"Limit": 10, "Offset": 10}, (0, 10)),
        ({"page_cap": 50, "end": "2024-01-03T00:00:00Z"}, {"Limit": 100}, (0, 100)),
        ({"page_cap": 50, "start": "2024-01-03T10:00:00Z"}, {"Limit": 100}, (0, 50)),
    ],
)
def test_pages_are_cut_otherwise(
    simulator: Simulator, fault: dict[str, Any], asked: dict[str, Any], got: tuple[int, int]
) -> None:
    simulator.set_faults([fault])
    assert ask(simulator, **asked).records == plain(simulator, Limit=1000)[slice(*got)]


def test_order_descending_ignored_shuffled(simulator: Simulator) -> None:
    straight = ask(simulator, OrderBy="_id").ids
    for how in ("descending", "ignored", "shuffled"):
        simulator.set_faults([{"order": how}])
        first, again = ask(simulator, OrderBy="_id").ids, ask(simulator, OrderBy="_id").ids
        assert sorted(first) == straight != first
        assert (first == again) is (how != "shuffled")
        assert (first == straight[::-1]) is (how == "descending")


def test_ties_change_their_order_on_every_call_and_nothing_else_does(simulator: Simulator) -> None:
    span: dict[str, Any] = {
        "StartDateTime": "2024-01-01T00:00:00Z",
        "EndDateTime": "2024-01-07T23:59:59.999Z",
        "Limit": 3000,
    }
    simulator.set_faults([{"order": "ties"}])
    first, again = ask(simulator, **span).records, ask(simulator, **span).records
    assert [r["StartedDateTimeUtc"] for r in first] == [r["StartedDateTimeUtc"] for r in again]
    moved = [a for a, b in zip(first, again, strict=True) if a != b]
    assert 10 < len(moved) < len(first) / 5


def test_a_refusal_announces_a_quota_that_is_spent(simulator: Simulator) -> None:
    simulator.set_faults([{"status": 400, "headers": "draft"}])
    assert ask(simulator).headers["ratelimit"] == '"default";r=0;t=1'
    simulator.set_faults([{"status": 400}])
    assert not any("ratelimit" in name for name in ask(simulator).headers)


def test_an_offset_behind_the_last_row_is_refused_or_brings_it_again(simulator: Simulator) -> None:
    last, count = plain(simulator)[-1], len(plain(simulator))
    for offset, status, records in ((count - 1, 200, [last]), (count, 400, None), (count + 7, 400, None)):
        simulator.set_faults([{"past_end": "refused"}])
        assert ask(simulator, Offset=offset).status == status
        simulator.set_faults([{"past_end": "last"}])
        assert ask(simulator, Offset=offset).records == (records or [last])


def test_relative_periods_may_be_those_of_utc(simulator: Simulator) -> None:
    day: dict[str, Any] = {"StartDateTime": None, "EndDateTime": None, "Resolution": "Day", "Limit": 5000}
    day |= {"RelativePeriodStart": -1, "RelativePeriodEnd": -1}
    simulator.set_now(datetime(2024, 1, 4, 10, tzinfo=UTC))
    tokyo = ask(simulator, **day, RelativeTimezone="Asia/Tokyo").records
    in_utc = ask(simulator, **day).records
    simulator.set_faults([{"relative": "utc"}])
    assert ask(simulator, **day, RelativeTimezone="Asia/Tokyo").records == in_utc != tokyo


def test_ends_and_filter_can_be_switched(simulator: Simulator) -> None:
    midnight: dict[str, Any] = {
        "StartDateTime": "2024-01-03T00:00:00Z",
        "EndDateTime": "2024-01-03T00:00:00Z",
    }
    assert len(ask(simulator, **midnight).records) == 1
    simulator.set_faults([{"ends": "exclusive"}])
    assert ask(simulator, **midnight).records == []
    simulator.set_faults([{"filter": "ignored"}])
    assert ask(simulator, Filter={"AgentId": -1}).records == plain(simulator)


# Rows that are not what they should be.


@pytest.mark.parametrize("distance", [1, 60])
def test_duplicates_stand_so_many_rows_apart(simulator: Simulator, distance: int) -> None:
    simulator.set_faults([{"duplicates": 0.1, "distance": distance}])
    ids = ask(simulator, Limit=1000).ids
    places: dict[str, list[int]] = {}
    for place, key in enumerate(ids):
        places.setdefault(key, []).append(place)
    gaps = [two[1] - two[0] for two in places.values() if len(two) == 2]
    assert len(gaps) > 10
    assert set(places) == {record["_id"] for record in plain(simulator, Limit=1000)}
    if distance == 1:
        assert set(gaps) == {1}
    else:
        assert sorted(gaps)[len(gaps) // 2] >= distance
        assert ask(simulator, Limit=1000).ids == ids


@pytest.mark.parametrize("older_first", [True, False])
def test_an_older_version_comes_as_well(simulator: Simulator, older_first: bool) -> None:
    simulator.set_faults([{"versions": 0.1, "older_first": older_first}])
    by_key: dict[str, list[dict[str, Any]]] = {}
    for record in ask(simulator, Limit=1000).records:
        by_key.setdefault(record["_id"], []).append(record)
    pairs = [two for two in by_key.values() if len(two) == 2]
    assert len(pairs) > 10
    true = {record["_id"]: record for record in plain(simulator, Limit=1000)}
    for first, second in pairs:
        old, new = (first, second) if older_first else (second, first)
        assert old["RecordWrittenAtUtc"] < new["RecordWrittenAtUtc"]
        assert new == true[new["_id"]]


def test_foreign_rows_come_from_beyond_both_ends(simulator: Simulator) -> None:
    simulator.set_faults([{"foreign": 2}])
    got = ask(simulator, Limit=1000).records
    assert got[2:-2] == plain(simulator, Limit=1000)
    assert {r["StartedDateTimeUtc"][:10] for r in (*got[:2], *got[-2:])} == {"2024-01-02", "2024-01-04"}


@pytest.mark.parametrize(("fault", "shift"), [("delete", -3), ("rewrite", -3), ("insert", 3)])
def test_rows_move_under_an_offset(fault: str, shift: int) -> None:
    """By the time of writing, ten to a page; before the third request, rows before its page move."""
    asked: dict[str, Any] = {
        "DateFilterField": "RecordWrittenAtUtc",
        "OrderBy": "RecordWrittenAtUtc",
        "Limit": 10,
    }
    with running(Settings(records=500, faults=({fault: 3, "after": 2},))) as simulator:
        whole = simulator.service.rows.selected(
            simulator.datasets.table("interactions"), query_of(simulator, asked), "inclusive", {}
        )
        keys = [simulator.datasets.table("interactions").key(row) for row in whole]
        pages = [ask(simulator, **asked, Offset=offset).ids for offset in (0, 10, 20)]
        assert pages[:2] == [keys[:10], keys[10:20]]
        assert pages[2] == keys[20 - shift : 30 - shift]


def test_a_row_that_stands_in_a_page_twice_is_deleted_once() -> None:
    faults: tuple[dict[str, Any], ...] = ({"duplicates": 1.0}, {"delete": 500, "after": 1})
    with running(Settings(records=100, faults=faults)) as simulator:
        seen = set(ask(simulator, Limit=500).ids)
        rest = ask(simulator, Limit=500, Offset=500)
        assert rest.status == 200
        assert not seen & set(ask(simulator, Limit=500).ids)


@pytest.mark.parametrize("older_first", [True, False])
@pytest.mark.parametrize("fault", ["delete", "rewrite", "insert"])
def test_a_row_of_which_an_older_version_comes_as_well_moves_with_it(fault: str, older_first: bool) -> None:
    versions = {"versions": 1.0, "older_first": older_first}
    faults: tuple[dict[str, Any], ...] = (versions, {fault: 500, "after": 1})
    with running(Settings(records=100, faults=faults)) as simulator:
        seen = set(ask(simulator, Limit=500).ids)
        assert ask(simulator, Limit=500, Offset=500).status == 200
        left = set(ask(simulator, Limit=500).ids)
        simulator.set_faults([])
        assert left == set(ask(simulator, Limit=500).ids)
        assert not seen & left if fault == "delete" else seen <= left


def query_of(simulator: Simulator, asked: dict[str, Any]) -> Any:
    from harvester.testing.query import parse

    return parse({**DAY, **asked}, date_field="StartedDateTimeUtc", now=simulator.now())


@pytest.mark.parametrize(
    ("kind", "shows"),
    [
        ("no_key", lambda item: "_id" not in item),
        ("no_date", lambda item: "StartedDateTimeUtc" not in item),
        ("null_key", lambda item: item["_id"] is None),
        ("bad_date", lambda item: item["StartedDateTimeUtc"] == "yesterday"),
        ("number", lambda item: item == 17),
        ("null", lambda item: item is None),
        ("text", lambda item: isinstance(item, str)),
        ("list", lambda item: isinstance(item, list)),
        ("surrogate", lambda item: "\ud800" in item["Note"]),
        ("nan", lambda item: item["Note"] != item["Note"]),
        ("bigint", lambda item: item["Note"] > 2**64),
    ],
)
def test_the_same_records_are_damaged_always(simulator: Simulator, kind: str, shows: Any) -> None:
    simulator.set_faults([{"record": kind, "one_in": 10}])
    good = plain(simulator, Limit=150)
    got = ask(simulator, Limit=150)
    damaged = [place for place, (a, b) in enumerate(zip(got.records, good, strict=True)) if a != b]
    assert 5 < len(damaged) < len(good) / 5
    assert all(shows(got.records[place]) for place in damaged)
    assert ask(simulator, Limit=150).body == got.body


def test_damage_that_is_no_json(simulator: Simulator) -> None:
    simulator.set_faults([{"record": "utf8", "one_in": 10}])
    with pytest.raises(UnicodeDecodeError):
        ask(simulator, Limit=1000).body.decode()
    simulator.set_faults([{"record": "twice_keys", "one_in": 10}])
    assert b',"TenantId":2}' in ask(simulator, Limit=1000).body


# Bodies.


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        ({"data": "null"}, b'{"resultCode":0,"resultCodeName":"Success","data":null}'),
        ({"data": "missing"}, b'{"resultCode":0,"resultCodeName":"Success"}'),
        ({"data": "object"}, b'{"resultCode":0,"resultCodeName":"Success","data":{}}'),
        ({"data": "text"}, b'{"resultCode":0,"resultCodeName":"Success","data":"no"}'),
        ({"data": "empty"}, b'{"resultCode":0,"resultCodeName":"Success","data":[]}'),
        ({"result_code": 5}, b'{"resultCode":5,"resultCodeName":"Failure","data":null}'),
        ({"body": "empty"}, b""),
        ({"body": "text"}, b"Service temporarily unavailable"),
    ],
)
def test_a_200_with_something_else_inside(simulator: Simulator, fault: dict[str, Any], body: bytes) -> None:
    simulator.set_faults([fault])
    reply = ask(simulator)
    assert (reply.status, reply.body) == (200, body)


def test_spoilt_bodies(simulator: Simulator) -> None:
    good = ask(simulator, Limit=3)
    spoilt = {}
    for kind in ("html", "bom", "pretty", "utf8", "nan", "cut_json", "trailing"):
        simulator.set_faults([{"body": kind}])
        spoilt[kind] = ask(simulator, Limit=3)
    assert spoilt["html"].headers["content-type"] == "text/html"
    assert b"<html>" in spoilt["html"].body
    assert spoilt["bom"].body == b"\xef\xbb\xbf" + good.body
    assert spoilt["pretty"].body.count(b"\n") > 250
    assert spoilt["pretty"].records == good.records
    assert b"\xff" in spoilt["utf8"].body
    assert b":NaN," in spoilt["nan"].body
    assert spoilt["cut_json"].body == good.body[: len(good.body) // 2]
    assert spoilt["trailing"].body.startswith(good.body)


# Together, and one after the other.


def test_numbers_count_from_when_the_faults_were_set(simulator: Simulator) -> None:
    for _ in range(2):
        simulator.set_faults([{"status": 500, "after": 1}])
        assert [ask(simulator, Limit=1).status for _ in range(2)] == [200, 500]


def test_faults_strike_together(simulator: Simulator) -> None:
    simulator.set_faults([{"page_cap": 20}, {"order": "descending"}, {"body": "bom"}, {"latency_ms": 30}])
    began = time.monotonic()
    body = ask(simulator, OrderBy="_id", Limit=100).body
    assert time.monotonic() - began >= 0.03
    ids = [record["_id"] for record in json.loads(body.removeprefix(b"\xef\xbb\xbf"))["data"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 20
