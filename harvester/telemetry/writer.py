"""The writer: lines leave by a thread of their own, so that whoever reads them slowly does not slow the
harvest.

They leave in lots: to wake a thread and to write cost more than to make a line, and nobody reads twenty
times a second.

A terminal stopped with Ctrl-S, or a pipe whose reader sleeps, blocks this thread only. When too many lines
wait the newest are dropped and counted, and the count is told as soon as lines flow again.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType

MOST_WAITING = 10_000
"""About 3 MB of lines; a reader that far behind is not reading."""
LOT_S = 0.05
"""What is said in this time leaves together."""


class Writer:
    """Hands lines to `write`, in order, those of a lot with line ends between them. A `write` that fails (the
    reader is gone) ends the talk, not the run.
    """

    def __init__(
        self, write: Callable[[str], object], dropped: Callable[[int], str], most_waiting: int = MOST_WAITING
    ) -> None:
        self._write = write
        self._tell_dropped = dropped
        self._most_waiting = most_waiting
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._dropped = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, line: str) -> None:
        if self._lines.qsize() >= self._most_waiting:
            self._dropped += 1
        else:
            self._lines.put(line)

    def close(self, deadline_s: float = 2.0) -> None:
        """Waits for what is still to be written, but not for ever: a stopped terminal must not hold the
        exit.
        """
        self._lines.put(None)
        self._closing.set()
        self._thread.join(deadline_s)

    @property
    def is_at_work(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        reader_is_there = True
        while lot := self._lot():
            if not reader_is_there:
                continue
            try:
                self._write("\n".join(lot))
                if self._dropped and self._lines.qsize() < self._most_waiting // 2:
                    dropped, self._dropped = self._dropped, 0
                    self._write(self._tell_dropped(dropped))
            except BlockingIOError:
                self._dropped += len(lot)
            except (OSError, ValueError):  # ValueError: the stream was closed
                reader_is_there = False

    def _lot(self) -> list[str]:
        """At least one line; none at the end."""
        line = self._lines.get()
        if line is None:
            return []
        lot = [line]
        self._closing.wait(LOT_S)
        for _ in range(self._lines.qsize()):
            line = self._lines.get()
            if line is None:
                self._lines.put(None)
                break
            lot.append(line)
        return lot
