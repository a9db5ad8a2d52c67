"""Processes forked from one without threads or a loop: a run, or a case of a sweep with all its runs."""

import gc
import os
import shutil
import sys
import traceback
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson

from tests.disks.report import Report

AT_ONCE: Final = len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2
"""Cases. One more than there are cores: their reports are taken in order, and one may be slow."""


def played(running: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it returns; `error` alone where it raised."""
    try:
        return running()
    except BaseException as error:
        return {"error": "".join(traceback.format_exception(error))[-3000:]}


class Forked:
    """A process that plays `running` and is gone."""

    def __init__(self, running: Callable[[], dict[str, Any]]) -> None:
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._reader)
                told = played(running)
                with open(writer, "wb") as file:
                    file.write(orjson.dumps(told))
            finally:
                os._exit(0)
        os.close(writer)

    def end(self) -> dict[str, Any] | None:
        """Waits for what was `played`; None where it was killed."""
        with open(self._reader, "rb") as file:
            content = file.read()
        _, status = os.waitpid(self._pid, 0)
        return orjson.loads(content) if os.WIFEXITED(status) else None


def in_a_process(running: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    return Forked(running).end()


class Cases:
    """The cases of a sweep, several at once; what they report is added up in the order of the cases."""

    def __init__(self, folder: Path, report: Report, *, until_wrong: bool = False) -> None:
        self._folder = folder
        self._report = report
        self._until_wrong = until_wrong
        self._numbers = count()
        self._under_way: deque[Forked] = deque()
        gc.freeze()  # else each process looks through all that is there, and so copies it

    @property
    def is_over(self) -> bool:
        """A wrong one was to be found, and was."""
        return self._until_wrong and bool(self._report.wrong)

    def play(self, case: Callable[[Path, Report], None]) -> None:
        """`case` gets a name for a folder of its own and a report to write. Waits while enough are under
        way.
        """
        while len(self._under_way) >= AT_ONCE:
            self._take()
        if self.is_over:
            return
        world = self._folder / f"world-{next(self._numbers)}"

        def playing() -> dict[str, Any]:
            report = Report()
            case(world, report)
            shutil.rmtree(world)
            return report.told()

        self._under_way.append(Forked(playing))

    def finish(self) -> None:
        while self._under_way:
            self._take()

    def _take(self) -> None:
        told = self._under_way.popleft().end()
        if self.is_over:
            return
        if told is None or "error" in told:
            told = {"counts": {}, "wrong": [f"a case ended in an error: {told}"]}
        self._report.add(told)
        for one in told["wrong"]:
            print(one[:1000], file=sys.stderr, flush=True)  # now: the end may be half an hour off
