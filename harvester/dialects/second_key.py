"""A second field by which a record is known, read from its bytes: two records may share it and are kept both,
but how many do is counted.

It is looked for in every record that is written, so the usual case costs a search of bytes: where the field
stands plainly at the top of the record. Whatever is not plain goes through the parser.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from msgspec import UNSET

from harvester.dialects.lens import dig, nested
from harvester.dialects.schema import names_of


def second_key_reader(path: str) -> Callable[[bytes], bytes | None]:
    """From a record's bytes to what stands in the field, as bytes that are equal where it is; None where it
    is null or missing. For records that `Dialect.read` gave."""
    names = names_of(path)
    kind, attributes = nested({names: (Any, False)})
    decoder, attribute = msgspec.json.Decoder(kind), attributes[names]
    name = orjson.dumps(names[-1])
    opening = name + b':"'

    def parsed(raw: bytes) -> bytes | None:
        try:
            value = dig(decoder.decode(raw), attribute)
        except (msgspec.MsgspecError, RecursionError):  # something else than an object on the way there
            return None
        if value is None or value is UNSET:
            return None
        return value.encode() if isinstance(value, str) else msgspec.json.encode(value)

    def read(raw: bytes) -> bytes | None:
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

    return parsed if len(names) > 1 else read
