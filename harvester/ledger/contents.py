"""What the cells of a ledger may hold, looked at once when it is opened.

SQLite finds out where pages do not fit together, and keeps any value in any cell all the same. A ledger with
such values was changed by something else than this program: it is damaged, and said to be before anybody
reckons with it.
"""

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Final

from harvester.ledger.states import MOST_US

_TIME: Final = f"typeof({{0}}) = 'integer' AND {{0}} BETWEEN {-MOST_US} AND {MOST_US}"
_WHOLE_MS: Final = f"{_TIME} AND {{0}} % 1000 = 0"
"""As jobs have them: one flipped bit changes a time by a power of two, never by whole milliseconds."""
_COUNT: Final = "typeof({0}) = 'integer' AND {0} >= 0"
_TEXT: Final = "typeof({0}) = 'text'"
_PATH: Final = (
    f"{_TEXT} AND {{0}} NOT LIKE '/%' AND '/' || {{0}} || '/' NOT LIKE '%/../%' AND instr({{0}}, char(0)) = 0"
)


def _or_null(rule: str) -> str:
    return f"({{0}} IS NULL OR ({rule}))"


_RULES: Final[dict[str, dict[str, str]]] = {
    "meta": {"key": _TEXT, "value": _TEXT},
    "spans": {"start": _WHOLE_MS, "end": f"{_WHOLE_MS} AND {{0}} > start"},
    "windows": {
        "start": _TIME,
        "end": f"{_TIME} AND {{0}} > start",
        "state": "{0} IN ('done', 'failed', 'provisional')",
        "records": _COUNT,
        "error": _or_null(_TEXT),
        "staged": "{0} IS NULL OR {0} IN (SELECT id FROM builds WHERE state = 'staged')",
    },
    "builds": {
        "partition": _TEXT,
        "state": "{0} IN ('staged', 'published')",
        "generation": _or_null(_COUNT),
        "second_key_shared": _or_null(_COUNT),
    },
    "shards": {
        "build": _COUNT,
        "number": _COUNT,
        "path": _PATH,
        "records": _COUNT,
        "size_bytes": _COUNT,
        "raw_bytes": _COUNT,
        "sha256": _TEXT,
        "first": _TIME,
        "last": _TIME,
        "lines_path": _or_null(_PATH),
        "lines_size_bytes": _or_null(_COUNT),
        "lines_sha256": _or_null(_TEXT),
    },
    "garbage": {"path": _PATH},
    "repairs": {"partition": _TEXT, "proven": _TEXT},
}
_QUERIES: Final = {
    f"{table}.{column}": f"SELECT EXISTS (SELECT 1 FROM {table} WHERE ({rule.format(column)}) IS NOT 1)"
    for table, rules in _RULES.items()
    for column, rule in rules.items()
} | {
    "windows": "SELECT EXISTS (SELECT 1 FROM (SELECT end, lead(start) OVER (ORDER BY start) AS next "
    "FROM windows) WHERE end > next)",
    "windows or spans": "SELECT EXISTS (SELECT 1 FROM spans) AND EXISTS (SELECT 1 FROM windows WHERE NOT "
    "EXISTS (SELECT 1 FROM spans WHERE spans.start <= windows.start AND windows.end <= spans.end))",
    "shards or builds": "SELECT EXISTS (SELECT 1 FROM shards JOIN builds ON build = id "
    "WHERE state = 'published' AND path NOT LIKE 'dt=' || partition || '/%')",
}
"""Each is true where something is odd. No two windows overlap, none reaches out of the spans, and what is
published lies in its partition's folder.
"""
_TEXTS: Final = [
    f"SELECT DISTINCT {column} FROM {table}"
    for table, rules in _RULES.items()
    for column, rule in rules.items()
    if _TEXT in rule
]
"""SQLite takes any bytes for a text; Python finds out when it reads them."""


def odd_cell(db: sqlite3.Connection) -> str | None:
    """`table.column` where something stands that this version never writes; None in a good ledger.

    For one with this version's tables; raises what sqlite3 raises, for a text that is no UTF-8 too.
    """
    for where, query in _QUERIES.items():
        if db.execute(query).fetchone()[0]:
            return where
    for query in _TEXTS:
        for _ in db.execute(query):
            pass
    return next(_odd_json(db), None) or next(_odd_partitions(db), None)


def _odd_partitions(db: sqlite3.Connection) -> Iterator[str]:
    for table in ("builds", "repairs"):
        for (name,) in db.execute(f"SELECT DISTINCT partition FROM {table}"):
            try:
                date.fromisoformat(name if len(name) > len("2024-01") else f"{name}-01")
            except ValueError:
                yield f"{table}.partition"


def _odd_json(db: sqlite3.Connection) -> Iterator[str]:
    for key, text in db.execute("SELECT key, value FROM meta"):
        if not _holds(text, _KINDS.get(key, lambda value: True)):
            yield f"meta.{key}"
    for (text,) in db.execute("SELECT proven FROM repairs"):
        if not _holds(text, _are_spans):
            yield "repairs.proven"


def _holds(text: str, rule: Callable[[Any], bool]) -> bool:
    try:
        return rule(json.loads(text))
    except (ValueError, RecursionError):
        return False


def _is_time(value: Any) -> bool:
    return type(value) is int and abs(value) <= MOST_US


def _is_rate(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def _are_spans(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and all(map(_is_time, one)) and one[0] < one[1]
        for one in value
    )


_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    "job": lambda value: isinstance(value, dict),
    "reading": lambda value: isinstance(value, dict),
    "seen": _is_time,
    "learned.rate": _is_rate,
}
