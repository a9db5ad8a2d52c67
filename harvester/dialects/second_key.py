"""A second field by which a record is known, read from its bytes: two records may share it and are kept both,
but how many do is counted.

It is looked for in every record that is written, so the usual case costs no call for a record: where the
field stands plainly at the top, and in all of them at the same place. What is not plain goes through the
parser.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from struct import iter_unpack
from typing import Any

import msgspec
import orjson
from msgspec import UNSET

from harvester.dialects.lens import dig, nested
from harvester.dialects.schema import names_of
from harvester.dialects.values import Raw


@cache
def second_key_reader(path: str) -> Callable[[Sequence[Raw]], Sequence[bytes | None]]:
    """From records' bytes to what stands in the field of each, as bytes that are equal where it is; None
    where it is null or missing. For records that `Dialect.read` gave. Every partition asks for one, and it is
    made once: classes are made with it."""
    names = names_of(path)
    kind, attributes = nested({names: (Any, False)})
    decoder, attribute = msgspec.json.Decoder(kind), attributes[names]
    name = orjson.dumps(names[-1])
    opening = name + b':"'

    def parsed(raw: Raw) -> bytes | None:
        try:
            value = dig(decoder.decode(raw), attribute)
        except (msgspec.MsgspecError, RecursionError):  # something else than an object on the way there
            return None
        if value is None or value is UNSET:
            return None
        return value.encode() if isinstance(value, str) else msgspec.json.encode(value)

    def read(view: Raw) -> bytes | None:
        raw = bytes(view)
        at = raw.find(opening)
        if at < 0 and name not in raw and b"\\" not in raw:
            return None
        # Before the name one brace and no escape: so it stands at the top, and in no text.
        before = raw[:at] if at > 0 else b"\\"
        if b"\\" in before or b"[" in before or before.count(b"{") != 1:
            return parsed(raw)
        start = at + len(opening)
        value = raw[start : raw.find(b'"', start)]
        return parsed(raw) if b"\\" in value else value

    def at_one_place(raws: Sequence[Raw]) -> list[bytes] | None:
        """None where it does not stand at the place in all that it has in the first, and as long."""
        first = bytes(raws[0]) if raws else b""
        at = first.find(opening)
        start = at + len(opening)
        end = first.find(b'"', start) if at > 0 else -1
        if end < 0:
            return None
        many, width = len(raws), end + 1
        heads = b"".join(map(itemgetter(slice(width)), raws))  # each begins with the brace of its record
        if len(heads) != many * width or b"[" in heads or b"\\" in heads or heads.count(b"{") != many:
            return None
        # A table without borders, of which the columns are looked at that must be alike.
        fixed = zip([0, *range(at, start), end], b"{" + opening + b'"', strict=True)
        if any(heads[place::width] != many * bytes([letter]) for place, letter in fixed):
            return None
        values = list(chain.from_iterable(iter_unpack(f"{start}x{end - start}sx", heads)))
        return None if b'"' in b"".join(values) else values

    def each(raws: Sequence[Raw]) -> Sequence[bytes | None]:
        if len(names) > 1:
            return list(map(parsed, raws))
        return at_one_place(raws) or list(map(read, raws))

    return each
