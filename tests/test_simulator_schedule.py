"""When a fault strikes, and how it is written down."""

import re
from pathlib import Path
from typing import Any

import pytest

from harvester.testing.faults import Ask, Schedule, parse_argument, parse_faults


def fates(faults: list[dict[str, object]], asks: list[Ask], seed: int = 1) -> list[list[str]]:
    schedule = Schedule(parse_faults(faults), seed)
    return [sorted(schedule.strike(ask)) for ask in asks]


def asks(count: int, **other: Any) -> list[Ask]:
    return [Ask(number=n, elapsed_s=n / 10, dataset="interactions", **other) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ({"first": 2}, [1, 2]),
        ({"after": 4}, [5, 6]),
        ({"every": 3}, [3, 6]),
        ({"times": 1, "after": 2}, [3]),
        ({"for_s": 0.25}, [1, 2]),
        ({"first": 4, "after": 2, "by": "request"}, [3, 4]),
        ({"dataset": "messages"}, []),
        ({"offset": 1}, []),
        ({"share": 0.0}, []),
    ],
)
def test_rules_say_which_requests_are_struck(rule: dict[str, object], numbers: list[int]) -> None:
    struck = fates([{"status": 500, **rule}], asks(6))
    assert [n for n, names in enumerate(struck, 1) if names] == numbers


def test_a_range_of_time_is_poisoned_and_its_neighbours_are_not() -> None:
    fault = parse_faults([{"status": 500, "start": "1970-01-01T00:00:10Z", "end": "1970-01-01T00:00:20Z"}])
    for start_s, end_s, struck in [(0, 9.9, 0), (0, 10, 1), (12, 13, 1), (19, 30, 1), (20, 30, 0)]:
        one = Ask(number=1, elapsed_s=0, dataset="x", start_us=int(start_s * 1e6), end_us=int(end_s * 1e6))
        assert len(Schedule(fault, 1).strike(one)) == struck


def test_the_tries_of_one_ask_are_drawn_as_if_they_had_nothing_in_common() -> None:
    windows = [
        Ask(number=n, elapsed_s=0, dataset="x", start_us=n * 3_600_000_000, limit=10, offset=0)
        for n in range(3000)
    ]
    tries = fates([{"status": 503, "share": 0.2}], windows * 2)
    both = sum(1 for one, two in zip(tries[:3000], tries[3000:], strict=True) if one and two)
    assert 80 < both < 160, "one in 25"


def test_a_share_strikes_the_same_asks_in_whatever_order_they_come() -> None:
    windows = [
        Ask(number=n, elapsed_s=0, dataset="x", start_us=n, end_us=n + 1, limit=10, offset=0)
        for n in range(1, 400)
    ]
    struck = fates([{"status": 500, "share": 0.2}], windows)
    assert 40 < sum(map(bool, struck)) < 120
    assert fates([{"status": 500, "share": 0.2}], windows[::-1])[::-1] == struck
    assert fates([{"status": 500, "share": 0.2}], windows, seed=2) != struck
    again = fates([{"status": 500, "share": 0.2}], windows + windows)[len(windows) :]
    assert again != struck, "a second try draws anew"
    lasting = fates([{"page_cap": 5, "share": 0.2, "by": "window"}], windows + windows)
    assert lasting[: len(windows)] == lasting[len(windows) :], "a window's fate is for good"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"page_capp": 5}, "page_cap"),
        ({"share": 0.5}, "one name"),
        ({"status": 500, "page_cap": 5}, "has 2"),
        ({"status": "500"}, "int"),
        ({"page_cap": True}, "int"),
        ({"order": "up"}, "descending"),
        ({"status": 500, "shares": 1}, "share"),
        ({"status": 500, "share": "half"}, "number"),
        ({"status": 500, "by": "day"}, "by"),
        ({"status": 500, "start": "2024-01-01T00:00:00"}, "zone"),
        ({"status": 500, "every": 0}, "every"),
        ({"status": 500, "share": 2}, "from 0 to 1"),
        ({"status": 500, "dataset": "calls"}, "interactions"),
        ({"status": 99}, "200 to 599"),
        ({"redirect": "http://127.0.0.1:1/", "code": 1000}, "200 to 599"),
        ({"status": 503, "retry_as": "dat"}, "seconds, date"),
        ({"status": 503, "retry_after": True}, "a number or a text"),
        ({"rate": 5, "burst": "x"}, "burst takes a number"),
        ({"rate": 5, "burst": 0}, "more than 0"),
        ({"rate": 5, "headers": "none?"}, "epoch"),
        ({"rate": 0}, "more than 0"),
        ({"drip": 0}, "more than 0"),
        ({"workers": 0}, "more than 0"),
        ({"page_cap": 0}, "more than 0"),
        ({"page_cap": 9, "least": 2, "per": "day"}, "window, offset, request"),
        ({"churn": 1, "late": 0.5}, "whole number"),
        ({"record": "no_key", "one_in": 0}, "more than 0"),
        ({"hang_s": -1}, "0 or more"),
        ({"duplicates": 1.5}, "from 0 to 1"),
        ({"versions": 0.1, "older_first": 1}, "true or false"),
        ({"offset_ignored": False}, "leave it out"),
    ],
)
def test_a_wrong_fault_is_named_with_the_way_out(entry: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_faults([entry])


def test_an_argument_reads_as_an_entry() -> None:
    assert parse_argument("status=503,share=0.5,content=html") == {
        "status": 503,
        "share": 0.5,
        "content": "html",
    }
    assert parse_argument("data=null") == {"data": "null"}
    with pytest.raises(ValueError, match="NAME=VALUE"):
        parse_argument("status")


def test_each_switch_of_the_documentation_is_one() -> None:
    """docs/behaviours.md is what one copies `--fault` from."""
    table = (Path(__file__).parents[1] / "docs" / "behaviours.md").read_text()
    cells = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")]
    switches = [one for cell in cells for one in re.findall(r"`([a-z_]+=[^`…]+)`", cell)]
    assert len(switches) > 60
    parse_faults([parse_argument(one) for one in switches])
