"""Shapes: what the values of a field are, so that a column can hold them all without changing one. Pure.

::

    null < boolean                                   true and false
         < integer < long < decimal(p,0)             whole numbers: to 2^53, to 2^63, beyond
           integer < number                          a double that says just what was written
         < timestamp < string                        ISO 8601 in UTC; text
         < {list: ...}, {struct: {...}}
    and whatever has nothing else in common < json   kept as the JSON text that it came as

`join` is the least shape that holds the values of both. So shapes can be found block by block and put
together in any order.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import reduce
from math import isfinite
from typing import Any, Final, Self

MAX_DIGITS: Final = 38
"""Of a decimal column: what 128 bits hold, and what every reader of Parquet takes."""
EXACT_IN_DOUBLE: Final = 1 << 53
_LONG: Final = 1 << 63

_SCALARS: Final = ("null", "boolean", "integer", "long", "number", "timestamp", "string", "json")
_DECIMAL: Final = re.compile(r"decimal\((\d+),(\d+)\)", re.ASCII)
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shape:
    """One of the kinds above; `digits` and `scale` are a decimal's, `item` a list's, `members` a struct's in
    the order in which they were first seen."""

    kind: str
    digits: int = 0
    scale: int = 0
    item: "Shape | None" = None
    members: "tuple[tuple[str, Shape], ...]" = ()

    def __str__(self) -> str:
        match self.kind:
            case "decimal":
                return f"decimal({self.digits},{self.scale})"
            case "list":
                return f"list of {self.item}"
            case "struct":
                return f"struct of {len(self.members)}"
            case _:
                return self.kind

    def told(self) -> Any:
        """As JSON or TOML holds it; `of` reads it."""
        match self.kind:
            case "list":
                assert self.item is not None
                return {"list": self.item.told()}
            case "struct":
                return {"struct": {name: shape.told() for name, shape in self.members}}
            case _:
                return str(self)

    @classmethod
    def of(cls, told: Any) -> Self:
        """ValueError names what is no shape."""
        if isinstance(told, str):
            if told in _SCALARS:
                return cls(told)
            sized = _DECIMAL.fullmatch(told)
            if sized and 1 <= int(sized[1]) <= MAX_DIGITS and int(sized[2]) <= int(sized[1]):
                return cls("decimal", digits=int(sized[1]), scale=int(sized[2]))
        elif isinstance(told, dict) and len(told) == 1:
            if "list" in told:
                return cls("list", item=cls.of(told["list"]))
            if isinstance(told.get("struct"), dict):
                return cls("struct", members=tuple((n, cls.of(one)) for n, one in told["struct"].items()))
        raise ValueError(
            f"{told!r} is no shape; write one of {', '.join(_SCALARS)}, decimal(digits,scale) with at most "
            f"{MAX_DIGITS} digits, {{list = ...}} or {{struct = {{...}}}}"
        )


NULL: Final = Shape("null")
JSON: Final = Shape("json")
EMPTY: Final = Shape("struct")
"""Of records of which nothing is known."""


def join(one: Shape, other: Shape) -> Shape:
    """The least shape that holds the values of both."""
    if one == other or other.kind == "null":
        return one
    if one.kind == "null":
        return other
    kinds = {one.kind, other.kind}
    if kinds == {"integer", "long"}:
        return Shape("long")
    if kinds == {"integer", "number"}:
        return Shape("number")
    if kinds == {"timestamp", "string"}:
        return Shape("string")
    if kinds <= {"integer", "long", "decimal"}:
        return _joined_decimals(_as_decimal(one), _as_decimal(other))
    if kinds == {"list"}:
        assert one.item is not None
        assert other.item is not None
        return Shape("list", item=join(one.item, other.item))
    if kinds == {"struct"}:
        known = dict(one.members)
        for name, shape in other.members:
            known[name] = join(known[name], shape) if name in known else shape
        return Shape("struct", members=tuple(known.items()))
    return JSON


def ordered(shape: Shape, declared: Shape) -> Shape:
    """The same with members in an order that does not depend on which were met first: those of `declared`
    as they stand there, then the others by name."""
    if shape.kind == "list":
        assert shape.item is not None
        return replace(shape, item=ordered(shape.item, declared.item or NULL))
    places = {name: (number, one) for number, (name, one) in enumerate(declared.members)}
    last = (len(places), NULL)
    members = sorted(shape.members, key=lambda one: (places.get(one[0], last)[0], one[0]))
    return replace(
        shape, members=tuple((name, ordered(one, places.get(name, last)[1])) for name, one in members)
    )


def joined(shapes: "list[Shape]") -> Shape:
    return reduce(join, shapes, NULL)


def _as_decimal(shape: Shape) -> Shape:
    digits = {"integer": 16, "long": 19}.get(shape.kind)
    return shape if digits is None else Shape("decimal", digits=digits)


def _joined_decimals(one: Shape, other: Shape) -> Shape:
    scale = max(one.scale, other.scale)
    digits = max(one.digits - one.scale, other.digits - other.scale) + scale
    return Shape("decimal", digits=digits, scale=scale) if digits <= MAX_DIGITS else JSON


# The shapes of values, as `read_number` and a JSON parser give them


def read_number(text: str) -> float | Decimal:
    """A number with a fraction or an exponent: a double where that is the very number, else a Decimal. For
    msgspec's `float_hook`."""
    number = float(text)
    if repr(number) == text:
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent of twenty digits: a number, but none to count with
    return number if isfinite(number) and Decimal(repr(number)) == exact else exact


def of_whole(least: int, most: int) -> Shape:
    """Of whole numbers from `least` to `most`."""
    largest = max(abs(least), abs(most))
    if largest <= EXACT_IN_DOUBLE:
        return Shape("integer")
    if least >= -_LONG and most < _LONG:
        return Shape("long")
    return Shape("decimal", digits=_digits(largest)) if largest < 10**MAX_DIGITS else JSON


def of_exact(number: Decimal) -> Shape:
    """Of a number that no double holds."""
    _, figures, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return JSON
    scale = max(0, -exponent)
    digits = max(len(figures) + max(0, exponent), scale)
    return Shape("decimal", digits=digits, scale=scale) if digits <= MAX_DIGITS else JSON


def is_timestamp(text: str) -> bool:
    """Whether it is an instant of UTC to the microsecond at most, as `2024-01-01T00:00:00.000Z`."""
    if _TIMESTAMP.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _digits(number: int) -> int:
    return len(str(number))
