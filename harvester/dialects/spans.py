"""Where each record of a page stands, found without parsing the page a second time.

A parser has read the page already: it is valid JSON, and its list of records holds so many objects. Where
each of them begins and ends a search for braces finds many times faster than a parser, and only what is
certain counts. In JSON the bytes `},{"name":` are never part of a text: the quote would end the text, and a
name cannot follow. So there one object of a list ends and the next begins. Whether it is the list of records
is told by the other braces: where none of them may open an object, no record holds one, and no list of
objects either. A piece with a brace that may open one is parsed: an object that is whole ends where it ends.
"""

import re
from typing import Final

import msgspec

from harvester.dialects.values import Raw

_PLAIN: Final = re.compile(r"\w+", re.ASCII)
_BEFORE_OBJECT: Final = b"[,: \t\r\n"
"""What may stand before a brace that opens an object..."""
_IN_OBJECT: Final = b'"} \t\r\n'
"""...and behind it."""
_VIEWED_BYTES: Final = 512 << 10
"""Of smaller pages the records are copied: kept for long, they keep the heap from shrinking."""
_whole = msgspec.json.Decoder(msgspec.Raw).decode


def is_plain(name: str) -> bool:
    """Whether JSON writes a member's name as it is, so that it can be searched for."""
    return _PLAIN.fullmatch(name) is not None


def spans(body: bytes, member: str, first: str, count: int) -> list[Raw] | None:
    """The `count` records that the last `member` of an envelope lists, in order; None where they
    cannot be told for certain.

    `body` is a valid JSON object without a second `member`; `first` is what each record begins with, and both
    names are plain.
    """
    if not count:
        return []
    find, stands = body.find, body.startswith
    begin = f'{{"{first}":'.encode()
    border = b"}," + begin
    opening = f'"{member}":['.encode() + begin
    start = find(b"{", 1)
    named = start + len(begin) - len(opening)
    if named < 1 or not stands(opening, named) or body[named - 1] not in b"{,":
        return None
    page: Raw = memoryview(body) if len(body) >= _VIEWED_BYTES else body
    raws: list[Raw] = []
    is_sure = True
    at = find(b"{", start + 1)
    try:
        while at >= 0:
            if stands(border, at - 2):
                raw = page[start : at - 1]
                if not is_sure:
                    _whole(raw)
                    is_sure = True
                raws.append(raw)
                start = at
            elif body[at - 1] in _BEFORE_OBJECT and body[at + 1] in _IN_OBJECT:
                is_sure = False
            at = find(b"{", at + 1)
        raws.append(page[start : find(b"}]", start) + 1])
        _whole(raws[-1])
    except msgspec.DecodeError:
        return None
    return raws if len(raws) == count else None
