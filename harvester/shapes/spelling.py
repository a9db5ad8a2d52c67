"""One spelling of the JSON text that stands in a column of kind `json`. Pure.

A column becomes text where no type holds all its values. Those that came before stood in a column of numbers,
and how they were once spelt is forgotten: so each number is spelt by what it is, `12.50` as `12.5` and `1E2`
as `100`, whether it comes from the source or from a table. Thus runs that add up leave the bytes of one.
"""

import json
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any, Final

import msgspec

_MOST_DIGITS: Final = 40
"""More than a column of numbers holds; larger numbers keep their exponents."""
_SPELT: Final = re.compile(
    rb'(?!-0$)-?(?:0|[1-9]\d*)|(?!-?0\.000000)-?(?:0|[1-9]\d{0,15})\.\d*[1-9]|"[^"\\]*"|true|false'
)
"""What is spelt so already."""
_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_AS_IT_IS: Final = msgspec.json.Encoder().encode


def spelt(raw: bytes) -> str:
    """JSON text as it stands in a column; names keep their order. It may hold no lone surrogate."""
    if _SPELT.fullmatch(raw):
        return raw.decode()
    text = raw.decode()
    if _NUMBER.fullmatch(raw):
        return _whole(text) if text.lstrip("-").isdecimal() else _number(text)
    try:
        return _written(_DECODE(text))
    except RecursionError:  # deeper than columns have members, so it has never been anything but text
        return text


class _Number(str):
    """A number as it is spelt."""


def _written(value: Any) -> str:
    if type(value) is _Number:
        return value
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_written(name)}:{_written(one)}' for name, one in value.items())}}}"
    return _AS_IT_IS(value).decode()


def _whole(text: str) -> _Number:
    return _Number("0" if text == "-0" else text)


def _number(text: str) -> _Number:
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return _Number(text)
    if not number:
        return _Number("-0.0" if number.is_signed() else "0")
    if number.adjusted() < _MOST_DIGITS and number == number.to_integral_value():
        return _Number(int(number))
    exactly = Context(prec=len(text), Emin=MIN_EMIN, Emax=MAX_EMAX)
    return _Number(str(number.normalize(exactly)).replace("E+", "e").replace("E", "e"))


_DECODE: Final = json.JSONDecoder(parse_int=_whole, parse_float=_number).decode
