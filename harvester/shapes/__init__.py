"""Shapes: what the values of a field have in common, so that a column can hold them all. Pure."""

from harvester.shapes.fields import MOST_FIELDS, Field, Fields
from harvester.shapes.shape import (
    EMPTY,
    EXACT_IN_DOUBLE,
    JSON,
    MAX_DIGITS,
    NULL,
    Shape,
    is_timestamp,
    join,
    joined,
    of_exact,
    of_whole,
    ordered,
    read_number,
)
from harvester.shapes.spelling import spelt

__all__ = [
    "EMPTY",
    "EXACT_IN_DOUBLE",
    "JSON",
    "MAX_DIGITS",
    "MOST_FIELDS",
    "NULL",
    "Field",
    "Fields",
    "Shape",
    "is_timestamp",
    "join",
    "joined",
    "of_exact",
    "of_whole",
    "ordered",
    "read_number",
    "spelt",
]
