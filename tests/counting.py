"""Runs `harvester` in this process and counts the calls of functions that it makes: `python -m tests.counting
WORDS...` prints the number last. Nothing is timed: a busy machine changes the number by a per cent or two, by
how often a task has to wait.
"""

import itertools
import sys
import threading
from types import FrameType
from typing import Any

from harvester.cli import main


def counted(words: list[str]) -> int:
    """Calls of Python's functions and of C's, in all threads; a coroutine that goes on counts as one."""
    calls = itertools.count()

    def count(frame: FrameType, event: str, arg: Any) -> None:
        if event in ("call", "c_call"):
            next(calls)

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        code = main(words)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if code:
        raise SystemExit(code)
    return next(calls)


if __name__ == "__main__":
    print(counted(sys.argv[1:]))
