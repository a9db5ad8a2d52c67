"""SIGTERM and SIGINT while a run goes on: the first drains, the second cuts short, none kills in between.

One handler stands from before the loop until the summary is out. Handlers of the loop would leave two
moments, before it starts and after it ends, in which a signal kills the process without a word.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

OBEYED = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """`drain` and `cancel` are called on the loop. Before `attend`, a signal is a KeyboardInterrupt."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: list[Callable[[], None]] = []
        self._deaf = False

    def attend(self, drain: Callable[[], None], cancel: Callable[[], None]) -> None:
        """To be called on the running loop."""
        self._calls = [drain, cancel]
        self._loop = asyncio.get_running_loop()

    def ignore(self) -> None:
        """From here on the run has ended and is only being told."""
        self._deaf = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self._deaf:
            return
        if self._loop is None:
            raise KeyboardInterrupt
        if self._calls:
            self._loop.call_soon_threadsafe(self._calls.pop(0))


def obeyed() -> Signals:
    """From now on; whoever called the command line gives the handlers back at its end."""
    signals = Signals()
    if threading.current_thread() is threading.main_thread():  # only it may; a test may run elsewhere
        for number in OBEYED:
            signal.signal(number, signals.handle)
    return signals
