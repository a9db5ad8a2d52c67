"""Keys that stand twice, found without holding the keys: digests go to files of a temporary folder, bucket by
bucket, and each bucket is compared alone, in passes where it is large. So memory has a bound.
"""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, Self

from harvester.dialects import Key

BUCKETS: Final = 64
"""Files that are open at once."""
HELD: Final = 500_000
"""Digests that are compared at a time: some 50 MB. Of 32 million keys each bucket takes one pass."""
TWICE_AT_MOST: Final = 10_000
"""Keys that stand twice and are looked for by name; any more of them are only counted."""
_DIGEST_BYTES: Final = 16
_READ_BYTES: Final = _DIGEST_BYTES << 12


def digest(key: Key) -> bytes:
    return hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


class Keys:
    """`with Keys(folder) as keys`: add them all, then ask once which are doubled."""

    def __init__(self, folder: Path, *, held: int = HELD) -> None:
        self._folder = folder
        self._held = held
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = []
        self._counts = [0] * BUCKETS

    def __enter__(self) -> Self:
        self._files = [
            self._stack.enter_context((self._folder / f"keys-{number}").open("w+b"))
            for number in range(BUCKETS)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, key: Key) -> None:
        one = digest(key)
        bucket = one[0] % BUCKETS
        self._counts[bucket] += 1
        self._files[bucket].write(one)

    def doubled(self) -> tuple[set[bytes], int]:
        """Digests of keys that stand twice, up to TWICE_AT_MOST of them, and how many there are in all."""
        twice: set[bytes] = set()
        number = 0
        for file, count in zip(self._files, self._counts, strict=True):
            passes = 1 + count // self._held
            for turn in range(passes):
                found = self._in_a_pass(file, turn, passes)
                number += len(found)
                twice.update(sorted(found)[: TWICE_AT_MOST - len(twice)])
        return twice, number

    @staticmethod
    def _in_a_pass(file: IO[bytes], turn: int, passes: int) -> set[bytes]:
        seen: set[bytes] = set()
        twice: set[bytes] = set()
        file.seek(0)
        while block := file.read(_READ_BYTES):
            for at in range(0, len(block), _DIGEST_BYTES):
                one = block[at : at + _DIGEST_BYTES]
                if passes == 1 or int.from_bytes(one[1:5]) % passes == turn:
                    (twice if one in seen else seen).add(one)
        return twice
