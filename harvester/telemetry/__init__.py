"""Telemetry: who listens to the events. A log of lines, a bar on a terminal, counters for the summary.

`listening` is the one way in: it decides by the stream and the user's flags what is shown, and hands out one
`emit`. Whatever is shown goes to the stream given (stderr); stdout belongs to the command's answer.
Listeners neither raise nor block: lines leave by a thread, and the bar reads the counters by another.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO

from harvester import events
from harvester.telemetry.counters import Counters, duration
from harvester.telemetry.log import Foreign, Log
from harvester.telemetry.writer import Writer

__all__ = ["Counters", "Telemetry", "duration", "listening"]


class Telemetry:
    """What a run talks to: `emit` is handed to the rooms, `note` is for the command line, `counters` for the
    summary.
    """

    def __init__(self, counters: Counters, log: Log, writer: Writer, *, on_terminal: bool) -> None:
        self.counters = counters
        self._writer = writer
        self.on_terminal = on_terminal
        self._log = log

    def emit(self, event: events.Event) -> None:
        self.counters(event)
        self._log(event)

    @property
    def is_stuck(self) -> bool:
        """Whether a line is still on its way into the stream, after all has ended: nobody reads there."""
        return self._writer.is_at_work

    def note(self, level: int, event: str, /, **keys: Any) -> None:
        self._log.note(level, event, **keys)


def wants_console(format: str, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """`auto` is text on a terminal that can move its cursor, JSON lines anywhere else."""
    return format == "console" or (format == "auto" and _is_terminal(stream, environ))


def level_of(verbosity: int, *, with_bar: bool) -> int:
    """-1 is --quiet, 1 is -v, 2 is -vv. Beside a bar the windows need no lines of their own: there it starts
    at warning.
    """
    steps = [logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG]
    start = 1 if with_bar else 2
    return logging.ERROR if verbosity < 0 else steps[min(start + verbosity, 3)]


@contextmanager
def listening(
    *,
    stream: TextIO,
    format: str = "auto",
    verbosity: int = 0,
    environ: Mapping[str, str] = os.environ,
    blot: Callable[[str], str] = str,
) -> Iterator[Telemetry]:
    counters = Counters()
    console = wants_console(format, stream, environ)
    terminal = _is_terminal(stream, environ)
    with_bar = console and terminal and verbosity >= 0
    with ExitStack() as stack:
        if with_bar:
            from harvester.telemetry.progress import Bar  # it imports much, and few runs are watched

            show = stack.enter_context(Bar(counters, stream, environ)).print
        else:
            show = _printer(stream)
        writer = stack.enter_context(Writer(show, lambda lines: f"({lines} lines were dropped here)"))
        log = Log(
            writer.put,
            json=not console,
            level=level_of(verbosity, with_bar=with_bar),
            colors=console and terminal and not environ.get("NO_COLOR"),
            blot=blot,
        )
        stack.enter_context(_foreign_lines(log))
        yield Telemetry(counters, log, writer, on_terminal=console and terminal)


def _is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    return stream.isatty() and environ.get("TERM") not in ("dumb", "unknown")


def _printer(stream: TextIO) -> Any:
    def show(line: str) -> None:
        stream.write(line + "\n")
        stream.flush()

    return show


@contextmanager
def _foreign_lines(log: Log) -> Iterator[None]:
    """While we listen, what libraries log goes by us; else asyncio and aiohttp print stack traces between
    our lines.
    """
    root = logging.getLogger()
    handler = Foreign(log)
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
