"""Telemetry: what listens to the events neither raises, blocks, floods nor leaks, and counts right."""

import dataclasses
import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from harvester import events
from harvester.printable import printable
from harvester.telemetry import Counters, Telemetry, duration, listening
from harvester.telemetry.counters import Recent
from harvester.telemetry.log import LEVELS, Foreign, Log, briefly, name
from harvester.telemetry.writer import Writer
from harvester.transport.blot import Blotter

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def done(records: int = 10) -> events.WindowDone:
    return events.WindowDone(
        start=START, end=START + HOUR, records=records, duplicates=1, outside=2, requests=3, elapsed_s=0.25
    )


def failed_request(error: str = "ServerFailed", detail: str = "500") -> events.RequestFailed:
    return events.RequestFailed(error=error, detail=detail, attempt=1, wait_s=0.5)


def page() -> events.PageFetched:
    return events.PageFetched(
        start=START,
        end=START + HOUR,
        offset=0,
        records=7,
        received_bytes=100,
        decoded_bytes=900,
        elapsed_s=0.1,
    )


def lines_of(
    *said: events.Event, level: int = logging.DEBUG, blot: Callable[[str], str] = str
) -> list[dict[str, Any]]:
    lines: list[str] = []
    log = Log(lines.append, json=True, level=level, clock=lambda: NOW, blot=blot)
    for event in said:
        log(event)
    return [json.loads(line) for line in lines]


# --- the log


def test_a_line_is_an_event_name_plus_its_facts() -> None:
    (line,) = lines_of(done())
    assert line == {
        "timestamp": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "event": "window_done",
        "start": "2024-01-01T00:00:00.000Z",
        "end": "2024-01-01T01:00:00.000Z",
        "records": 10,
        "duplicates": 1,
        "outside": 2,
        "requests": 3,
        "elapsed_s": 0.25,
    }


def test_every_event_has_a_level_and_its_own_name() -> None:
    kinds = set(get_args(events.Event))
    assert set(LEVELS) == kinds
    assert not any(
        field.name in ("event", "level", "timestamp") for kind in kinds for field in dataclasses.fields(kind)
    )
    assert name(events.RunEnded(status="complete", exit_code=0)) == "run_ended"


def test_windows_are_told_at_info_pages_at_debug_and_retries_at_warning() -> None:
    said = (page(), done(), failed_request())
    assert [line["event"] for line in lines_of(*said, level=logging.DEBUG)] == [
        "page_fetched",
        "window_done",
        "request_failed",
    ]
    assert [line["event"] for line in lines_of(*said, level=logging.INFO)] == [
        "window_done",
        "request_failed",
    ]
    assert [line["event"] for line in lines_of(*said, level=logging.WARNING)] == ["request_failed"]


def test_a_value_is_one_bounded_line_without_control_characters() -> None:
    (line,) = lines_of(failed_request(detail="a\nb\x1b[2J\u2028\u202e\x9b\ud800" + "x" * 10_000))
    assert line["detail"].startswith("a\\nb\\x1b[2J\\u2028\\u202e\\x9b\\ud800xxx")
    assert len(line["detail"]) < 600
    assert line["detail"].endswith("more)")


def test_a_line_of_text_keeps_brackets_and_is_one_line() -> None:
    lines: list[str] = []
    Log(lines.append, json=False, clock=lambda: NOW)(failed_request(detail="[bold]no\nmarkup"))
    (line,) = lines
    assert "detail=[bold]no\\nmarkup" in line
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_value_cannot_pose_as_another_key() -> None:
    lines: list[str] = []
    Log(lines.append, json=False, clock=lambda: NOW)(failed_request(detail='x" status="all is well'))
    assert r'detail="x\" status=\"all is well"' in lines[0]


def test_a_token_in_a_message_is_blotted_out() -> None:
    (line,) = lines_of(failed_request(detail="sent apikey s3cret"), blot=Blotter("s3cret", "").text)
    assert line["detail"] == "sent apikey ***"


def test_an_infinite_number_is_still_json() -> None:
    (line,) = lines_of(events.Paused(reason="outage", wait_s=float("inf")))
    assert line["event"] == "paused"


def test_times_for_people_are_short() -> None:
    assert briefly(START) == "2024-01-01T00:00Z"
    assert briefly(START + timedelta(seconds=5)) == "2024-01-01T00:00:05Z"
    assert briefly(START + timedelta(milliseconds=5)) == "2024-01-01T00:00:00.005Z"


def test_text_within_the_bound_is_left_alone() -> None:
    assert printable("Grüße, 東京 🙂") == "Grüße, 東京 🙂"


# --- the counters


def test_counters_add_up() -> None:
    counters = Counters()
    counters(events.RunStarted(out="out", windows=5, done_before=2))
    happened: list[events.Event] = [
        *[events.RequestSent()] * 4,
        page(),
        page(),
        failed_request(),
        failed_request("Throttled"),
        done(10),
        done(5),
    ]
    for event in happened:
        counters(event)
    counters(events.WindowFailed(start=START, end=START + HOUR, error="x"))
    assert (counters.windows, counters.windows_done, counters.windows_failed) == (5, 2, 1)
    assert (counters.requests, counters.retries, counters.throttled) == (4, 2, 1)
    assert (counters.received_bytes, counters.decoded_bytes, counters.records) == (200, 1800, 15)


def test_the_time_left_follows_the_rate_of_late() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters(events.RunStarted(out="out", windows=100, done_before=0))
    assert counters.eta_s is None
    for _ in range(10):
        clock.now += 1
        counters(done(100))
    assert counters.eta_s == pytest.approx(90.0)
    assert counters.recent_records_per_s == pytest.approx(100.0)
    clock.now += 10  # nothing comes: it will take longer
    assert counters.eta_s == pytest.approx(180.0)


def test_the_rate_forgets_what_is_long_ago_and_remembers_little() -> None:
    clock = Clock()
    recent = Recent(clock, over_s=30)
    for second in range(10_000):
        clock.now += 0.1
        recent.at(float(second))
    assert len(recent._samples) < 100
    assert recent.per_s() == pytest.approx(10.0, rel=0.05)


def test_a_pause_is_shown_until_it_is_over() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters(events.Paused(reason="Throttled", wait_s=5))
    counters(events.Paused(reason="Throttled", wait_s=2))
    clock.now += 1
    assert counters.paused_s == pytest.approx(4.0)
    clock.now += 10
    assert counters.paused_s == 0


# --- the writer


def test_a_reader_that_stands_still_does_not_hold_up_who_writes() -> None:
    gate, seen = threading.Event(), list[str]()

    def write(lines: str) -> None:
        gate.wait(5)
        seen.extend(lines.splitlines())

    with Writer(write, lambda lines: f"({lines} dropped)", most_waiting=10) as writer:
        for number in range(100):
            writer.put(str(number))  # would never come back if it waited
        gate.set()
    assert seen[0] == "0"
    assert len(seen) < 20
    (told,) = [line for line in seen if "dropped" in line]
    assert told == f"({100 - (len(seen) - 1)} dropped)"


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed")])
def test_a_reader_that_is_gone_is_no_error(error: Exception) -> None:
    calls, called = [], threading.Event()

    def write(lines: str) -> None:
        calls.append(lines)
        called.set()
        raise error

    with Writer(write, str) as writer:
        writer.put("line")
        assert called.wait(10)
        for _ in range(5):
            writer.put("more")
    assert calls == ["line"]


def test_lines_that_come_together_leave_together() -> None:
    calls: list[str] = []
    with Writer(calls.append, str) as writer:
        for number in range(1000):
            writer.put(str(number))
    assert "\n".join(calls).split("\n") == [str(number) for number in range(1000)]
    assert len(calls) < 100


def test_the_exit_does_not_wait_for_ever_for_a_reader() -> None:
    gate = threading.Event()
    writer = Writer(lambda line: gate.wait(10), str).__enter__()
    writer.put("line")
    writer.close(deadline_s=0.01)
    assert writer._thread.is_alive()
    gate.set()


# --- what is shown where


@pytest.fixture
def plain() -> io.StringIO:
    return io.StringIO()


def said(telemetry: Telemetry) -> None:
    telemetry.emit(events.RunStarted(out="out", windows=2, done_before=0))
    telemetry.emit(page())
    telemetry.emit(done())
    telemetry.emit(failed_request())
    telemetry.emit(events.WindowFailed(start=START, end=START + HOUR, error="gave [bold]up"))


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (-1, ["window_failed"]),
        (0, ["run_started", "window_done", "request_failed", "window_failed"]),
        (1, ["run_started", "page_fetched", "window_done", "request_failed", "window_failed"]),
    ],
)
def test_away_from_a_terminal_there_are_json_lines(
    verbosity: int, shown: list[str], plain: io.StringIO
) -> None:
    with listening(stream=plain, verbosity=verbosity, environ={}) as telemetry:
        said(telemetry)
    assert [json.loads(line)["event"] for line in plain.getvalue().splitlines()] == shown


def test_text_can_be_asked_for_anywhere(plain: io.StringIO) -> None:
    with listening(stream=plain, format="console", environ={}) as telemetry:
        said(telemetry)
    assert "window_failed" in plain.getvalue()
    assert "\x1b" not in plain.getvalue()


def test_what_libraries_log_does_not_get_between_our_lines(plain: io.StringIO) -> None:
    before = list(logging.getLogger().handlers)
    with listening(stream=plain, verbosity=1, environ={}):
        logging.getLogger("aiohttp").warning("trouble with %s", "x\ny")
    (line,) = [json.loads(line) for line in plain.getvalue().splitlines()]
    assert (line["event"], line["library"], line["text"]) == ("library_said", "aiohttp", "trouble with x\\ny")
    assert logging.getLogger().handlers == before


def test_what_a_library_logs_wrongly_does_no_harm() -> None:
    lines: list[str] = []
    wrong = logging.LogRecord("x", logging.ERROR, "x.py", 1, "wrong %d %d", (1,), None)
    Foreign(Log(lines.append, json=True, level=logging.DEBUG)).emit(wrong)
    assert lines == []


class Terminal:
    """A pseudo terminal's writing end, and all that was written to it."""

    def __init__(self) -> None:
        self._reading, writing = os.openpty()
        self.stream = os.fdopen(writing, "w", encoding="utf-8")

    def text(self) -> str:
        self.stream.flush()
        os.set_blocking(self._reading, False)
        got = b""
        while True:
            try:
                got += os.read(self._reading, 65536)
            except OSError:
                return got.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._reading)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_on_a_terminal_there_is_a_bar_with_the_worries_below(terminal: Terminal) -> None:
    with listening(stream=terminal.stream, environ={"TERM": "xterm", "COLUMNS": "120"}) as telemetry:
        said(telemetry)
        telemetry.emit(events.Paused(reason="the server said [so]", wait_s=60))
    text = terminal.text()
    assert "2/2 windows" in text
    assert "10 records" in text
    assert "1 retry" in text
    assert "1 failed" in text
    assert "the server said [so]" in text
    assert "window_failed" in text  # an error has its line
    assert "gave [bold]up" in text
    assert "window_done" not in text  # the bar tells that


def test_with_no_color_nothing_is_coloured(terminal: Terminal) -> None:
    with listening(stream=terminal.stream, environ={"TERM": "xterm", "NO_COLOR": "1"}) as telemetry:
        said(telemetry)
    text = terminal.text()
    assert "2/2 windows" in text
    assert "\x1b[3" not in text
    assert "\x1b[9" not in text


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm", "quiet": "yes"}])
def test_no_bar_where_the_cursor_cannot_move_or_none_is_wanted(
    terminal: Terminal, environ: dict[str, str]
) -> None:
    verbosity = -1 if "quiet" in environ else 0
    with listening(stream=terminal.stream, environ=environ, verbosity=verbosity) as telemetry:
        said(telemetry)
    assert "windows" not in terminal.text().replace('"windows"', "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0:00"), (7, "0:07"), (187, "3:07"), (3600, "1:00:00"), (7451, "2:04:11"), (400_000, "4 d 15 h")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text
