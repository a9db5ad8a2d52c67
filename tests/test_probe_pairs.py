"""probe: under any two behaviours of a source at once, what is told is true, or "not measured".

Each behaviour says which facts it changes and to what. Where two speak of one fact, the later in the table is
what shows of it; `TOGETHER` holds what is different then.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest

from harvester.contract import Fact
from harvester.probe import MOST_REQUESTS, TITLES, probe
from tests.harvesting import HastyClock, World, live

Values = Mapping[str, set[Any]]
RECORDS: Final = 400
WHOLE: Final = set(range(RECORDS - 2, RECORDS + 5))
"""Some stand on the very ends of the span."""
MORE: Final = set(range(RECORDS, RECORDS * 5 // 4))
ZONE: Final = "Asia/Tokyo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    fault: Mapping[str, Any]
    """What the simulator does."""
    told: Values
    """The values that are true then; none at all where none is."""
    hides: frozenset[str]
    """What may not be measured then, alone or with another."""
    words: Mapping[str, str]


def of(
    fault: Mapping[str, Any], *, hides: str = "", words: tuple[str, str] | None = None, **told: Any
) -> Behaviour:
    values = {name: one if isinstance(one, set) else {one} for name, one in told.items()}
    return Behaviour(
        fault=fault, told=values, hides=frozenset(hides.split()), words=dict([words] if words else [])
    )


PLAIN: Final[Values] = {
    "access": {"granted"},
    "limit": {"honoured"},
    "largest_page": WHOLE,
    "ends": {"inclusive"},
    "sub_second": {"compared"},
    "order": {"ascending"},
    "order_by_date": {"ascending"},
    "ties": {"stable"},
    "offset": {"works"},
    "past_end": {"empty"},
    "deep_offset": {"works"},
    "seek": {"works"},
    "compression": {"none"},
    "relative_days": {"agree"},
}
BEHAVIOURS: Final = {
    "exclusive": of({"ends": "exclusive"}, ends="exclusive"),
    "open": of({"ends": "open"}, ends="open"),
    "end only": of({"ends": "end_only"}, ends="end only"),
    "seconds": of({"ends": "seconds"}, sub_second="cut"),
    "order ignored": of({"order": "ignored"}, order="not kept", order_by_date="not kept"),
    "descending": of({"order": "descending"}, order="descending", order_by_date="descending"),
    "shuffled": of(
        {"order": "shuffled"},
        hides="offset deep_offset relative_days",
        order="not kept",
        order_by_date="not kept",
        ties="change",
        offset=set(),
    ),
    "ties": of(
        {"order": "ties"},
        hides="offset deep_offset",
        order="not kept",
        ties="change",
        offset={"works", "overlaps", "skips"},
    ),
    "more than limit": of({"more_than_limit": 3}, limit="ignored"),
    "twice": of({"duplicates": 0.1}, offset={"works", "overlaps"}, largest_page=MORE),
    "versions": of({"versions": 0.1}, offset={"works", "overlaps"}, largest_page=MORE),
    "foreign": of(
        {"foreign": 2},
        hides="ends sub_second relative_days seek offset past_end deep_offset",
        seek=set(),
        largest_page=MORE,
    ),
    "too long": of(
        {"window_refused_s": 90_000.0},
        words=("access", "the whole span is refused at once, 1 day is not"),
        largest_page=set(range(1, RECORDS)),
    ),
    "limit refused": of(
        {"limit_refused": 120},
        words=("limit", "200 is refused, 100 is accepted"),
        hides="relative_days",
        limit="refused",
        largest_page=100,
    ),
    "cap": of(
        {"page_cap": 37},
        words=("limit", "given, and more followed"),
        hides="relative_days ties",
        limit="cut",
        largest_page=37,
    ),
    "small cap": of(
        {"page_cap": 5},
        words=("limit", "given, and more followed"),
        hides="order order_by_date ties relative_days offset past_end deep_offset seek",
        limit="cut",
        largest_page=5,
    ),
    "varying cap": of(
        {"page_cap": 43, "least": 11},
        hides="relative_days ties seek past_end",
        limit="cut",
        largest_page=set(range(11, 44)),
    ),
    "any cap": of(
        {"page_cap": 43, "least": 11, "per": "request"},
        hides="relative_days ties seek past_end deep_offset limit",
        limit="cut",
        largest_page=set(range(11, 44)),
    ),
    "limit ignored": of({"limit_ignored": 60}, hides="relative_days ties", limit="ignored", largest_page=60),
    "refused past the end": of(
        {"past_end": "refused"}, hides="deep_offset", past_end="refused", deep_offset=set()
    ),
    "repeats past the end": of({"past_end": "last"}, past_end="repeats"),
    "offset refused from 40": of({"offset_refused": 40}, deep_offset="refused"),
    "offset refused from 5000": of({"offset_refused": 5000}, deep_offset="refused"),
    "offset ignored": of(
        {"offset_ignored": True},
        hides="deep_offset",
        offset="ignored",
        past_end="repeats",
        deep_offset=set(),
    ),
    "offset refused": of({"offset_refused": 1}, offset="refused", past_end="refused", deep_offset="refused"),
    "filter ignored": of({"filter": "ignored"}, seek="ignored"),
    "filter refused": of({"filter": "refused"}, seek="refused"),
    "filter with equal": of({"filter": "gte"}, seek="wrong"),
    "429": of(
        {"status": 429, "times": 1, "after": 2, "headers": "draft"},
        words=("rate", '"default";q=1; 1 request was told to wait'),
    ),
    "slow clock": of({"skew_s": -7200.0}),
    "relative UTC": of({"relative": "utc"}, relative_days="UTC"),
    "gzip": of({"gzip": True}, compression="gzip"),
}
TOGETHER: Final[Mapping[frozenset[str], Values]] = {
    frozenset({"more than limit", "limit refused"}): {"limit": {"ignored"}, "largest_page": {103}},
    frozenset({"more than limit", "cap"}): {"limit": {"ignored"}, "largest_page": {40}},
    frozenset({"more than limit", "small cap"}): {"limit": {"ignored"}, "largest_page": {8}},
    frozenset({"more than limit", "varying cap"}): {"limit": {"ignored"}, "largest_page": {*range(14, 47)}},
    frozenset({"more than limit", "any cap"}): {"limit": {"ignored"}, "largest_page": {*range(14, 47)}},
    frozenset({"more than limit", "limit ignored"}): {
        "limit": {"ignored"},
        "largest_page": {63},
    },
    frozenset({"offset refused from 40", "offset ignored"}): {"deep_offset": {"refused"}},
    frozenset({"offset refused from 5000", "offset ignored"}): {"deep_offset": {"refused"}},
    frozenset({"foreign", "filter ignored"}): {"seek": set()},
    frozenset({"foreign", "filter with equal"}): {"seek": set()},
}
ENDS: Final = ("exclusive", "open", "end only")


def faults(*names: str) -> list[dict[str, Any]] | None:
    """None where the two are two answers to one question, and no source does both."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        fault = dict(BEHAVIOURS[name].fault)
        kind = next(iter(fault))
        if kind in found:
            if "seconds" not in names or kind != "ends":
                return None
            fault = {"ends": f"{found[kind]['ends']}_seconds"}
        found[kind] = fault
    return list(found.values())


PARTNERS: Final = {
    one: [other for first, other in combinations(BEHAVIOURS, 2) if first == one and faults(one, other)]
    for one in BEHAVIOURS
}


class AtNoon(HastyClock):
    """It is noon of 3 January 2024 in London, and the evening in Tokyo."""

    def now(self) -> datetime:
        return datetime(2024, 1, 3, 12, tzinfo=UTC)


async def probed(world: World, *names: str) -> dict[str, Fact]:
    simulator = world.simulator
    simulator.settings = replace(simulator.settings, gzip="gzip" in names)
    simulator.set_faults([fault for fault in faults(*names) or () if "gzip" not in fault])
    found = await probe(world.job(time_zone=ZONE), clock=AtNoon())
    assert found.requests <= MOST_REQUESTS
    assert [fact.name for fact in found.facts] == list(TITLES)
    return {fact.name: fact for fact in found.facts}


def untrue(names: Sequence[str], facts: Mapping[str, Fact]) -> list[str]:
    """What was told and is not so, and what was not told although nothing hid it."""
    behaviours = [BEHAVIOURS[name] for name in names]
    true: dict[str, set[Any]] = dict(PLAIN)
    pairs = (TOGETHER.get(frozenset(pair), {}) for pair in combinations(names, 2))
    for values in (*(one.told for one in behaviours), *pairs):
        true |= values
    hidden = frozenset[str]().union(*(one.hides for one in behaviours))
    found = [
        f"{name}: {facts[name].told}"
        for name, values in true.items()
        if (facts[name].value not in values if facts[name].measured else name not in hidden)
    ]
    words = dict(word for one in behaviours for word in one.words.items())
    found += [
        f"{name}: {facts[name].told}"
        for name, text in words.items()
        if text not in facts[name].told and facts[name].measured
    ]
    skew_s = time.time() - AtNoon().now().timestamp() - (7200 if "slow clock" in names else 0)
    if abs(facts["clock_skew"].value - skew_s) > 60:
        found.append(facts["clock_skew"].told)
    return found


@pytest.mark.parametrize("one", BEHAVIOURS)
def test_what_is_told_of_two_behaviours_at_once_is_true(tmp_path: Path, one: str) -> None:
    wrong: dict[tuple[str, ...], list[str]] = {}

    async def story(world: World) -> None:
        for names in ((one,), *((one, other) for other in PARTNERS[one])):
            if found := untrue(names, await probed(world, *names)):
                wrong[names] = found

    live(tmp_path, story, records=RECORDS, slim=True, now=AtNoon().now())
    assert not wrong


@pytest.mark.parametrize(
    "names",
    [
        ("more than limit", "any cap", "offset ignored"),
        ("any cap", "offset refused", "filter ignored"),
        ("shuffled", "foreign", "cap"),
        ("shuffled", "foreign", "limit ignored"),
        ("descending", "foreign", "any cap"),
        ("order ignored", "limit ignored", "relative UTC"),
    ],
)
def test_chance_and_a_third_behaviour_make_nothing_untrue(tmp_path: Path, names: tuple[str, ...]) -> None:
    async def story(world: World) -> None:
        assert untrue(names, await probed(world, *names)) == []

    live(tmp_path, story, records=RECORDS, slim=True, now=AtNoon().now())
