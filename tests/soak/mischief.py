"""What the soak's servers do: what happens now and then, and how a server is by nature.

What happens now and then strikes each try anew and may change while a run goes on. A server's nature (how
many rows it gives, in which order, how it takes the ends of a range) stays as it is while a run lasts. All
switches of the simulator are on but those of `LEFT_OUT`.
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
    {"body": "two_codes", "share": 0.005},
    {"body": "two_lists", "share": 0.005},
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

DAMAGED_NOW_AND_THEN: Final[tuple[Fault, ...]] = (
    {"body": "utf8", "share": 0.003},
    {"body": "nan", "share": 0.003},
)
"""Costs a window until the next run: for runs that follow each other."""

ODD_RECORDS: Final[tuple[Fault, ...]] = ({"record": "bigint", "one_in": 40},)
"""Stay the same in all harvests: the bytes of two are compared."""
ODD_RECORDS_OF_THE_LONG_RUN: Final[tuple[Fault, ...]] = ({"record": "twice_keys", "one_in": 40},)

_TOGETHER: Final[tuple[Fault, ...]] = (
    {"page_cap": 7},
    {"page_cap": 17, "least": 5},
    {"page_cap": 9, "share": 0.3},
    {"page_cap": 11, "share": 0.5, "by": "window"},
    {"ends": "exclusive"},
    {"ends": "open"},
    {"ends": "seconds"},
    {"ends": "end_only"},
    {"ends": "exclusive_seconds"},
    {"ends": "open_seconds"},
    {"ends": "end_only_seconds"},
    {"duplicates": 0.1},
    {"duplicates": 0.1, "distance": 9},
    {"versions": 0.1},
    {"versions": 0.1, "distance": 9, "older_first": False},
    {"more_than_limit": 3},
    {"foreign": 3},
    {"skew_s": 7200.0},
    {"skew_s": 40.0},
    {"slow_offset_ms": 400.0},
    {"rate": 40.0, "burst": 1.0, "retry_after": None},
    {"rate": 50.0, "burst": 2.0, "headers": "seconds", "retry_after": None},
    {"rate": 50.0, "burst": 2.0, "headers": "epoch", "retry_after": None},
    {"rate": 50.0, "burst": 2.0, "penalty_s": 0.02},
    {"in_flight": 2},
    {"workers": 2, "ms": 20.0},
)
"""Any of them with any other."""

_ALONE: Final[tuple[Fault, ...]] = (
    {"order": "ignored"},
    {"order": "ties"},
    {"order": "descending"},
    {"limit_refused": 9},
    {"limit_ignored": 120},
    {"offset_ignored": True},
    {"offset_refused": 50},
    {"window_refused_s": 2000.0},
    {"rows_refused": 25, "code": 400},
)
"""With some others there are instants that no request can read whole."""

MOST_TOGETHER: Final = 3
LEFT_OUT: Final = {
    "forbid": "ends every run",
    "expire_token": "the campaigns change the token themselves",
    "redirect": "is a gap by design: it is not followed",
    "filter": "only a probe filters",
    "past_end": "only a probe asks far past the end of all",
    "relative": "only a probe asks for relative ranges",
    "churn": "changes the data, and the bytes of two harvests are compared",
    "insert": "as churn",
    "delete": "as churn",
    "rewrite": "as churn",
    "order=shuffled": "never stands still: a gap by design",
    "data=empty": "a lie that nobody can see; a test shows that the soak does",
    **dict.fromkeys(
        (
            "record=no_key",
            "record=no_date",
            "record=null_key",
            "record=bad_date",
            "record=number",
            "record=null",
        ),
        "the same records always: a gap for good, by design",
    ),
    **dict.fromkeys(
        ("record=text", "record=list", "record=surrogate", "record=utf8", "record=nan"),
        "the same records always: a gap for good, by design",
    ),
}
"""Switches, or values of them, and why they are off. A pause of three thousand years (`retry_after`) is cut
to an hour, which is all that a soak has."""

NATURE_OF_THE_LONG_RUN: Final[tuple[Fault, ...]] = (
    {"page_cap": 11},
    {"duplicates": 0.05, "distance": 4},
    {"versions": 0.05},
    {"foreign": 2},
    {"ends": "exclusive"},
)

OUT_OF_REACH_S: Final = 1.5


def nature(rng: random.Random) -> list[Fault]:
    """How a server is while a run lasts."""
    if rng.random() < 0.5:
        return [dict(rng.choice(_ALONE))]
    drawn = rng.sample(_TOGETHER, rng.randint(0, MOST_TOGETHER))
    return [dict(fault) for fault in {next(iter(fault)): fault for fault in drawn}.values()]


def switched_on() -> set[str]:
    """`name`, and `name=value` where the value is a word."""
    on = [*NOW_AND_THEN, *DAMAGED_NOW_AND_THEN, *ODD_RECORDS, *ODD_RECORDS_OF_THE_LONG_RUN]
    on += [*_TOGETHER, *_ALONE, *NATURE_OF_THE_LONG_RUN, *outage()]
    return {
        name
        for fault in on
        for name in (next(iter(fault)), f"{next(iter(fault))}={next(iter(fault.values()))}")
    }


def outage() -> list[Fault]:
    """Every connection is closed and new ones are refused for a while."""
    return [{"refuse_s": OUT_OF_REACH_S, "after": 40}]
