"""What a pseudonym is the digest of: a field's path, the value's kind and the value, written so that no two
pairs are written alike. Pure.

    3:ANI,s+15551234567          the string "+15551234567" at ANI
    3:ANI,n15551234567e0         the number 15551234567, however it is spelt
    5:Agent,2:Id,n7e0            7 at Agent.Id
    3:ANI,btrue                  true

A path is its names, each as a netstring: the length of its UTF-8 in decimal, a colon, the bytes, a comma.
Then one letter for the kind, then the value up to the end. A text is what it says and not how it is escaped;
a number is its exact decimal value, without zeros at either end, so that 1, 1.0 and 10e-1 are one, and 1 and
"1" are two. docs/pseudonyms.md says the same for those who read the files.
"""

import re
from typing import Final

import msgspec

_NUMBER: Final = re.compile(rb"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)0*([0-9]+))?\Z")
_LONGEST_EXPONENT: Final = 1000
"""Digits: Python turns no text of more than 4,300 into a number, and no count of anything has so many."""


def prefix_of(path: tuple[str, ...]) -> bytes:
    names = [name.encode() for name in path]
    return b"".join(b"%d:%b," % (len(name), name) for name in names)


def value_of(token: bytes) -> bytes | None:
    """Kind and value of one JSON scalar as it stands in the record; None for null, which stays null."""
    first = token[:1]
    if first == b'"':
        if b"\\" not in token:
            return b"s" + token[1:-1]
        text: str = msgspec.json.decode(token, type=str)
        return b"s" + text.encode()
    if token == b"null":
        return None
    if first in b"tf":
        return b"b" + token
    return b"n" + _exact(token)


def _exact(token: bytes) -> bytes:
    """Digits without zeros at their ends, `e`, and the power of ten of the last one; 0e0 for nothing."""
    found = _NUMBER.match(token)
    if found is None:
        raise ValueError("a number that is none")
    sign, whole, fraction, exponent_sign, exponent = (part or b"" for part in found.groups())
    digits = (whole + fraction).lstrip(b"0")
    kept = digits.rstrip(b"0")
    if not kept:
        return b"0e0"
    if len(exponent) > _LONGEST_EXPONENT:
        return token
    power = int(exponent_sign + exponent or b"0") - len(fraction) + len(digits) - len(kept)
    return b"%b%be%d" % (sign, kept, power)
