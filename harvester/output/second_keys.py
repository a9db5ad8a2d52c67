"""How many records of a partition share their second key with another one under another key.

All that pass are noted: sixteen bytes each, in a file without a name that goes with the process. They are
counted when the partition is published, in passes over that file that hold a part of the keys each, so memory
is bounded however large the partition. The count follows from the records alone.
"""

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import IO, Final

from harvester.dialects import Key, Raw, Row
from harvester.errors import StorageError

NOTED: Final = 1 << 16
"""Records whose hashes wait in memory: 1 MiB."""
AT_ONCE: Final = 250_000
"""Second keys that one pass holds: some 25 MiB."""
_KEY: Final = itemgetter(1)
_RAW: Final = itemgetter(3)


class SecondKeys:
    """Of one build. `read` finds the second keys in records' bytes. Raises StorageError where the file cannot
    be written."""

    def __init__(self, read: Callable[[Sequence[Raw]], Sequence[bytes | None]], folder: Path) -> None:
        self._read = read
        self._folder = folder
        self._noted = array("q")
        self._file: IO[bytes] | None = None
        self._records = 0
        self._with_one = 0

    def through(self, chunks: Iterable[list[Row]]) -> Iterator[list[Row]]:
        """The rows themselves, noted as they pass."""
        for rows in chunks:
            self._records += len(rows)
            seconds = self._read(list(map(_RAW, rows)))
            keys: Iterable[Key] = map(_KEY, rows)
            if None in seconds:
                known = [
                    (second, row[1]) for second, row in zip(seconds, rows, strict=True) if second is not None
                ]
                seconds, keys = [second for second, _ in known], [key for _, key in known]
            pairs = array("q", bytes(16 * len(seconds)))
            pairs[::2] = array("q", map(hash, seconds))
            pairs[1::2] = array("q", map(hash, keys))
            self._noted.extend(pairs)
            if len(self._noted) >= 2 * NOTED:
                self._spool()
            yield rows

    def note(self, chunks: Iterable[list[Row]]) -> None:
        for _ in self.through(chunks):
            pass

    def _spool(self) -> None:
        self._with_one += len(self._noted) // 2
        with self._explained("write"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)
            self._file.write(self._noted.tobytes())
        del self._noted[:]

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self._folder}: cannot {what} a temporary file: {error.strerror}; see that there is space, "
                "then run again to go on"
            ) from error

    def shared(self) -> int | None:
        """None where there are records and none of them has the field: the job did not ask for it."""
        if self._file is not None:
            self._spool()
        with_one = self._with_one + len(self._noted) // 2
        if self._records and not with_one:
            return None
        passes = 1 + with_one // AT_ONCE
        with self._explained("read"):  # and what `seek` flushes is written
            return sum(self._shared_of(number, passes) for number in range(passes))

    def _shared_of(self, number: int, passes: int) -> int:
        """Those whose second key is the `number`-th in `passes` when its hash is divided by them."""
        seen: set[int] = set()
        twice: set[int] = set()
        for block in self._blocks():
            seconds: Sequence[int] = block[::2]
            if passes > 1:
                seconds = [second for second in seconds if second % passes == number]
            here = set(seconds)
            twice |= here & seen
            seen |= here
            if len(here) < len(seconds):
                twice.update(second for second, count in Counter(seconds).items() if count > 1)
        if not twice:
            return 0
        keys: dict[int, set[int]] = {second: set() for second in twice}
        counts = dict.fromkeys(twice, 0)
        for block in self._blocks():
            for place, second in enumerate(block[::2]):
                if second in twice:
                    counts[second] += 1
                    if len(keys[second]) < 2:
                        keys[second].add(block[2 * place + 1])
        return sum(count for second, count in counts.items() if len(keys[second]) > 1)

    def _blocks(self) -> Iterator["array[int]"]:
        if self._file is None:
            yield self._noted
            return
        self._file.seek(0)
        while content := self._file.read(16 * NOTED):
            yield array("q", content)

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what it could not write before is told, and nobody reads it
                self._file.close()
            self._file = None
