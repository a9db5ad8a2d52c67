"""The answer on stdout: JSON for machines, tables for people. Nothing is cut off to fit a screen."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from harvester.cli.streams import say
from harvester.printable import printable
from harvester.telemetry.log import briefly, utc

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def say_json(value: Any) -> None:
    """Pretty for somebody who looks, and one document in any case."""
    say(json.dumps(value, indent=2, default=_json))


def json_line(value: Any) -> str:
    """Plain ASCII, so that any reader of any encoding gets it."""
    return json.dumps(value, default=_json)


def _json(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return utc(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def has_colors() -> bool:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    return f"{_BOLD}{text}{_PLAIN}" if has_colors() else text


def dim(text: str) -> str:
    return f"{_DIM}{text}{_PLAIN}" if has_colors() else text


def cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case datetime():
            return briefly(value)
        case _:
            return printable(str(value))


def say_table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> None:
    """`right` names the columns of numbers, which stand to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]

    def line(words: Sequence[str]) -> str:
        padded = (
            word.rjust(width) if at in right else word.ljust(width)
            for at, (word, width) in enumerate(zip(words, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    say(bold(line(head)))
    for row in texts:
        say(line(row))


def say_pairs(pairs: Mapping[str, str]) -> None:
    width = max(map(len, pairs))
    for name, text in pairs.items():
        say(f"{bold(name.ljust(width))}  {text}")


def size(size_bytes: float) -> str:
    """1.2 MB, in powers of ten as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000 or unit == "TB":
            return (
                f"{size_bytes:,.0f} {unit}"
                if unit == "B" or size_bytes >= 100
                else f"{size_bytes:,.1f} {unit}"
            )
        size_bytes /= 1000
    raise AssertionError
