"""A story, drawn from a seed: the source's table and manners, the job, and what befalls each run."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Final

from harvester.windows import Resolution, Span

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
HOUR_MS: Final = 3_600_000
WEATHERS: Final = {
    "calm": {},
    "fair": {"slow": 0.05, "500": 0.02, "503": 0.01, "html": 0.01},
    "throttling": {"429": 0.08, "429 asks": 0.05, "503 asks": 0.03, "429 date": 0.02},
    "failing": {"500": 0.12, "cut": 0.06, "hang": 0.04, "502 asks": 0.01},
    "spoiling": {"html": 0.06, "empty": 0.04, "code": 0.06, "null": 0.04, "cut json": 0.06, "pretty": 0.1},
    "foul": {
        "slow": 0.1, "429": 0.03, "429 asks": 0.03, "503": 0.03, "500": 0.06, "cut": 0.04, "hang": 0.03,
        "html": 0.02, "code": 0.03, "cut json": 0.03, "pretty": 0.05, "413": 0.01,
    },
    "storm": {"500": 0.85},
}  # fmt: skip
"""How often each fault strikes a request; a storm begins when all tasks are under way."""
STORM_AFTER: Final = 50
"""Requests."""


@dataclass(frozen=True, slots=True)
class Record:
    ms: int
    """Of Unix time."""
    key: str
    version: str
    raw: bytes
    there_from_s: float = 0.0
    there_until_s: float = inf
    """In seconds of the story: rows that come and go while others are paged."""

    @property
    def moves(self) -> bool:
        return self.there_from_s > 0 or self.there_until_s < inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One run of the job and what befalls it."""

    hours: tuple[int, int]
    weather: str = "calm"
    fate: str = "none"
    """none, drain, cut short (a drain, then a cancel), budget, crash (at a virtual time) or crash at (an
    operation on the disk).
    """
    after_s: float = 0.0
    operation: int = 0
    outages: tuple[tuple[float, float], ...] = ()
    """When the source is out of reach: from, until, in seconds of the run."""
    expires_after: int | None = None
    """Requests after which the token is no longer good."""
    renewed_after_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    seed: int
    records: list[Record]
    """In the source's own order; a record may be there twice, and in an older version too."""
    hours: int
    begins: datetime
    """The wall's time when the story begins; records that are later appear when their time comes."""
    skew_s: float
    """By which the client's clock runs ahead of the source's."""
    resolution: Resolution
    ends: str
    order: str
    page_cap: int
    page_size: int
    concurrency: int
    requests_per_second: float | None
    max_attempts: int
    max_outage_s: float
    shard_bytes: int
    compression: str
    held_bytes: int
    episodes: list[Episode] = field(default_factory=list)

    @property
    def span(self) -> Span:
        return Span(start=START, end=START + timedelta(hours=self.hours))

    def span_of(self, episode: Episode) -> Span:
        first, last = episode.hours
        return Span(start=START + timedelta(hours=first), end=START + timedelta(hours=last))

    def truth(self, spans: list[Span]) -> list[Record]:
        """The newest version of each record in the spans, in the order of the output."""
        newest: dict[str, Record] = {}
        for record in self.records:
            known = newest.get(record.key)
            if known is None or record.version > known.version:
                newest[record.key] = record
        moments = [(round(s.start.timestamp() * 1000), round(s.end.timestamp() * 1000)) for s in spans]
        inside = [one for one in newest.values() if any(low <= one.ms < high for low, high in moments)]
        return sorted(inside, key=lambda one: (one.ms, one.key))


def draw(seed: int) -> Scenario:
    rng = random.Random(seed)
    storms = rng.random() < 0.04
    hours = 48 if storms else rng.choice([3, 5, 8, 13, 26, 30])
    order = rng.choices(["kept", "by date", "ties", "descending"], [6, 2, 1, 1])[0]
    manners = rng.choices(["single", "doubles", "versions"], [4, 1, 1])[0] if order != "ties" else "single"
    is_live = rng.random() < 0.1
    records = _records(rng, hours, manners)
    moving = manners == "single" and rng.random() < 0.12
    if moving:
        records = [_moved(record, rng) for record in records]
    return Scenario(
        seed=seed,
        records=records,
        hours=hours,
        begins=START + timedelta(hours=rng.uniform(0.5, hours)) if is_live else START + timedelta(days=40),
        skew_s=rng.choice([0.0, 0.0, 900.0, -900.0]),
        resolution=Resolution.QUARTER_HOUR
        if storms
        else rng.choices(
            [Resolution.HOUR, Resolution.AUTO, Resolution.DAY, Resolution.QUARTER_HOUR],
            [1, 0, 6, 0] if moving else [6, 4, 2, 1 if hours < 8 else 0],
        )[0],
        ends=rng.choice(["inclusive", "exclusive", "open", "seconds"]),
        order=order,
        page_cap=rng.choice([3, 7, 100, 100, 100]),
        page_size=4 if moving else rng.choice([4, 6, 10, 25]),
        concurrency=40 if storms else rng.choice([1, 2, 3, 6]),
        requests_per_second=None if storms else rng.choice([None, None, 4.0, 15.0]),
        max_attempts=8 if storms else rng.choice([3, 5, 8]),
        max_outage_s=rng.choice([5.0, 30.0, 120.0]),
        shard_bytes=rng.choice([300, 1500, 100_000]),
        compression=rng.choice(["none", "none", "zstd", "gzip"]),
        held_bytes=rng.choice([1 << 20, 1 << 20, 600]),
        episodes=[_episode(rng, hours, storms) for _ in range(rng.choice([1, 1, 2, 3]))],
    )


def _records(rng: random.Random, hours: int, manners: str) -> list[Record]:
    first = round(START.timestamp() * 1000)
    ties = rng.choice([0.0, 0.15, 0.6])
    moments: list[int] = []
    for _ in range(rng.choice([0, 1, 6, 20, 40, 70])):
        kind = rng.random()
        if kind < ties and moments:
            ms = rng.choice(moments[-4:])
        elif kind < ties + 0.2:
            ms = first + rng.randrange(hours + 1) * HOUR_MS + rng.choice([-1, 0, 0, 1, 500])
        else:
            ms = first + rng.randrange(-HOUR_MS, (hours + 1) * HOUR_MS)
        moments.append(ms)
    records: list[Record] = []
    for number, ms in enumerate(sorted(moments)):
        key = f"{rng.getrandbits(24):06x}{number:018x}"
        record = _record(ms, key, 5, number, rng)
        records.append(record)
        if manners == "doubles" and rng.random() < 0.15:
            records.append(record)
        elif manners == "versions" and rng.random() < 0.2:
            records.insert(len(records) - rng.randrange(2), _record(ms, key, rng.randrange(5), number, rng))
    return records


def _record(ms: int, key: str, version: int, number: int, rng: random.Random) -> Record:
    at = _iso(datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms))
    written = f"2024-02-01T00:00:{version:02d}.000Z"
    raw = (
        f'{{"_id":"{key}","StartedDateTimeUtc":"{at}","RecordWrittenAtUtc":"{written}","n":{number},'
        f'"pad":"{"x" * rng.randrange(40)}"}}'
    )
    return Record(ms, key, written, raw.encode())


def _moved(record: Record, rng: random.Random) -> Record:
    match rng.choices(["stays", "comes", "goes"], [3, 1, 1])[0]:
        case "comes":
            return replace(record, there_from_s=rng.uniform(0, 5))
        case "goes":
            return replace(record, there_until_s=rng.uniform(0, 5))
    return record


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _episode(rng: random.Random, hours: int, storms: bool) -> Episode:
    first, last = 0, hours
    if rng.random() < 0.3 and not storms:  # a part of the span, which a later run extends
        first = rng.randrange(hours)
        last = rng.randrange(first, hours) + 1
    outages: tuple[tuple[float, float], ...] = ()
    if rng.random() < 0.15:
        begin_s = rng.uniform(0, 8)
        outages = ((begin_s, begin_s + rng.choice([1.0, 10.0, 60.0, 400.0])),)
    return Episode(
        hours=(first, last),
        weather="storm" if storms else rng.choice([name for name in WEATHERS if name != "storm"]),
        fate=rng.choices(["none", "drain", "cut short", "budget", "crash", "crash at"], [4, 1, 1, 1, 2, 4])[
            0
        ],
        after_s=rng.choice([0.0, rng.uniform(0, 1), rng.uniform(0, 12), rng.uniform(0, 60)]),
        operation=rng.randrange(1, 70),
        outages=outages,
        expires_after=rng.randrange(30) if rng.random() < 0.12 else None,
        renewed_after_s=rng.choice([0.2, 5.0, 60.0]),
    )
