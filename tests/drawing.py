"""Draws a server and a job from a seed: two to five behaviours at once, small data, any resolution.

A behaviour is a list of faults that the simulator knows. Those of `LOSSY` may cost a window or the run; under
all others together a harvest is exact and says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

from harvester.testing import Settings
from harvester.windows import Resolution
from tests.harvesting import DAY, START

Faults = list[dict[str, Any]]


def _share(random: Random) -> float:
    return random.choice([0.02, 0.05, 0.1])


def _stretch(random: Random, hours: float) -> dict[str, str]:
    start = START + timedelta(hours=random.uniform(0, 48 - hours))
    return {"start": start.isoformat(), "end": (start + timedelta(hours=hours)).isoformat()}


def _now_and_then(random: Random, *choices: dict[str, Any]) -> Faults:
    return [{**random.choice(choices), "share": _share(random)}]


BEHAVIOURS: Final[dict[str, Callable[[Random], Faults]]] = {
    "ends": lambda r: [{"ends": r.choice(["exclusive", "open", "seconds"])}],
    "cap": lambda r: [{"page_cap": r.choice([7, 20, 37, 50])}],
    "cap by window": lambda r: [{"page_cap": r.choice([7, 20, 33]), "share": 0.5, "by": "window"}],
    "cap now and then": lambda r: [{"page_cap": r.choice([9, 20]), "share": 0.3}],
    "limit refused": lambda r: [{"limit_refused": r.choice([10, 40, 60])}],
    "limit ignored": lambda r: [{"limit_ignored": r.choice([30, 80, 700])}],
    "more than limit": lambda r: [{"more_than_limit": r.choice([1, 3, 40])}],
    "offset ignored": lambda r: [{"offset_ignored": True}],
    "offset refused": lambda r: [{"offset_refused": r.choice([30, 90])}],
    "offset slow": lambda r: [{"slow_offset_ms": 40.0}],
    "order": lambda r: [{"order": r.choice(["ignored", "ties", "descending"])}],
    "shuffled": lambda r: [{"order": "shuffled"}],
    "order now and then": lambda r: [{"order": r.choice(["ignored", "descending"]), "share": 0.3}],
    "moved": lambda r: [
        {r.choice(["insert", "delete", "rewrite"]): r.choice([1, 3]), "offset": r.choice([0, 5]), "times": 2}
    ],
    "duplicates": lambda r: [{"duplicates": r.choice([0.02, 0.2]), "distance": r.choice([1, 5, 40])}],
    "versions": lambda r: [
        {"versions": r.choice([0.02, 0.2]), "distance": r.choice([1, 9]), "older_first": r.random() < 0.5}
    ],
    "foreign": lambda r: [{"foreign": r.choice([1, 4])}],
    "records": lambda r: [
        {
            "record": r.choice(["no_key", "no_date", "null", "list", "surrogate", "nan", "utf8", "bad_date"]),
            "one_in": 40,
        }
    ],
    "odd records": lambda r: [{"record": r.choice(["bigint", "twice_keys"]), "one_in": 20}],
    "bodies": lambda r: _now_and_then(
        r,
        *(
            {"body": body}
            for body in (
                "html",
                "empty",
                "utf8",
                "cut_json",
                "trailing",
                "text",
                "nan",
                "two_codes",
                "two_lists",
            )
        ),
        *({"data": data} for data in ("null", "missing", "object", "text")),
        {"result_code": 5},
    ),
    "odd bodies": lambda r: [{"body": r.choice(["bom", "pretty"]), "share": r.choice([0.3, 1.0])}],
    "wire": lambda r: _now_and_then(
        r,
        *({"cut": cut} for cut in ("length", "chunked", "close", "gzip")),
        {"reset": "before"},
        {"reset": "midway"},
    ),
    "status": lambda r: _now_and_then(r, *({"status": one} for one in (408, 500, 502, 504))),
    "throttled": lambda r: _now_and_then(
        r,
        {"status": 429},
        {"status": 503, "retry_after": 1},
        {"status": 503, "retry_after": 1, "retry_as": "date"},
        {"status": 429, "retry_after": 20, "times": 2},
    ),
    "skew": lambda r: [{"skew_s": r.choice([-7200.0, 90.0, 86400.0])}],
    "rate": lambda r: [
        {
            "rate": r.choice([40.0, 200.0]),
            "burst": r.choice([1.0, 5.0]),
            "headers": r.choice(["none", "seconds", "epoch", "draft"]),
            "retry_after": r.choice([None, 1]),
        }
    ],
    "in flight": lambda r: [{"in_flight": r.choice([1, 2]), "retry_after": r.choice([None, 1])}],
    "outage": lambda r: [{"refuse_s": 0.05, "after": r.choice([2, 10])}],
    "silence": lambda r: [{"hang_s": 0.6, "times": 1, "after": r.choice([1, 8])}],
    "drip": lambda r: [{"drip": 500.0, "times": 1, "after": r.choice([1, 8])}],
    "long ranges": lambda r: [{"window_refused_s": r.choice([2000.0, 5000.0, 40_000.0])}],
    "full ranges": lambda r: [{"rows_refused": r.choice([60, 120]), "code": r.choice([400, 504])}],
    "poison": lambda r: [{"status": r.choice([500, 400]), **_stretch(r, r.choice([0.05, 1.5]))}],
    "redirect": lambda r: [{"redirect": "http://127.0.0.1:9/", **_stretch(r, 0.5)}],
    "bomb": lambda r: [{"gzip_bomb": 9, "times": 1, "after": r.choice([1, 6])}],
    "oversize": lambda r: [{"oversize": 9, "times": 1, "after": r.choice([1, 6])}],
    "token": lambda r: [{"expire_token": r.choice([3, 20])}],
}

LOSSY: Final = frozenset(
    {
        "limit ignored",  # one page whatever is asked: a crowded instant cannot be read
        "offset ignored",
        "offset refused",
        "shuffled",
        "order",  # ties that change places, with a cap below what one instant holds
        "order now and then",
        "records",
        "long ranges",
        "full ranges",
        "poison",
        "redirect",
        "token",
        "rate",  # a pause that nobody asks for uses up tries, and the tests' clock makes all pauses short
        "in flight",
        "bodies",  # these two: a page may meet them on each of its tries, together with others
        "wire",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    seed: int
    names: tuple[str, ...]
    faults: Faults
    settings: Settings
    job: dict[str, Any]

    @property
    def may_lose(self) -> bool:
        return not LOSSY.isdisjoint(self.names)

    def __str__(self) -> str:
        resolution = self.job["resolution"].value
        return f"seed {self.seed}: {', '.join(self.names)}; {resolution}, {self.faults}"


def drawn(seed: int) -> Drawn:
    """The same for the same seed, in every process."""
    random = Random(f"faults/{seed}")
    names = random.sample(sorted(BEHAVIOURS), random.randint(2, 5))
    faults = [fault for name in names for fault in BEHAVIOURS[name](random)]
    records = random.choice([30, 150, 400])
    settings = Settings(
        records=records,
        end=START + 2 * DAY,
        seed=random.randint(1, 1000),
        rhythm=random.choice(["business", "flat", "bursty"]),
        cluster=random.choice([0, 3, 25, 60]),
        beyond=random.choice([0, 20]),
        gzip=random.random() < 0.3,
    )
    resolutions = [Resolution.AUTO, Resolution.AUTO, Resolution.HOUR, Resolution.DAY, Resolution.QUARTER_HOUR]
    job = {
        "resolution": random.choice(resolutions),
        "page_size": random.choice([20, 50, 100, 1000]),
        "output": {
            "shard_bytes": random.choice([60_000, 134_217_728]),
            "partition_by": random.choice(["day", "month"]),
        },
        "transport": {
            "concurrency": random.choice([1, 4, 8]),
            "max_attempts": 8,
            "max_outage_s": 60.0,
            "request_timeout_s": 0.4,
            "max_answer_bytes": 8 * 2**20,
        },
    }
    return Drawn(seed=seed, names=tuple(names), faults=faults, settings=settings, job=job)
