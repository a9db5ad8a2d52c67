"""Which fields the records of an output have, of which shape, how often and when: found in the records."""

from harvester.schema.fields import MOST_FIELDS, Field, Fields
from harvester.schema.reading import Schema, read_schema

__all__ = ["MOST_FIELDS", "Field", "Fields", "Schema", "read_schema"]
