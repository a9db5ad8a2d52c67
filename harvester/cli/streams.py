"""stdout and stderr, which may be closed, full, or piped to a reader that has gone.

A reader that leaves early (`| head`) changes neither what a command does nor its exit code. It
imports little: `--help` comes by.
"""

import os
import sys
from typing import TextIO

from harvester.errors import StorageError


def tolerate() -> None:
    """A file's name may hold what the terminal cannot show; that is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def hold() -> None:
    """For a process of our own: descriptors 0 to 2 that were closed lead to nowhere. Else the next socket or
    shard gets such a number, what is said ends up in it, and libuv aborts when it closes one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def say(line: str = "", *, end: str = "\n") -> None:
    """On stdout: the answer. StorageError where it cannot be written."""
    _write(sys.stdout, line + end)


def talk(line: str, *, end: str = "\n") -> None:
    """On stderr: whatever is not the answer. Nobody hears it? Then so be it."""
    try:
        _write(sys.stderr, line + end)
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError, StorageError):
        _silence(sys.stderr)


def flush() -> None:
    """Finds out here what could not be written, and not when the interpreter ends and nobody can tell."""
    _write(sys.stdout, "", flush=True)


def _write(stream: TextIO | None, text: str, *, flush: bool = False) -> None:
    if stream is None:  # closed before we came
        return
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        raise StorageError(f"stdout could not be written: {error.strerror}; the answer is lost") from None


def _silence(stream: TextIO | None) -> None:
    """What is still buffered goes nowhere: else the interpreter tries again at its end, and complains."""
    try:
        descriptor = stream.fileno() if stream is not None else -1
    except (OSError, ValueError):  # a test's
        return
    if descriptor in (1, 2):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
