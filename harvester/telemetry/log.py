"""The log: every event becomes one line, an event name plus keys, the same keys everywhere.

JSON lines for machines, aligned text for people. A value is bounded in length and printable: what is in a
record may end up in an event, and must neither flood the log nor move the cursor. Tokens and bodies never get
here: events do not carry them, and `blot` takes them out of what somebody else's library has to say.
"""

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson

from harvester import events
from harvester.printable import LONGEST, printable

Line = dict[str, Any]
LONGEST_TRACE = 20_000

LEVELS: Mapping[type[events.Event], int] = {
    events.RunStarted: logging.INFO,
    events.RequestSent: logging.DEBUG,
    events.PageFetched: logging.DEBUG,
    events.RequestFailed: logging.WARNING,
    events.Paused: logging.WARNING,
    events.TokenRejected: logging.WARNING,
    events.RowsMoved: logging.WARNING,
    events.WindowSplit: logging.WARNING,
    events.RecordQuarantined: logging.WARNING,
    events.WindowDone: logging.INFO,
    events.WindowFailed: logging.ERROR,
    events.ShardSealed: logging.INFO,
    events.PartitionPublished: logging.INFO,
    events.FileDamaged: logging.WARNING,
    events.ManifestChanged: logging.WARNING,
    events.FileForeign: logging.WARNING,
    events.FieldNeverSeen: logging.WARNING,
    events.ContractChanged: logging.WARNING,
    events.ServerClockBehind: logging.WARNING,
    events.ClockWentBack: logging.WARNING,
    events.ColumnWidened: logging.WARNING,
    events.DrainBegan: logging.WARNING,
    events.RunEnded: logging.INFO,
}
"""An event that is not here is told at info."""

_NAMES: Mapping[int, str] = {
    level: logging.getLevelName(level).lower()
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
}


def utc(time: datetime) -> str:
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def briefly(time: datetime) -> str:
    """For people: 2024-01-01T00:00Z, with seconds and milliseconds only where there are any."""
    return utc(time).replace(".000Z", "Z").replace(":00Z", "Z")


def name(event: events.Event) -> str:
    """The event's name in a line: WindowDone is `window_done`."""
    kind: Any = type(event)
    return _told(kind)[0]


def _snake(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def keys(event: events.Event) -> dict[str, Any]:
    kind: Any = type(event)
    return {field: getattr(event, field) for field in _told(kind)[1]}


@cache
def _told(kind: Any) -> tuple[str, tuple[str, ...]]:
    """The name of an event and those of its fields."""
    return _snake(kind), tuple(field.name for field in dataclasses.fields(kind))


class Log:
    """A listener that hands each event as one finished line to `put`."""

    def __init__(
        self,
        put: Callable[[str], object],
        *,
        json: bool,
        level: int = logging.INFO,
        colors: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        blot: Callable[[str], str] = str,
    ) -> None:
        self._blot = blot
        self._clock = clock
        self._level = level
        self._json = json
        self._put = put
        self._render: Callable[[Line], str] = _as_json
        if not json:
            from harvester.telemetry.console import renderer  # it imports much, and few runs are watched

            self._render = renderer(colors, widest=max(map(len, map(_snake, LEVELS))))

    def __call__(self, event: events.Event) -> None:
        level = LEVELS.get(type(event), logging.INFO)
        if level >= self._level:  # most events are pages, and gathering keys costs more than asking here
            self.note(level, name(event), **keys(event))

    def note(self, level: int, event: str, /, **keys: Any) -> None:
        """A line that no event stands for: what the command line has to say."""
        if level < self._level:
            return
        now = self._clock()
        line: Line = {
            "timestamp": utc(now) if self._json else now.astimezone().strftime("%H:%M:%S"),
            "level": _NAMES[level],
            "event": event,
        }
        for key, value in keys.items():
            line[key] = self._tamed(key, value)
        self._put(self._render(line))

    def _tamed(self, key: str, value: Any) -> Any:
        match value:
            case None | bool() | int():
                return value
            case float():
                return round(value, 3)
            case datetime():
                return utc(value) if self._json else briefly(value)
            case _:
                text = self._blot(str(value))
                return printable(text, LONGEST_TRACE if key == "trace" else LONGEST)


class Foreign(logging.Handler):
    """Takes what libraries say through `logging` into the log, as `library_said` at debug: their lines have
    no keys, and what matters in them reaches the log as an event anyway."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.note(logging.DEBUG, "library_said", library=record.name, text=record.getMessage())
        except Exception:  # a listener must not raise, whatever a library hands to it
            return


def _as_json(line: Line) -> str:
    return orjson.dumps(line, option=orjson.OPT_PASSTHROUGH_DATETIME, default=str).decode()
