"""SIGTERM and SIGINT, from the first line of `run` to its last: none kills without a summary.

What a signal does, by how far the run has come:

* Loading and reading the job: nothing is begun, so the process says that and ends there and then. Not by an
  exception: out of the middle of an import it would come as something else, or as a traceback.
* From when the log is there until the loop runs: it is kept.
* Harvesting: the first drains, the second cuts short. Handlers of the loop would leave two moments, before
  it starts and after it ends, in which a signal kills.
* Telling how it ended: it is ignored.

Imports next to nothing: until the first handler stands, a signal kills.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import asyncio

OBEYED: Final = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED: Final = 75  # errors.EXIT_INTERRUPTED

_NOTHING_DONE: Final = (
    '{"status": "%s", "exit_code": %d, "windows": {"total": 0, "done": 0, "failed": 0}, "gaps": [], '
    '"requests": 0, "retries": 0, "throttled": 0, "records": 0, "records_written": 0, '
    '"duplicates_dropped": 0, "outside_window_dropped": 0, "bytes": {"received": 0, "decoded": 0}, '
    '"bytes_written": 0, "elapsed_s": 0.0, "records_per_s": 0.0, "shards": 0, "out": "", '
    '"error": "ended before it began; run again"}'
)


def nothing_done(status: str, exit_code: int) -> str:
    """The summary of a run that ended before it had a job to speak of, made without anything that would
    first have to be imported.
    """
    return _NOTHING_DONE % (status, exit_code)


def end_at_once() -> None:
    """From now on a signal ends the process, with a summary. For a process of our own, before the run."""
    _on_signal(_end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    ignore()  # the next one must not come in between
    for descriptor, line in (
        (2, "harvester: interrupted\n"),
        (1, nothing_done("interrupted", _INTERRUPTED) + "\n"),
    ):
        try:
            os.write(descriptor, line.encode())
        except OSError:  # closed, or its reader is gone
            continue
    os._exit(_INTERRUPTED)


def ignore() -> None:
    _on_signal(signal.SIG_IGN)


def _on_signal(handler: "Callable[[int, FrameType | None], None] | signal.Handlers") -> None:
    if threading.current_thread() is threading.main_thread():  # only it may; a test may run elsewhere
        for number in OBEYED:
            signal.signal(number, handler)


class Signals:
    """`drain` and `cancel` are called on the loop. A signal before `attend` is delivered there."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: list[Callable[[], None]] = []
        self._kept = 0
        self._deaf = False

    def attend(
        self, loop: "asyncio.AbstractEventLoop", drain: Callable[[], None], cancel: Callable[[], None]
    ) -> None:
        """To be called on the running loop."""
        self._calls = [drain, cancel]
        self._loop = loop
        for _ in range(self._kept):
            self._deliver(loop)

    def ignore(self) -> None:
        """From here on the run has ended and is only being told."""
        self._deaf = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self._deaf:
            return
        if self._loop is None:
            self._kept += 1
        else:
            self._deliver(self._loop)

    def _deliver(self, loop: "asyncio.AbstractEventLoop") -> None:
        if self._calls:
            loop.call_soon_threadsafe(self._calls.pop(0))


def obeyed() -> Signals:
    """From now on; whoever called the command line gives the handlers back at its end."""
    signals = Signals()
    _on_signal(signals.handle)
    return signals
