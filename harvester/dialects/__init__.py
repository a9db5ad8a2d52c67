"""What a source is: a declared value that builds requests and reads answers.

A dialect is a TOML file (schema.py says what one may hold); `load` makes a `Dialect` of it. An `Ask` goes in
and a `Request` comes out; an answer's bytes go in and a `Page` of rows comes out. Everything here is pure: it
never awaits, logs or reads a clock, and what is sent and how is left to the transport.
"""

from harvester.dialects.dialect import Dialect
from harvester.dialects.reading import has_keys, identity_of, reading_of, row_reader
from harvester.dialects.schema import names_of
from harvester.dialects.sources import load, names
from harvester.dialects.values import Ask, Key, Page, Raw, Reject, Request, Row

__all__ = [
    "Ask",
    "Dialect",
    "Key",
    "Page",
    "Raw",
    "Reject",
    "Request",
    "Row",
    "has_keys",
    "identity_of",
    "load",
    "names",
    "names_of",
    "reading_of",
    "row_reader",
]
