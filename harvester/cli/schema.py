"""`harvester schema`: which fields the records of an output have, as found in the records themselves."""

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from harvester.cli import answer, out_argument
from harvester.cli.streams import say, talk
from harvester.schema import Schema, read_schema
from harvester.shapes import MOST_FIELDS, Field

EXAMPLES = """\
examples:
  harvester schema out
  harvester schema out --json > schema.json
  harvester schema out --json | jq '.fields[] | select(.null_share == 1) | .path'   # never filled

Reads every published record once, also while a run goes on. `[]` in a path stands for the items of a list. A
share of nulls counts records without the field as well. Of text, timestamp says that every value is an
instant of UTC; long, that whole numbers pass 2^53, beyond which a double would round them; decimal, that no
double holds them; json, that values have no type in common.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester schema OUT [options]"
    parser.epilog = EXAMPLES
    out_argument.add_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    out_argument.check_begun(args.out)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    schema = read_schema(args.out, progress=_progress if on_terminal else _nothing)
    if on_terminal:
        talk("\r\x1b[K", end="")
    if args.json:
        answer.say_json(_as_json(schema))
    else:
        _say(schema)
    return 0


def _progress(records: int) -> None:
    talk(f"\rread {records:,} records", end="")


def _nothing(records: int) -> None:
    pass


def _as_json(schema: Schema) -> dict[str, Any]:
    return {
        "out": schema.out,
        "complete": schema.complete,
        "partitions": schema.partitions,
        "records": schema.records,
        "fields": [_field(one) for one in schema.fields],
        "fields_left_out": schema.left_out,
        "shape": schema.shape.told(),
    }


def _field(field: Field) -> dict[str, Any]:
    return {
        "path": field.path,
        "type": str(field.shape),
        "kinds": field.kinds,
        "present": field.present,
        "absent": field.absent,
        "null_share": round(field.null_share, 6),
        "first_seen": field.first_seen,
        "last_seen": field.last_seen,
    }


def _say(schema: Schema) -> None:
    whole = "complete" if schema.complete else "not complete: what is published so far"
    answer.say_pairs(
        {
            "output": schema.out,
            "records": f"{schema.records:,} in {schema.partitions:,} partitions, {whole}",
            "fields": f"{len(schema.fields):,}",
        }
    )
    if schema.fields:
        say()
        answer.say_table(
            ("field", "type", "null or absent", "first seen", "last seen"),
            [
                (one.path, str(one.shape), _percent(one.null_share), one.first_seen, one.last_seen)
                for one in schema.fields
            ],
            right=(2,),
        )
    if schema.left_out:
        say(answer.dim(f"... and more: names that are data? Only the first {MOST_FIELDS:,} fields are told"))


def _percent(share: float) -> str:
    """Never rounded to none or to all where it is neither."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return f"{min(max(share, 0.0001), 0.9999):.2%}"
