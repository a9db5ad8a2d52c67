"""What an answer says about the source: what was seen goes in, a Fact comes out. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil, factorial, log
from statistics import median
from typing import Any, Final

from harvester.contract import Fact
from harvester.dialects import Key
from harvester.printable import printable
from harvester.windows import Span

EDGE: Final = timedelta(seconds=1)
"""Within it of either end a range may mean this or that."""
SKEW_S: Final = 2.0
"""`Date` counts whole seconds and the way takes time: less is no skew."""
TITLES: Final = {
    "access": "access",
    "limit": "page size (Limit)",
    "largest_page": "largest page seen",
    "ends": "ends of a range",
    "sub_second": "milliseconds of a range",
    "order": "order asked for",
    "order_by_date": "order by date",
    "ties": "records of one instant",
    "offset": "Offset",
    "deep_offset": "a far Offset",
    "past_end": "behind the last record",
    "seek": "filter by key ($gt)",
    "rate": "rate limit",
    "lateness": "late changes",
    "clock_skew": "the server's clock",
    "compression": "compression",
    "relative_days": "relative days",
}
"""Every fact in the order in which a person reads them."""


FEWEST: Final = 7
"""Different values that tell an order from chance: one page of 2,520 with so many is in order by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one end of a range counts: whether a record of its very instant is inside, and whether all of its
    second counts as that instant."""

    inside: bool
    cut: bool


def unknown(name: str, why: str) -> Fact:
    return Fact(name=name, told=f"not measured: {why}", measured=False)


def limit(
    asked: int,
    items: int,
    *,
    more: bool | None,
    refused: int | None,
    beyond: tuple[int, int] | None = None,
    largest: int | None = None,
) -> list[Fact]:
    """`asked` is the largest Limit that was not refused, `items` what it brought, `more` whether records
    followed behind it (None: that did not show), `refused` the smallest Limit that was, `beyond` how many
    were asked for where how many came, `largest` the largest page of all.

    A source may do several of these at once: the value is what a page of any size meets first, the words tell
    all of it.
    """
    largest = max(items, largest or 0)
    is_cut = items < asked and more is True
    cut = f"cut without a word: {asked:,} asked for, {items:,} given, and more followed"
    words = [] if refused is None else [f"{refused:,} is refused, {asked:,} is accepted"]
    if beyond is not None:
        came = f"ignored: {_records(beyond[1])} came where {beyond[0]:,} {_were(beyond[0])} asked for"
        return [_limit("ignored", [came, *([cut] if is_cut else []), *words]), _largest(largest)]
    if is_cut:
        return [_limit("cut", [cut, *words]), _largest(largest)]
    unsure = f"of {asked:,} asked for {items:,} came, and whether more follow does not show"
    if refused is not None:
        told = _limit("refused", [*words, *([unsure] if items < asked and more is None else [])])
        if largest == asked:
            return [told, _largest(asked)]
        size = f"{_records(largest)}; a Limit of {asked:,} is accepted"
        return [told, Fact(name="largest_page", value=asked, told=size)]
    if items < asked and more is None:
        return [unknown("limit", unsure), _largest(largest)]
    if items < asked:
        held = f"as asked; there are no more than {_records(items)}, so a cap above that would not show"
        return [_limit("honoured", [held]), _largest(largest)]
    return [_limit("honoured", [f"as asked, up to {asked:,} at least"]), _largest(largest)]


def _limit(value: str, words: list[str]) -> Fact:
    return Fact(name="limit", value=value, told="; ".join(words))


def _largest(items: int) -> Fact:
    return Fact(name="largest_page", value=items, told=_records(items))


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def ends(*, at_start: bool, at_end: bool) -> Fact:
    """Whether a record of the very instant came where a range began and where it ended with it."""
    told = {
        (True, True): ("inclusive", "a record at the start or at the end is inside"),
        (True, False): ("exclusive", "a record at the start is inside, one at the end is not"),
        (False, False): ("open", "a record at the start or at the end is not inside"),
        (False, True): ("end only", "a record at the start is not inside, one at the end is"),
    }
    value, words = told[at_start, at_end]
    return Fact(name="ends", value=value, told=f"{value}: {words}")


def sub_second(start: End, end: End) -> Fact:
    """How either end of a range was seen to count."""
    which = [name for name, one in (("first", start), ("last", end)) if one.cut]
    if not which:
        return Fact(name="sub_second", value="compared", told="compared to the millisecond")
    words = " and ".join(
        f"{'all' if one.inside else 'nothing'} of its {name} second is inside"
        for name, one in (("first", start), ("last", end))
        if one.cut
    )
    if len(which) == 2:
        return Fact(name="sub_second", value="cut", told=f"cut to whole seconds: {words}")
    side = "start" if start.cut else "end"
    words = f"cut to whole seconds at the {side} only: {words}"
    return Fact(name="sub_second", value=f"cut at the {side}", told=words)


def order(name: str, by: str, values: Sequence[Any]) -> Fact:
    """`values` are those of the field that was asked to be the order, as the rows came."""
    is_ascending = all(one <= other for one, other in pairwise(values))
    is_descending = all(one >= other for one, other in pairwise(values))
    if (is_ascending or is_descending) and len(set(values)) < FEWEST:
        return unknown(name, f"too few different values of {by}")
    if is_ascending:
        return Fact(name=name, value="ascending", told=f"kept, by {by}, ascending")
    if is_descending:
        return Fact(name=name, value="descending", told=f"by {by}, but descending")
    return Fact(name=name, value="not kept", told=f"not kept: rows do not come by {by}")


def ties(readings: Sequence[Sequence[Key]]) -> Fact:
    """The records of one instant, asked for several times by date. Which of them come may change too, where a
    page does not hold them all: those that came on both readings tell."""
    count = len(set(readings[0]))
    if any(_differ(readings[0], other) for other in readings[1:]):
        words = f"{count} records came in another order from one reading to the next"
        return Fact(name="ties", value="change", told=words)
    if any(set(other) != set(readings[0]) for other in readings):
        return unknown("ties", "other records came from one reading to the next")
    if count < 2:
        return unknown("ties", "no two records of one instant where the probe looked")
    words = f"{count} records came in the same order on {len(readings)} readings"
    return Fact(name="ties", value="stable", told=words)


def _differ(one: Sequence[Key], other: Sequence[Key]) -> bool:
    both = set(one) & set(other)
    return [key for key in one if key in both] != [key for key in other if key in both]


def readings(count: int) -> int:
    """So many readings of `count` records that an order drawn anew each time comes out the same on all of
    them once in a thousand sources at most."""
    return max(3, 1 + ceil(log(1000) / log(factorial(min(max(count, 2), 20)))))


def offset(
    first: Sequence[Key],
    second: Sequence[Key],
    *,
    between: Sequence[Key] | None,
    again: Sequence[Key],
    follow: bool,
) -> Fact:
    """The first page; the one whose offset is the first's length; the one whose offset is one less, None
    where that tells nothing; the first page once more. `follow`: records are known to follow behind the first
    page."""
    if list(again) != list(first):
        return unknown("offset", "the same page comes otherwise each time")
    if list(second) == list(first):
        return Fact(name="offset", value="ignored", told="ignored: every offset gives the first page")
    if not second:
        if not follow:
            return unknown("offset", "the first page holds all records")
        return Fact(
            name="offset", value="empty", told="nothing comes behind the first page, though more follow"
        )
    if set(first) & set(second):
        return Fact(
            name="offset", value="overlaps", told="unclear: the second page repeats some of the first"
        )
    if between is not None and [*first[-1:], *second][: len(between)] != list(between):
        return Fact(name="offset", value="skips", told="unclear: the second page does not follow the first")
    return Fact(name="offset", value="works", told="works: the next page goes on where the first ended")


def small_offset(first: Sequence[Key], second: Sequence[Key] | None, *, refused: int) -> Fact:
    """Where the next page was refused, at an offset of `refused`: the page whose offset is 1."""
    if second is None or refused == 1:
        return Fact(name="offset", value="refused", told="refused")
    if len(first) > 1 and list(first[1:]) == list(second[: len(first) - 1]):
        return Fact(name="offset", value="works", told=f"works, but {refused:,} is refused")
    return unknown("offset", f"{refused:,} is refused")


def past_end(known: set[Key], got: Sequence[Key] | None) -> Fact:
    """What an offset behind the last of the `known` records brought; None where it was refused."""
    if got is None:
        return Fact(name="past_end", value="refused", told="refused")
    if not known.issuperset(got):
        return unknown("past_end", "other records came than before")
    if got:
        words = f"{_records(len(got))} come{'s' if len(got) == 1 else ''} where there are no more"
        return Fact(name="past_end", value="repeats", told=words)
    return Fact(name="past_end", value="empty", told="an empty page")


def deep_offset(depth: int, *, refused: bool) -> Fact:
    value = "refused" if refused else "works"
    return Fact(name="deep_offset", value=value, told=f"{depth:,} is {'refused' if refused else 'served'}")


def seek(all_keys: set[Key], wanted: set[Key], got: set[Key] | None) -> Fact:
    """Keys beyond a middle one were `wanted`; None where the filter was refused."""
    if got is None:
        return Fact(name="seek", value="refused", told="refused")
    if got == wanted:
        return Fact(name="seek", value="works", told="works: exactly the records behind the key came")
    if got == all_keys:
        return Fact(name="seek", value="ignored", told="ignored: all records came")
    return Fact(name="seek", value="wrong", told="does something else than the key's order says")


def rate(headers: Mapping[str, str], throttled: int) -> Fact:
    headers = {printable(name): printable(text) for name, text in headers.items()}
    words = "announced: " + ", ".join(f"{name}: {text}" for name, text in sorted(headers.items()))
    if not headers:
        words = "not announced in any answer"
    if throttled:
        words += f"; {throttled:,} request{'' if throttled == 1 else 's'} {_were(throttled)} told to wait"
    return Fact(name="rate", value={"headers": headers, "throttled": throttled}, told=words)


def lateness(late: Sequence[timedelta], period: str) -> Fact:
    """How long after the end of its period each record was last written; negative is within it."""
    seconds = sorted(max(0.0, one.total_seconds()) for one in late)
    most, share = seconds[-1], sum(one > 0 for one in seconds) / len(seconds)
    value = {"most_s": round(most, 3), "after_period": round(share, 4), "records": len(seconds)}
    if most <= 0:
        words = f"none of {len(seconds):,} records was written after its {period} had ended"
    else:
        words = (
            f"{share:.0%} of {len(seconds):,} records were written after their {period} had ended, "
            f"up to {_duration(most)} later"
        )
    return Fact(name="lateness", value=value, told=words)


def clock_skew(skews_s: Sequence[float]) -> Fact:
    """The server's clock minus ours, of each answer."""
    if not skews_s:
        return unknown("clock_skew", "no answer carries a Date")
    skew_s = median(skews_s)
    if abs(skew_s) < SKEW_S:
        return Fact(name="clock_skew", value=round(skew_s, 1), told="agrees with this machine's")
    side = "ahead of" if skew_s > 0 else "behind"
    words = f"{_duration(abs(skew_s))} {side} this machine's"
    return Fact(name="clock_skew", value=round(skew_s, 1), told=words)


def compression(encodings: Mapping[str, int], received: int, decoded: int) -> Fact:
    used = sorted(name for name in encodings if name)
    if not used:
        return Fact(name="compression", value="none", told="none, though it was offered")
    words = f"{', '.join(used)}: {received / max(1, decoded):.0%} of the JSON travels"
    return Fact(name="compression", value=used[0], told=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day, and the records that a page of it brought, each with its time."""

    span: Span
    records: Mapping[Key, datetime]

    def inner(self, records: Mapping[Key, datetime]) -> set[Key]:
        """Those well inside: at its very ends a range may mean this or that."""
        start, end = self.span.start + EDGE, self.span.end - EDGE
        return {key for key, at in records.items() if start <= at <= end}

    def is_left_by(self, records: Mapping[Key, datetime]) -> bool:
        return any(at < self.span.start - EDGE or at > self.span.end + EDGE for at in records.values())

    def equals(self, records: Mapping[Key, datetime]) -> bool:
        return not self.is_left_by(records) and self.inner(records) == self.inner(self.records)


def relative_days(relative: Mapping[Key, datetime], ours: Day, utc: Day, *, zone: str, whole: bool) -> Fact:
    """`relative`: what came for the relative day before today, `ours`: for the same day by our calendar,
    `utc`: by that of UTC; `whole`: each page held all of its day."""
    if ours.equals(relative):
        if ours.span != utc.span and utc.equals(relative):
            return unknown("relative_days", f"the days of UTC and of {zone} hold the same records")
        return Fact(name="relative_days", value="agree", told=f"the server's yesterday is that of {zone}")
    if utc.equals(relative):
        words = f"the server's days are those of UTC, not of {zone}"
        return Fact(name="relative_days", value="UTC", told=words)
    if whole or ours.is_left_by(relative):
        words = f"the server's yesterday is not that of {zone}"
        return Fact(name="relative_days", value="differ", told=words)
    return unknown("relative_days", "a page does not hold a whole day")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} seconds"
