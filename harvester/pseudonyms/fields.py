"""Which fields are replaced, and the key: HMAC-SHA-256 over path and value, in hexadecimal.

The key alone protects: there are ten thousand million phone numbers, and whoever has the key, or can guess
it, tries them all in seconds. So it is held here and shown nowhere; its id tells two keys apart and gives
nothing away.
"""

import hmac
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from harvester.dialects import Reject, names_of
from harvester.pseudonyms.message import value_of
from harvester.pseudonyms.record import Node, rewritten

LEAST_KEY: Final = 32
"""Characters: 128 bits, as the shortest key that nobody can try out, are so many in hexadecimal."""
_KEY_ID: Final = b"harvester: id of a pseudonym key"
_ITEM: Final = b"item:"
_SETTING: Final = b"setting:"
"""No message of a field begins like one of these: a path begins with a digit."""
_KEY_ID_BYTES: Final = 8


class Pseudonyms:
    """Replaces values in records; one for a run, used by several threads at once."""

    def __init__(self, paths: Iterable[str], key: str) -> None:
        """ValueError for a path that cannot be one, or a key that is too short."""
        if len(key) < LEAST_KEY:
            raise ValueError(f"has {len(key)} characters, at least {LEAST_KEY} are needed")
        self._root = Node()
        self._places = {path: self._root.at(names_of(path)) for path in paths}
        for place in self._places.values():
            place.is_leaf = True
        own = key.encode()

        def digest(message: bytes) -> str:
            return hmac.digest(own, message, "sha256").hex()

        self._hmac = digest  # in a closure, so that nothing that shows attributes shows the key
        self.key_id = digest(_KEY_ID)[: 2 * _KEY_ID_BYTES]
        """The same for the same key, and no help in finding it."""

    def __repr__(self) -> str:
        return f"Pseudonyms(key_id={self.key_id!r})"

    def record(self, raw: bytes) -> bytes:
        """`raw`, valid JSON, with the values at the paths replaced and not another byte changed."""
        return rewritten(raw, self._root, self._replacement)

    def never_seen(self) -> list[str]:
        """Paths at which no record had anything so far: misspelt, perhaps."""
        return [path for path, place in self._places.items() if not place.is_seen]

    def _replacement(self, prefix: bytes, token: bytes) -> bytes | None:
        value = value_of(token)
        return None if value is None else b'"%b"' % self._hmac(prefix + value).encode()

    def reject(self, reject: Reject) -> Reject:
        """What could not be read cannot be searched for fields either: its reason stays, with a digest that
        tells one item from another."""
        told = f"hmac-sha256 {self._hmac(_ITEM + reject.raw)} of {len(reject.raw)} bytes"
        return replace(reject, raw=told.encode())

    def setting(self, text: bytes) -> str:
        """Stands for a setting of the job that may hold a value."""
        return f"hmac-sha256 {self._hmac(_SETTING + text)}"


def overlapping(one: str, other: str) -> bool:
    """Whether two paths are the same, or one holds the other."""
    here, there = names_of(one), names_of(other)
    return here[: len(there)] == there or there[: len(here)] == here
