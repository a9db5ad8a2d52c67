"""Faults as data: what a server may do, each with a name, a value, options, and the rule for when it strikes.

A fault is a table with one name and any of its options and rules, in TOML, in a dict, or as
NAME=VALUE,KEY=VALUE on the command line::

    [[fault]]
    status = 503
    retry_after = 1
    share = 0.1

Rules, alone or together: `share` of the requests; the `first` n; those `after` the k-th; each `every`-th; at
most `times` altogether; asked ranges that touch `start` to `end`; one `dataset`; `offset` at least; until
`for_s` seconds after the first request. `by` says for what `share` draws and `first` counts: for each try of
an ask, which is window, page size and offset (the default: the same asks fare the same, whatever the client's
concurrency); for each `window`, once and for all; or for each `request` in the order of arrival. A draw
follows from the seed, the fault's place in the list and that subject alone.
"""

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from .settings import ENDS


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault's value may be, and its options with their defaults."""

    help: str
    value: type | tuple[str, ...]  # a number, a text, a flag, or one of these words
    options: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = None  # how often it strikes where the fault does not say


KINDS: dict[str, Kind] = {
    # how soon, and whether at all
    "latency_ms": Kind("wait so long before the answer", float, {"jitter_ms": 0.0}),
    "slow_offset_ms": Kind("wait so long for each 1000 rows of Offset", float),
    "status": Kind(
        "answer with this status; `headers` as in `rate`: a quota of 1 a second, spent",
        int,
        {"retry_after": None, "retry_as": "seconds", "content": "json", "headers": "none"},
    ),
    "rate": Kind(
        "so many requests a second, a token bucket; the rest is refused",
        float,
        {
            "burst": 5.0,
            "retry_after": 1,
            "retry_as": "seconds",
            "code": 429,
            "headers": "none",
            "penalty_s": 0.0,
        },
    ),
    "in_flight": Kind(
        "so many requests at once; the rest is refused",
        int,
        {"retry_after": None, "retry_as": "seconds", "code": 503},
    ),
    "workers": Kind(
        "so many requests in work at once, `ms` each; the others queue",
        int,
        {"ms": 20.0},
    ),
    "forbid": Kind("403 with a good token", bool),
    "expire_token": Kind("401 after so many requests, until the token is changed", int),
    "skew_s": Kind("the server's clock, its Date and Retry-After dates, is off by this", float),
    # on the wire
    "refuse_s": Kind("close every connection and refuse new ones for so long, once", float, times=1),
    "reset": Kind("reset the connection", ("before", "midway")),
    "hang_s": Kind("no answer for so long, then a closed connection", float),
    "drip": Kind("send so many bytes a second", float),
    "cut": Kind("end the body early", ("length", "chunked", "close", "gzip")),
    "redirect": Kind("redirect to this URL", str, {"code": 302}),
    "gzip_bomb": Kind("a small gzip body that becomes so many MiB of JSON", int),
    "oversize": Kind("a page with so many MiB of white space before its end", int),
    # what a request means
    "page_cap": Kind(
        "at most so many rows, without a word; with `least` drawn from there on per window, offset, request",
        int,
        {"least": 0, "per": "window"},
    ),
    "limit_refused": Kind("400 where Limit is larger", int),
    "limit_ignored": Kind("this many rows whatever Limit says", int),
    "more_than_limit": Kind("so many rows more than Limit", int),
    "offset_ignored": Kind("always the first page", bool),
    "offset_refused": Kind("400 from this Offset on", int),
    "past_end": Kind("an Offset behind the last row: 400, or the last row again", ("refused", "last")),
    "relative": Kind("relative periods are those of UTC, whatever zone is named", ("utc",)),
    "order": Kind("OrderBy is not kept", ("ignored", "descending", "ties", "shuffled")),
    "ends": Kind("how the range's ends count", ENDS),
    "filter": Kind("Filter is not kept; gte: $gt passes the value itself", ("ignored", "refused", "gte")),
    "window_refused_s": Kind("refuse a range longer than this", float, {"code": 400}),
    "rows_refused": Kind("refuse a range with more rows than this", int, {"code": 504}),
    # rows that are not what they should be
    "duplicates": Kind("this share of the rows twice, so many rows apart", float, {"distance": 1}),
    "versions": Kind(
        "an older version of this share of the rows as well", float, {"distance": 1, "older_first": True}
    ),
    "foreign": Kind("so many rows from before and after the range as well", int),
    "insert": Kind("insert so many records before the page asked for, once", int, times=1),
    "delete": Kind("delete so many records before the page asked for, once", int, times=1),
    "rewrite": Kind("write so many records before the page anew, once", int, times=1),
    "churn": Kind(
        "with each request write so many records anew, wherever they are, insert `late` and delete "
        "`removed`; a clock that was set goes on by `step_s`",
        int,
        {"late": 0, "removed": 0, "step_s": 0.0},
    ),
    "record": Kind(
        "damage one row in so many (option `one_in`), the same ones always",
        (
            "no_key",
            "no_date",
            "null_key",
            "bad_date",
            "number",
            "null",
            "text",
            "list",
            "surrogate",
            "utf8",
            "nan",
            "bigint",
            "twice_keys",
        ),
        {"one_in": 500},
    ),
    # bodies
    "result_code": Kind("this resultCode inside a 200, with data null", int),
    "data": Kind("what stands in the place of the records", ("null", "missing", "object", "text", "empty")),
    "body": Kind(
        "spoil the whole body",
        (
            "html",
            "empty",
            "bom",
            "pretty",
            "utf8",
            "nan",
            "cut_json",
            "trailing",
            "text",
            "two_codes",
            "two_lists",
        ),
    ),
}

_WORDS: Mapping[str, tuple[str, ...]] = {
    "retry_as": ("seconds", "date"),
    "content": ("json", "html", "empty", "no_records"),
    "headers": ("none", "seconds", "epoch", "draft"),
    "per": ("window", "offset", "request"),
}
"""Options that are one of these words."""
_MORE_THAN_NOTHING = ("rate", "burst", "drip", "workers", "page_cap", "one_in", "every")
_OF_ANY_SIGN = ("skew_s", "result_code", "step_s")

DATASETS = ("interactions", "messages", "events", "rollup", "queues", "timezones")
RULES = ("share", "first", "after", "every", "times", "start", "end", "dataset", "offset", "for_s", "by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    name: str
    value: Any
    options: Mapping[str, Any]
    share: float = 1.0
    first: int | None = None
    after: int = 0
    every: int = 1
    times: int | None = None
    start: int | None = None  # microseconds
    end: int | None = None
    dataset: str | None = None
    offset: int = 0
    for_s: float | None = None
    by: str = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the schedule knows of one request. `number` counts from 1 since the faults were set."""

    number: int
    elapsed_s: float
    dataset: str
    start_us: int = 0
    end_us: int = 0
    limit: int | None = None
    offset: int = 0


def parse_faults(entries: Iterable[Mapping[str, object]]) -> tuple[Fault, ...]:
    """ValueError names the unknown word and the nearest known one."""
    return tuple(_parse(entry) for entry in entries)


def parse_argument(text: str) -> dict[str, object]:
    """`status=503,share=0.1` as an entry; values are JSON where they can be read so, else text."""
    entry: dict[str, object] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError(f"fault {text!r}: expected NAME=VALUE, as in status=503,share=0.1")
        try:
            read = orjson.loads(value)
        except orjson.JSONDecodeError:
            read = value
        entry[name.strip()] = value if read is None else read  # the word in `data=null`; TOML has no null
    return entry


class Schedule:
    """Which faults strike a request. Without faults this costs nothing."""

    def __init__(self, faults: tuple[Fault, ...], seed: int) -> None:
        self.faults = faults
        self._seed = seed
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._struck: Counter[int] = Counter()

    def strike(self, ask: Ask) -> dict[str, Fault]:
        """By name; of two with one name the later in the list wins."""
        struck: dict[str, Fault] = {}
        for place, fault in enumerate(self.faults):
            if self._strikes(place, fault, ask):
                struck[fault.name] = fault
                self._struck[place] += 1
        return struck

    def _strikes(self, place: int, fault: Fault, ask: Ask) -> bool:
        if fault.dataset not in (None, ask.dataset) or ask.offset < fault.offset:
            return False
        if fault.start is not None and ask.end_us < fault.start:
            return False
        if fault.end is not None and ask.start_us >= fault.end:
            return False
        if fault.for_s is not None and ask.elapsed_s > fault.for_s:
            return False
        subject: tuple[object, ...]
        if fault.by == "request":
            subject, nth = (), ask.number
        else:
            subject = (ask.dataset, ask.start_us, ask.end_us)
            if fault.by == "ask":
                subject += (ask.limit, ask.offset)
            self._seen[(place, *subject)] += 1
            nth = self._seen[(place, *subject)]
        if ask.number <= fault.after or (fault.first is not None and nth > fault.first):
            return False
        if ask.number % fault.every or (fault.times is not None and self._struck[place] >= fault.times):
            return False
        if fault.by == "window":
            nth = 0
        return fault.share >= 1 or draw(self._seed, place, subject, nth) < fault.share


def draw(*subject: object) -> float:
    """A number in [0, 1) that follows from the subject alone. Subjects that differ in a digit have nothing in
    common: a checksum, being linear, would let the second try of an ask fail where the first did."""
    digest = hashlib.blake2b(repr(subject).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def _parse(entry: Mapping[str, object]) -> Fault:
    names = [name for name in entry if name in KINDS]
    if len(names) != 1:
        unknown = [name for name in entry if name not in RULES and name not in KINDS]
        near = difflib.get_close_matches(unknown[0], KINDS, 1) if unknown else []
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(KINDS)}"
        raise ValueError(f"a fault has one name, this one has {len(names)}: {dict(entry)}{hint}")
    (name,) = names
    kind = KINDS[name]
    options = dict(kind.options)
    rules: dict[str, Any] = {"times": kind.times}
    for key, value in entry.items():
        if key in options:
            options[key] = _option(name, key, kind.options[key], value)
        elif key in RULES:
            rules[key] = _rule(name, key, value)
        elif key != name:
            near = difflib.get_close_matches(key, [*options, *RULES], 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join([*options, *RULES])}"
            raise ValueError(f"fault {name} has no {key}; {hint}")
    return Fault(name=name, value=_value(name, kind.value, entry[name]), options=options, **rules)


def _value(name: str, wanted: type | tuple[str, ...], value: object) -> object:
    if isinstance(wanted, tuple):
        if value not in wanted:
            raise ValueError(f"fault {name} cannot be {value!r}; it is one of {', '.join(wanted)}")
        return value
    if wanted is bool and value is False:
        raise ValueError(f"fault {name} is true, or not there at all; leave it out")
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise ValueError(f"fault {name} takes a {wanted.__name__}, not {value!r}")
    _check_size(f"fault {name}", name, value)
    return value


def _option(name: str, key: str, default: object, value: object) -> object:
    """What an option may be follows from its default; only `retry_after` may be any text, as servers send."""
    if key in _WORDS:
        if value not in _WORDS[key]:
            raise ValueError(f"fault {name}: {key} is one of {', '.join(_WORDS[key])}, not {value!r}")
        return value
    if key == "retry_after":
        if isinstance(value, bool) or not isinstance(value, int | float | str | None):
            raise ValueError(f"fault {name}: {key} is a number or a text, not {value!r}")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"fault {name}: {key} is true or false, not {value!r}")
        return value
    wanted, word = (int, "whole number") if isinstance(default, int) else (int | float, "number")
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ValueError(f"fault {name}: {key} takes a {word}, not {value!r}")
    _check_size(f"fault {name}: {key}", key, value)
    return value


def _check_size(what: str, name: str, value: object) -> None:
    """ValueError for a number that the server could not go by."""
    if isinstance(value, bool) or not isinstance(value, int | float) or name in _OF_ANY_SIGN:
        return
    if name in ("status", "code") and not 200 <= value <= 599:
        raise ValueError(f"{what} is from 200 to 599, not {value!r}")
    if name in ("share", "duplicates", "versions") and not 0 <= value <= 1:
        raise ValueError(f"{what} is a share, from 0 to 1, not {value!r}")
    is_divisor = name in _MORE_THAN_NOTHING
    if value < 0 or (value == 0 and is_divisor):
        raise ValueError(f"{what} is {'more than 0' if is_divisor else '0 or more'}, not {value!r}")


def _rule(name: str, key: str, value: object) -> object:
    if key in ("start", "end"):
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise ValueError(f"fault {name}: {key} needs a zone")
        return round(moment.timestamp() * 1_000_000)
    if key == "by" and value not in ("ask", "window", "request"):
        raise ValueError(f"fault {name}: by is ask, window or request, not {value!r}")
    if key == "dataset" and value not in DATASETS:
        raise ValueError(f"fault {name}: dataset is one of {', '.join(DATASETS)}, not {value!r}")
    if key not in ("by", "dataset") and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"fault {name}: {key} takes a number, not {value!r}")
    _check_size(f"fault {name}: {key}", key, value)
    return value
