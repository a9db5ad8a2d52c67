"""What a window, a page and a record cost, in calls of functions: counted, not timed, so that a fall by half
shows on any machine. The limits are what was counted and a fifth; whoever needs more raises them knowingly.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from harvester.testing import Settings, Simulator, running
from tests.benchmarks.measure import clean

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EMPTY = datetime(2022, 1, 1, tzinfo=UTC)
Calls = Callable[..., int]

MOST_A_WINDOW = 420
"""220 to 348 were counted for a window with nothing in it, its share of a request included: where nothing was
so far, one proves eight of them, and a busy machine waits more often."""
MOST_A_PAGE = 690
"""575 to 600 for one more page of the same records."""
MOST_A_RECORD = 5.0
"""4.2 for a record, its share of the page included: one each to find it on its page and its bytes; the fields
that are read, order, doubles and second keys are looked at for a page at once, in functions of C."""


@pytest.fixture(scope="module")
def source() -> Iterator[Simulator]:
    """15 MB: so few that no run has to send records to disk, which costs calls that are not meant here."""
    settings = Settings(records=5_000, messages=0, events=0, start=START, end=START + 2 * DAY, rhythm="flat")
    with running(settings) as simulator:
        yield simulator


@pytest.fixture
def calls(source: Simulator, tmp_path: Path) -> Calls:
    numbers = count()

    def counted(start: datetime, end: datetime, *, page_size: int = 1000) -> int:
        """Of a run in windows of an hour where nothing is, else of a day."""
        resolution = "Hour" if start == EMPTY else "Day"
        place = tmp_path / str(next(numbers))
        place.mkdir()
        (place / "job.toml").write_text(
            f'[source]\ndialect = "interactions"\nbase_url = "{source.url}"\n'
            f'[span]\nstart = {start.isoformat()}\nend = {end.isoformat()}\nresolution = "{resolution}"\n'
            f"[fetch]\npage_size = {page_size}\nconcurrency = 4\n"
            f'[output]\nurl = "{place / "out"}"\n'
        )
        command = [sys.executable, "-m", "tests.counting", "run", str(place / "job.toml")]
        told = subprocess.run(
            command, capture_output=True, env=clean({"HARVESTER_TOKEN": source.settings.token}), check=True
        )
        return int(told.stdout.split()[-1])

    return counted


def test_an_empty_window_costs_no_more_than_it_did(calls: Calls) -> None:
    few, many = calls(EMPTY, EMPTY + DAY), calls(EMPTY, EMPTY + 4 * DAY)
    assert (many - few) / (3 * 24) < MOST_A_WINDOW


def test_a_page_costs_no_more_than_it_did(calls: Calls) -> None:
    """The same records in 52 pages and in 6."""
    few, many = calls(START, START + 2 * DAY), calls(START, START + 2 * DAY, page_size=100)
    assert (many - few) / 46 < MOST_A_PAGE


def test_a_record_costs_no_more_than_it_did(calls: Calls) -> None:
    """Two days each, of which one is empty and both are full."""
    few, many = calls(START + DAY, START + 3 * DAY), calls(START, START + 2 * DAY)
    assert (many - few) / 2500 < MOST_A_RECORD
