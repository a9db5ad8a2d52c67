"""What an output has to remember of its dialect so that its lines can be read without the dialect's file:
which fields are key, version and date, or that a record belongs to its window."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from harvester.dialects.answer import AnswerReader
from harvester.dialects.dialect import Dialect
from harvester.dialects.schema import Asking, Declaration, Record
from harvester.dialects.values import Key, Row


def reading_of(dialect: Dialect) -> dict[str, Any]:
    """As JSON: `record` and `membership` of the declaration, the job's date field included."""
    return {
        "record": msgspec.to_builtins(dialect.declaration.record),
        "membership": dialect.declaration.membership,
    }


def row_reader(reading: Mapping[str, Any]) -> Callable[[bytes], Row]:
    """Turns stored lines into rows again. ValueError where `reading` is none."""
    try:
        declaration = Declaration(
            request=Asking(method="GET", path="/"),
            record=msgspec.convert(reading["record"], Record | None),
            membership="window" if reading["membership"] == "window" else "date",
        )
    except (KeyError, msgspec.ValidationError) as error:
        raise ValueError(f"cannot tell how the records are to be read: {error}") from None
    if (declaration.record is None) != (declaration.membership == "window"):
        raise ValueError("cannot tell how the records are to be read: key and date are missing")
    return AnswerReader(declaration).row


def identity_of(reading: Mapping[str, Any]) -> Callable[[Row], Key]:
    """What no two lines of an output may have in common: the key; of sums, window and content. Where records
    are filed by the very time that tells their versions, a record that is written again goes to another
    window, and both versions may have been read: there it is key and version. For a `reading` that
    `row_reader` takes.
    """
    record = msgspec.convert(reading["record"], Record | None)
    if record is None:
        return lambda row: (row[0].isoformat(), str(row[1]))
    if record.version != record.when.path:
        return lambda row: row[1]
    return lambda row: (*row[1], row[2]) if isinstance(row[1], tuple) else (row[1], row[2])


def has_keys(reading: Mapping[str, Any]) -> bool:
    """Whether records have a key of their own, by which those of one instant are ordered. Sums are ordered by
    their text, which a table does not keep. For a `reading` that `row_reader` takes.
    """
    return msgspec.convert(reading["record"], Record | None) is not None
