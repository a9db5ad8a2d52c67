"""What the soak's servers do: what happens now and then, and how a server is by nature.

What happens now and then strikes each try anew and may change while a run goes on. A server's nature (how
many rows it gives, how it takes the ends of a range) stays as it is while a run lasts: that a page size
honoured once is honoured later is what a proof of the end rests on. Left out is what changes the data, since
the bytes of two harvests are compared, and what ends a run by design: a damaged record, a 403, a wrong
dialect.
"""

import random
from typing import Any, Final

Fault = dict[str, Any]

NOW_AND_THEN: Final[tuple[Fault, ...]] = (
    {"latency_ms": 5, "jitter_ms": 40, "share": 0.3},
    {"status": 429, "retry_after": 0, "share": 0.01},
    {"status": 429, "retry_after": 1, "retry_as": "date", "share": 0.005},
    {"status": 503, "share": 0.01},
    {"status": 503, "retry_after": 1, "share": 0.005},
    {"status": 500, "share": 0.01},
    {"status": 502, "content": "html", "share": 0.005},
    {"status": 504, "share": 0.005},
    {"status": 408, "share": 0.005},
    {"result_code": 5, "share": 0.01},
    {"data": "null", "share": 0.005},
    {"data": "missing", "share": 0.005},
    {"data": "object", "share": 0.005},
    {"data": "text", "share": 0.005},
    {"body": "html", "share": 0.01},
    {"body": "empty", "share": 0.005},
    {"body": "text", "share": 0.005},
    {"body": "cut_json", "share": 0.01},
    {"body": "trailing", "share": 0.005},
    {"body": "bom", "share": 0.05},
    {"body": "pretty", "share": 0.05},
    {"cut": "length", "share": 0.01},
    {"cut": "chunked", "share": 0.005},
    {"cut": "close", "share": 0.01},
    {"cut": "gzip", "share": 0.005},
    {"reset": "before", "share": 0.005},
    {"reset": "midway", "share": 0.01},
    {"hang_s": 4.0, "share": 0.003},
    {"drip": 4000.0, "share": 0.005},
    {"oversize": 1, "share": 0.002},
    {"gzip_bomb": 80, "share": 0.0005},
    {"rate": 60.0, "burst": 20, "headers": "draft"},
    {"in_flight": 12, "retry_after": 1},
)

_NATURES: Final[tuple[tuple[Fault, ...], ...]] = (
    (),
    ({"page_cap": 7},),
    ({"ends": "exclusive"},),
    ({"ends": "seconds"},),
    ({"order": "ignored"},),
    ({"order": "ties"},),
    ({"order": "descending"},),
    ({"duplicates": 0.1},),
    ({"versions": 0.1},),
    ({"limit_refused": 9},),
    ({"more_than_limit": 3},),
    ({"foreign": 3},),
    ({"skew_s": 7200.0},),
    ({"page_cap": 11}, {"duplicates": 0.05}, {"versions": 0.05}, {"ends": "exclusive"}, {"foreign": 2}),
)

OUT_OF_REACH_S: Final = 1.5


def nature(rng: random.Random) -> list[Fault]:
    """How a server is while a run lasts."""
    return [dict(fault) for fault in rng.choice(_NATURES)]


def outage() -> list[Fault]:
    """Every connection is closed and new ones are refused for a while."""
    return [{"refuse_s": OUT_OF_REACH_S, "after": 40}]
