"""What an answer says about the source: what was seen goes in, a Fact comes out. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, Final

from harvester.contract import Fact
from harvester.dialects import Key
from harvester.printable import printable

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


def unknown(name: str, why: str) -> Fact:
    return Fact(name=name, told=f"not measured: {why}", measured=False)


def limit(asked: int, items: int, *, more: bool, refused: int | None) -> list[Fact]:
    """`asked` is the largest Limit that was not refused, `items` what it brought, `more` whether records
    followed behind it, `refused` the smallest Limit that was."""
    if items > asked:
        told = f"ignored: {items:,} records came where fewer were asked for"
        return [Fact(name="limit", value="ignored", told=told), _largest(items)]
    if items < asked and more:
        told = f"cut without a word: {asked:,} asked for, {items:,} given, and more followed"
        return [Fact(name="limit", value="cut", told=told), _largest(items)]
    if refused is not None:
        told = f"{refused:,} is refused, {asked:,} is accepted"
        return [Fact(name="limit", value="refused", told=told), _largest(asked)]
    if items < asked:
        told = f"as asked; the span holds no more than {items:,} records, so a cap above that would not show"
        return [Fact(name="limit", value="honoured", told=told), _largest(items)]
    return [Fact(name="limit", value="honoured", told=f"as asked, up to {asked:,} at least"), _largest(items)]


def _largest(items: int) -> Fact:
    return Fact(name="largest_page", value=items, told=f"{items:,} records")


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


def sub_second(*, after_start: bool, before_end: bool) -> Fact:
    """Whether a record still came where the range began 1 ms behind it, or ended 1 ms before it, within the
    same second."""
    if after_start and before_end:
        words = "cut to whole seconds: a range takes in all of its first and last second"
        return Fact(name="sub_second", value="cut", told=words)
    if after_start or before_end:
        which = "start" if after_start else "end"
        return Fact(
            name="sub_second", value=f"cut at the {which}", told=f"cut to seconds at the {which} only"
        )
    return Fact(name="sub_second", value="compared", told="compared to the millisecond")


def order(name: str, by: str, values: Sequence[Any]) -> Fact:
    """`values` are those of the field that was asked to be the order, as the rows came."""
    if len(set(values)) < 3:
        return unknown(name, f"too few different values of {by}")
    if all(one <= other for one, other in pairwise(values)):
        return Fact(name=name, value="ascending", told=f"kept, by {by}, ascending")
    if all(one >= other for one, other in pairwise(values)):
        return Fact(name=name, value="descending", told=f"by {by}, but descending")
    return Fact(name=name, value="not kept", told=f"not kept: rows do not come by {by}")


def ties(readings: Sequence[Sequence[Key]]) -> Fact:
    """The records of one instant, asked for several times by date."""
    count = len(set(readings[0]))
    if count < 2:
        return unknown("ties", "no two records of one instant where the probe looked")
    if all(one == readings[0] for one in readings):
        words = f"{count} records came in the same order on {len(readings)} readings"
        return Fact(name="ties", value="stable", told=words)
    words = f"{count} records came in another order from one reading to the next"
    return Fact(name="ties", value="change", told=words)


def offset(first: Sequence[Key], second: Sequence[Key] | None, *, all_keys: Sequence[Key]) -> Fact:
    """The first page and the one whose offset is the first's length; None where that was refused."""
    if second is None:
        return Fact(name="offset", value="refused", told="refused")
    if list(second) == list(first):
        return Fact(name="offset", value="ignored", told="ignored: every offset gives the first page")
    if not set(first) & set(second) and set(first) | set(second) <= set(all_keys):
        return Fact(name="offset", value="works", told="works: the next page goes on where the first ended")
    return Fact(name="offset", value="overlaps", told="unclear: the second page repeats some of the first")


def past_end(rows: int | None) -> Fact:
    """How many records an offset behind the last one brought; None where it was refused."""
    if rows is None:
        return Fact(name="past_end", value="refused", told="refused")
    if rows:
        return Fact(name="past_end", value="repeats", told=f"{rows:,} records come where there are no more")
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
        words += f"; {throttled} request{'s were' if throttled > 1 else ' was'} told to wait"
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


def relative_days(
    relative: Mapping[Key, datetime], absolute: set[Key], *, zone: str, inside_utc: bool, whole: bool
) -> Fact:
    """`relative`: what came for the relative day before today, `absolute`: for the same day by our calendar;
    `inside_utc`: the relative ones lie in the day as UTC counts it; `whole`: both fit their page."""
    if set(relative) == absolute or (not whole and set(relative) <= absolute):
        return Fact(name="relative_days", value="agree", told=f"the server's yesterday is that of {zone}")
    if inside_utc:
        return Fact(
            name="relative_days", value="UTC", told=f"the server's days are those of UTC, not of {zone}"
        )
    return Fact(name="relative_days", value="differ", told=f"the server's yesterday is not that of {zone}")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} seconds"
