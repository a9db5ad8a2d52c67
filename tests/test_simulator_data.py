import hashlib
import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harvester.testing.datasets import Datasets
from harvester.testing.rhythm import RHYTHMS, instants
from harvester.testing.settings import Settings
from harvester.testing.table import to_ms

SEED_FIELDS = """
_id InteractionId InteractionIdStr StartedDateTimeUtc EndedDateTimeUtc FirstQueuedAtUtc FirstDequeuedAtUtc
FirstAcceptedAtUtc FirstDeliveredAtUtc AbandonedAtUtc EndedReason EventCount CurrentQueueCount AgentReplyCount
CustomerReplyCount AgentFirstResponseTime TotalTimeWaitingOnAgent TotalTimeWaitingOnCustomer TotalTalkTime
TotalRingTime TotalHoldTime TotalMuteTime WorkflowTime HoldCount MuteCount LongestTimeWaitingOnAgent
LongestTimeWaitingOnCustomer FirstRollupAtUtc MostRecentRollupAtUtc QueueId TicketId TenantId AgentId
AgentFirstName AgentLastName RoutingProfileId ANI DNIS FromCity FromState FromZip FromCountry StirVerstat
ChannelUniqueIdentifier ChannelProviderType ChannelType ServiceLevelSeconds Direction IsCRMUpdateEvent
DataErrorDetected StartedDateUtc EndedDateUtc InteractionTime AcceptTime QueuedTime AbandonedTime StartedEpoch
StartedEpochDate StartedEpochQuarterHour StartedEpochHour EndedEpoch EndedEpochDate EndedEpochHour
EndedEpochQuarterHour RecordWrittenAtUtc RecordWrittenAtEpoch FirstQueuedEpoch FirstDequeuedEpoch
FirstAcceptedEpoch FirstDeliveredEpoch AbandonType IsInServiceLevel AgentHandleTime IsAnswered IsAbandoned
HasQueued WasDelivered AbandonedQuarterHourUtc AbandonedHourUtc AbandonedDayUtc EndedDayUtc EndedHourUtc
EndedQuarterHourUtc FirstAcceptedDayUtc FirstAcceptedHourUtc FirstAcceptedQuarterHourUtc FirstQueuedDayUtc
FirstQueuedHourUtc FirstQueuedQuarterHourUtc AbandonedApplied AnsweredApplied IsInServiceLevelApplied
ServiceLevelApplies StartedDayUtc StartedHourUtc StartedQuarterHourUtc TotalWaitTime """.split()

WEEK_MS = (to_ms("2024-01-01T00:00:00Z"), to_ms("2024-01-08T00:00:00Z"))


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    table = Datasets(Settings(records=4000)).table("interactions")
    return [bytes(table.row(number)) for number in range(len(table))]


def test_every_record_has_each_field_of_the_vendors_example_once(records: list[bytes]) -> None:
    for raw in records[::40]:
        assert sorted(name for name, _ in json.loads(raw, object_pairs_hook=list)) == sorted(SEED_FIELDS)


def test_a_record_is_one_line_of_three_kilobytes(records: list[bytes]) -> None:
    assert not any(b"\n" in raw or b"\r" in raw for raw in records)
    assert 2700 < sum(map(len, records)) / len(records) < 3300


def test_keys_are_unique_and_do_not_follow_the_date(records: list[bytes]) -> None:
    keys = [json.loads(raw)["_id"] for raw in records]
    assert len(set(keys)) == len(keys)
    assert keys != sorted(keys)


def test_calendar_fields_agree_with_the_instants(records: list[bytes]) -> None:
    for raw in records[::97]:
        record = json.loads(raw)
        started, ended = to_ms(record["StartedDateTimeUtc"]), to_ms(record["EndedDateTimeUtc"])
        assert started < ended <= to_ms(record["RecordWrittenAtUtc"])
        assert record["StartedEpoch"] == started // 1000
        assert record["EndedEpochHour"] == ended // 3_600_000 * 3600
        assert to_ms(record["StartedQuarterHourUtc"]) == started // 900_000 * 900_000


def test_the_data_holds_what_breaks_harvesters(records: list[bytes]) -> None:
    everything = b"\n".join(records)
    for trait in (
        '\\"Skip\\"',
        "back\\\\slash",
        "},{",
        "😀",
        "\\ud83d",
        "\u2028",
        "\\u2028",
        "323.08310220000004",
        "1E2",
    ):
        assert trait.encode() in everything, trait
    decoded = [json.loads(raw) for raw in records]
    shared = Counter(record["InteractionId"] for record in decoded)
    assert max(shared.values()) == 2
    late = [r for r in decoded if to_ms(r["RecordWrittenAtUtc"]) > to_ms(r["FirstRollupAtUtc"]) + 3_000_000]
    assert 0.01 < len(late) / len(decoded) < 0.06


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_instants_are_as_many_as_asked_sorted_and_inside(rhythm: str) -> None:
    times = instants(3000, start_ms=WEEK_MS[0], end_ms=WEEK_MS[1], seed="7", rhythm=rhythm, cluster=40)
    assert len(times) == 3000
    assert list(times) == sorted(times)
    assert WEEK_MS[0] <= times[0] < times[-1] < WEEK_MS[1]


def test_instants_lie_on_around_and_between_edges() -> None:
    times = instants(5000, start_ms=WEEK_MS[0], end_ms=WEEK_MS[1], seed="7", cluster=60)
    midnight = to_ms("2024-01-04T00:00:00Z")
    assert {midnight - 500, midnight - 1, midnight, midnight + 1} <= set(times)
    assert {WEEK_MS[0], WEEK_MS[1] - 1} <= set(times)
    assert max(Counter(times).values()) >= 60
    assert any(t % 900_000 == 0 and t % 3_600_000 for t in times)


def test_working_hours_are_busier_than_nights_and_weekends() -> None:
    times = instants(8000, start_ms=WEEK_MS[0], end_ms=WEEK_MS[1], seed="7")
    moments = [datetime.fromtimestamp(t / 1000, UTC) for t in times]
    by_hour = Counter(moment.hour for moment in moments)
    by_day = Counter(moment.weekday() for moment in moments)
    assert by_hour[15] > 10 * by_hour[7]
    assert by_day[0] > 4 * by_day[6]


@pytest.mark.parametrize("length_ms", [1_000, 3_600_000])
def test_a_span_on_which_nothing_is_due_is_filled_all_the_same(length_ms: int) -> None:
    start = 2 * 86_400_000 + 5_000  # a day on which the bursty rhythm is silent
    times = instants(100, start_ms=start, end_ms=start + length_ms, seed="7", rhythm="bursty")
    assert len(times) == 100
    assert start <= times[0] < times[-1] < start + length_ms
    assert len({t // 900_000 for t in times}) == max(1, length_ms // 900_000 + 1)


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    script = (
        "import hashlib\n"
        "from harvester.testing.datasets import Datasets\n"
        "from harvester.testing.settings import Settings\n"
        "data = Datasets(Settings(records=1000))\n"
        "tables = [data.table(name) for name in ('interactions', 'messages', 'events')]\n"
        "rows = [bytes(table.row(n)) for table in tables for n in range(len(table))]\n"
        "print(hashlib.sha256(b''.join(rows)).hexdigest())\n"
    )
    environment = {"PYTHONHASHSEED": "4711", "PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    # Whoever changes the data on purpose also counts LAYOUT in table.py up: caches hold the old bytes.
    assert run.stdout.decode()[:16] == "c6fd62a23a8a52da"


def test_another_seed_gives_other_records() -> None:
    first, second = (Datasets(Settings(records=50, seed=seed)).table("interactions") for seed in (1, 2))
    assert not {first.key(n) for n in range(70)} & {second.key(n) for n in range(70)}


def test_a_cache_is_used_by_the_next_start_and_holds_the_same(tmp_path: Path) -> None:
    settings = Settings(records=200, cache=tmp_path)
    fresh = Datasets(settings).table("interactions")
    (data,) = tmp_path.glob("*.json")
    before = hashlib.sha256(data.read_bytes()).digest()
    data.write_bytes(data.read_bytes().replace(b'"TenantId":2', b'"TenantId":3'))
    cached = Datasets(settings).table("interactions")
    assert b'"TenantId":3' in bytes(cached.row(100))
    assert bytes(fresh.row(7)).partition(b",")[0] == bytes(cached.row(7)).partition(b",")[0]
    assert hashlib.sha256(data.read_bytes()).digest() != before
    assert Datasets(Settings(records=201, cache=tmp_path)).table("interactions").row(3) != cached.row(3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"records": -1},
        {"end": datetime(2023, 1, 1, tzinfo=UTC)},
        {"start": datetime(2024, 1, 1)},  # noqa: DTZ001
        {"page_cap": 0},
        {"rhythm": "waltz"},
        {"ends": "none"},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Settings(**wrong)  # type: ignore[arg-type]
