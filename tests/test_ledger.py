"""ledger: what it says is true after any kill, and nobody else writes it."""

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from harvester.errors import LedgerDamaged, Locked, OtherJob, StorageError
from harvester.ledger import (
    TRANSITIONS,
    Ledger,
    Lock,
    Settled,
    State,
    from_us,
    home_of,
    read_status,
    to_us,
)
from harvester.shards import Receipt
from harvester.windows import Partition, Span, Window

DAY = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PARTITION = Partition(name="2024-01-01", start=DAY, end=DAY + 24 * HOUR)


def window(number: int, hours: int = 1) -> Window:
    return Window(start=DAY + number * HOUR, end=DAY + (number + hours) * HOUR)


def span(first: int, last: int) -> Span:
    return Span(start=DAY + first * HOUR, end=DAY + last * HOUR)


def done(number: int, records: int = 1) -> Settled:
    return Settled(window=window(number), records=records)


def failed(number: int, error: str = "ServerFailed: 500") -> Settled:
    return Settled(window=window(number), records=0, error=error)


def receipt(path: str) -> Receipt:
    return Receipt(
        path=path,
        records=1,
        size_bytes=10,
        raw_bytes=20,
        sha256="0" * 64,
        first=DAY,
        last=DAY + HOUR,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = home_of(tmp_path)
    home.mkdir()
    return home


def sealed(ledger: Ledger, *settled: Settled, path: str = "_harvest/staging/a") -> int:
    build = ledger.begin_build(PARTITION)
    ledger.seal(build, 0, [receipt(path)], settled)
    return build


def settled_as(state: State) -> Settled:
    """Window 3, so that it becomes that."""
    if state is State.PROVISIONAL:
        return Settled(window=window(3), records=1, is_over=False)
    return done(3) if state is State.DONE else failed(3)


def bring(ledger: Ledger, state: State) -> None:
    """Brings window 3 into a state."""
    if state is State.DONE:
        sealed(ledger, done(3))
    elif state is not State.OPEN:
        ledger.fail([settled_as(state)])


def test_every_pair_of_states_has_a_verdict() -> None:
    assert set(TRANSITIONS) == set(product(State, State))


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", [State.DONE, State.FAILED, State.PROVISIONAL])
def test_a_window_changes_its_state_only_as_the_table_says(home: Path, before: State, after: State) -> None:
    settled = settled_as(after)
    with Ledger(home) as ledger:
        bring(ledger, before)
        if TRANSITIONS[before, after]:
            ledger.fail([settled])
            missing = ledger.missing(span(3, 4))
            assert missing == ([] if after is State.DONE else [span(3, 4)])
        else:
            with pytest.raises(StorageError, match="cannot become"):
                ledger.fail([settled])


def test_windows_are_done_together_with_their_receipt_or_not_at_all(home: Path) -> None:
    with Ledger(home) as ledger:
        build = sealed(ledger, done(0))
        with pytest.raises(StorageError):
            ledger.seal(build, 0, [receipt("_harvest/staging/again")], [done(1)])  # shard 0 stands already
        assert ledger.missing(span(0, 2)) == [span(1, 2)]


def test_what_was_committed_stands_when_the_ledger_is_opened_again(home: Path) -> None:
    with Ledger(home) as ledger:
        ledger.extend(span(0, 5))
        sealed(ledger, done(0), done(1))
        ledger.fail([failed(2)])
    with Ledger(home) as ledger:
        assert ledger.missing(span(0, 5)) == [span(2, 5)]
        assert [gap.error for gap in ledger.gaps()] == ["ServerFailed: 500"]
        assert ledger.spans() == [span(0, 5)]


def test_windows_of_another_cut_take_the_place_of_failed_ones(home: Path) -> None:
    with Ledger(home) as ledger:
        ledger.fail([failed(0), failed(1)])
        build = ledger.begin_build(PARTITION)
        ledger.seal(build, 0, [receipt("x")], [Settled(window=window(0, hours=2), records=5)])
        assert ledger.gaps() == []
        assert ledger.missing(span(0, 3)) == [span(2, 3)]
        assert ledger.counts().records == 5


@pytest.mark.parametrize("asked", ["settled", "missing", "gaps"])
def test_what_a_window_costs_does_not_grow_with_those_before_it(home: Path, asked: str) -> None:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def cost(ledger: Ledger, number: int) -> int:
        nonlocal steps
        steps = 0
        match asked:
            case "settled":
                ledger.fail([failed(number)])
                ledger.fail([failed(number)])  # and again, over what is there
            case "missing":
                ledger.missing(span(number - 1, number + 1))
            case "gaps":
                ledger.gaps(span(number - 1, number + 1))
        return steps

    costs = []
    with Ledger(home) as ledger:
        ledger._db.set_progress_handler(step, 1)
        for first in range(0, 2000, 500):
            ledger.fail([failed(number) for number in range(first, first + 500)])
            costs.append(cost(ledger, first + 500))
    assert max(costs) < 1.2 * costs[0]


def test_windows_that_overlap_in_one_transaction_replace_each_other_as_if_one_by_one(home: Path) -> None:
    with Ledger(home) as ledger:
        ledger.fail([failed(0), failed(1), Settled(window=window(0, hours=3), records=0, error="wider")])
        assert [(gap.start, gap.end, gap.error) for gap in ledger.gaps()] == [(DAY, DAY + 3 * HOUR, "wider")]
        with pytest.raises(StorageError, match="is done and cannot become failed"):
            ledger.fail([done(5), failed(5)])
        assert ledger.counts().done == 0


def test_spans_that_touch_become_one(home: Path) -> None:
    with Ledger(home) as ledger:
        for part in (span(0, 2), span(4, 6), span(2, 4)):
            ledger.extend(part)
        assert ledger.spans() == [span(0, 6)]


def test_publishing_ends_all_older_builds_at_once(home: Path) -> None:
    with Ledger(home) as ledger:
        first = sealed(ledger, done(0), path="_harvest/staging/1")
        assert ledger.publish(first, [receipt("dt=2024-01-01/part-00000-aaaa.jsonl")]) == 1
        sealed(ledger, done(1), path="_harvest/staging/2")
        third = sealed(ledger, done(2), path="_harvest/staging/3")
        assert ledger.publish(third, [receipt("dt=2024-01-01/part-00000.jsonl")]) == 2
        builds = ledger.builds("2024-01-01")
        assert [(build.generation, [r.path for r in build.receipts]) for build in builds] == [
            (2, ["dt=2024-01-01/part-00000.jsonl"])
        ]
        assert ledger.unfinished() == []


def test_a_file_that_no_build_names_any_more_is_garbage_and_one_that_is_named_is_not(home: Path) -> None:
    with Ledger(home) as ledger:
        build = ledger.begin_build(PARTITION)
        ledger.seal(
            build, 0, [receipt("_harvest/staging/1")], [done(0)], intents=["dt=2024-01-01/part-00000.jsonl"]
        )
        assert ledger.garbage() == ["dt=2024-01-01/part-00000.jsonl"]  # killed here, nobody would own it
        ledger.publish(build, [receipt("dt=2024-01-01/part-00000.jsonl")])
        assert ledger.garbage() == ["_harvest/staging/1"]


def test_another_job_is_refused_with_what_differs(home: Path) -> None:
    with Ledger(home) as ledger:
        ledger.adopt_job({"base_url": "https://a", "format": "jsonl"})
        ledger.adopt_job({"base_url": "https://a", "format": "jsonl"})
        with pytest.raises(OtherJob, match="base_url: 'https://a' there, 'https://b' asked"):
            ledger.adopt_job({"base_url": "https://b", "format": "jsonl"})


def test_a_second_writer_is_turned_away_and_may_come_when_the_first_has_left(home: Path) -> None:
    with Lock(home), pytest.raises(Locked), Lock(home):
        pass
    with Lock(home):
        pass


def test_a_damaged_ledger_is_refused_and_left_as_it_is(home: Path) -> None:
    with Ledger(home) as ledger:
        for number in range(2000):
            ledger.fail([failed(number, "x" * 400)]) if number < 3 else None
        ledger.learn({str(number): "x" * 500 for number in range(200)})
    path = home / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xff" * 32768
    path.write_bytes(content)
    with pytest.raises(LedgerDamaged, match=r"ledger\.sqlite"), Ledger(home):
        pass
    assert path.read_bytes() == content


def test_a_ledger_that_is_no_database_is_refused(home: Path) -> None:
    (home / "ledger.sqlite").write_bytes(b"this is no database, " * 100)
    with pytest.raises(LedgerDamaged), Ledger(home):
        pass


def test_the_ledger_is_private_to_its_user(home: Path) -> None:
    with Ledger(home) as ledger:
        ledger.extend(span(0, 1))
        assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o600}


def test_a_ledger_that_was_begun_and_never_written_can_be_opened(home: Path) -> None:
    """As a power loss leaves it: both files named and empty."""
    (home / "ledger.sqlite").touch()
    (home / "ledger.sqlite-wal").touch()
    with Ledger(home) as ledger:
        assert ledger.spans() == []


def test_commits_are_synced_to_the_disk(home: Path) -> None:
    """synchronous = FULL: with less, a power loss takes back what was said to be done."""
    with Ledger(home) as ledger:
        assert ledger._rows("PRAGMA synchronous") == [(2,)]
        assert ledger._rows("PRAGMA journal_mode") == [("wal",)]


def test_status_reads_while_a_writer_is_at_work(home: Path) -> None:
    with Lock(home), Ledger(home) as ledger:
        ledger.adopt_job({"format": "jsonl"})
        ledger.extend(span(0, 3))
        sealed(ledger, done(0, records=7))
        ledger.fail([failed(1)])
        with ledger._transaction():
            status = read_status(home.parent)
    assert (status.windows_done, status.windows_failed, status.records, status.complete) == (1, 1, 7, False)
    assert status.open == [span(1, 3)]
    assert status.staged_partitions == ["2024-01-01"]


def test_times_survive_the_way_through_the_ledger_to_the_microsecond() -> None:
    moment = datetime(1931, 5, 1, 3, 4, 5, 678901, tzinfo=UTC)
    assert from_us(to_us(moment)) == moment
