"""Lines become columns: a block of records in, an Arrow table of a given shape out, or `Surprise`.

No value is changed on the way. What the shape does not hold, an unknown field or a value of another kind,
is a Surprise and never a null: whoever asked looks at the records and asks again with a wider shape. Given
up are, as in every table, the order of names in a record, whether a name is null or not there, and of a name
that is there twice the first value.

pyarrow is an extra, so it is imported where it is needed and nowhere else in this room.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa

from harvester import shapes
from harvester.shapes import Shape

Timestamps = Literal["typed", "string"]

_NULL: Final = msgspec.Raw(b"null")
_SIMPLE: Final = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "long": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
    "json": pa.string(),
    "null": pa.string(),  # nothing is known of it; every reader takes text, few take a column of no type
}
_PLAIN: Final[dict[str, Any]] = {
    "boolean": bool | None,
    "integer": int | None,
    "long": int | None,
    "timestamp": str | None,
    "string": str | None,
    "null": None,
}
_REFUSED: Final = (pa.ArrowException, msgspec.MsgspecError, OverflowError, UnicodeEncodeError)


class Surprise(Exception):
    """The block does not fit the shape. `column` is the field of the record that it shows in, where that is
    known."""

    def __init__(self, column: str | None = None) -> None:
        super().__init__(column)
        self.column = column


class Columns:
    """Of one shape, which is a struct. Use it for any number of blocks."""

    def __init__(self, shape: Shape, *, timestamps: Timestamps) -> None:
        self._shape = shape
        self._timestamps = timestamps
        self._decode = msgspec.json.Decoder(list[_kind(shape)], float_hook=shapes.read_number).decode  # type: ignore[misc]
        self.schema = pa.schema([(name, self._type(one)) for name, one in shape.members])

    def table(self, lines: Sequence[bytes]) -> pa.Table:
        """Raises Surprise where a line does not fit."""
        try:
            rows = self._decode(b"[" + b",".join(lines) + b"]")
            _check_names(self._shape, rows)
        except _REFUSED:
            raise Surprise from None
        arrays = []
        members = _members(self._shape, rows)
        for name, shape in self._shape.members:
            try:
                arrays.append(self._array(shape, next(members)))
            except _REFUSED:
                raise Surprise(name) from None
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _type(self, shape: Shape) -> pa.DataType:
        match shape.kind:
            case "decimal":
                return pa.decimal128(shape.digits, shape.scale)
            case "timestamp":
                return pa.timestamp("us", "UTC") if self._timestamps == "typed" else pa.string()
            case "list":
                assert shape.item is not None
                return pa.list_(self._type(shape.item))
            case "struct":
                return pa.struct([(name, self._type(one)) for name, one in shape.members])
            case _:
                return _SIMPLE[shape.kind]

    def _array(self, shape: Shape, values: list[Any]) -> pa.Array:
        match shape.kind:
            case "json":
                raws = list(map(bytes, values))
                texts = {raw: _text(raw) for raw in set(raws)}  # null above all comes again and again
                return pa.array(list(map(texts.__getitem__, raws)), pa.string())
            case "timestamp" if self._timestamps == "typed":
                return pa.array(values, pa.string()).cast(self._type(shape))
            case "number":
                if not set(map(type, values)) <= {float, int, type(None)}:
                    raise pa.ArrowInvalid("not a double")
                return pa.array(values, pa.float64())
            case "decimal":
                return pa.array(list(map(_exact, values)), self._type(shape))
            case "list":
                return self._lists(shape, values)
            case "struct":
                return self._structs(shape, values)
            case _:
                return pa.array(values, self._type(shape))

    def _lists(self, shape: Shape, values: list[Any]) -> pa.Array:
        assert shape.item is not None
        offsets: list[int] = [0]
        items: list[Any] = []
        for value in values:
            items += value or ()
            offsets.append(len(items))
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), self._array(shape.item, items), mask=_mask(values)
        )

    def _structs(self, shape: Shape, values: list[Any]) -> pa.Array:
        _check_names(shape, values)
        members = [
            self._array(one, inner)
            for (_, one), inner in zip(shape.members, _members(shape, values), strict=True)
        ]
        return pa.StructArray.from_arrays(members, fields=list(self._type(shape)), mask=_mask(values))


def _kind(shape: Shape) -> Any:
    """The type that msgspec reads a value of the shape as; anything else is an error there."""
    match shape.kind:
        case "json":
            return msgspec.Raw
        case "number" | "decimal":
            return Any
        case "list":
            assert shape.item is not None
            return list[_kind(shape.item)] | None  # type: ignore[misc]
        case "struct" if _is_odd(shape):
            return dict[str, msgspec.Raw] | None
        case "struct":
            fields = [
                (f"f{number}", _kind(one), msgspec.field(name=name, default=_default(one)))
                for number, (name, one) in enumerate(shape.members)
            ]
            return msgspec.defstruct("Record", fields, forbid_unknown_fields=True, gc=False) | None
        case _:
            return _PLAIN[shape.kind]


def _is_odd(shape: Shape) -> bool:
    """Whether a name in it cannot be that of a msgspec field. Such values are read as dicts, which is slower
    and hardly ever needed."""
    return any(re.search(r'[\\"\x00-\x1f]', name) for name, _ in shape.members)


def _check_names(shape: Shape, values: list[Any]) -> None:
    """What msgspec sees to elsewhere: no field that the shape does not know."""
    if _is_odd(shape):
        names = {name for name, _ in shape.members}
        if not all(value is None or value.keys() <= names for value in values):
            raise pa.ArrowInvalid("a field that is not known")


def _members(shape: Shape, values: list[Any]) -> Iterator[list[Any]]:
    """The members of the structs, one after the other: of each struct what stands there."""
    if _is_odd(shape):
        for name, member in shape.members:
            decode = msgspec.json.Decoder(_kind(member), float_hook=shapes.read_number).decode
            default = _default(member)
            yield [default if one is None or name not in one else decode(one[name]) for one in values]
        return
    is_whole = None not in values
    for number, (_, member) in enumerate(shape.members):
        get, default = attrgetter(f"f{number}"), _default(member)
        yield list(map(get, values)) if is_whole else [default if one is None else get(one) for one in values]


def _default(shape: Shape) -> Any:
    return _NULL if shape.kind == "json" else None


def _text(raw: bytes) -> str | None:
    return None if raw == b"null" else shapes.spelt(raw)


def _exact(value: Any) -> Decimal | int | None:
    if value is None or type(value) is Decimal or type(value) is int:
        return value
    if type(value) is float:
        return Decimal(repr(value))
    raise pa.ArrowInvalid("not a number")


def _mask(values: list[Any]) -> pa.Array:
    return pa.array([value is None for value in values], pa.bool_())
