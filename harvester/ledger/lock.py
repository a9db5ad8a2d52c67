"""One writer for an output, by a lock on `OUT/_harvest/lock`."""

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from harvester.errors import Locked, StorageError

_TRIES: Final = 3
_TRY_S: Final = 0.02


def is_held(home: Path) -> bool:
    """Whether a run is at work on the output."""
    try:
        file = os.open(home / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(file)


class Lock:
    """Holds an output for one writer. Freed by the kernel when the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lock"
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._take()
        except OSError as error:
            held = self._file >= 0 and error.errno in (errno.EWOULDBLOCK, errno.EACCES)
            self._close()
            if held:
                raise Locked(
                    f"{self._path.parent.parent}: another run holds this output; wait for it to end"
                ) from None
            raise StorageError(f"{self._path}: cannot be locked: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _take(self) -> None:
        """Tried for a moment, since `is_held` holds the lock for the blink of an eye."""
        for attempt in range(_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(_TRY_S)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
