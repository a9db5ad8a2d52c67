"""What a source was found to do where its description is silent: facts, each measured once and told in words.

`harvester probe` makes a Contract and writes it into the output; a run reads it, begins with what it says
and compares it with what comes (`Recheck`). Pure: bytes in, values out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, Literal

import msgspec
import orjson

from harvester.dialects import Ask, Page

FORMAT_VERSION: Final = 1
_PACKED_FROM: Final = 16 << 10
_LONGEST_PERIOD: Final = timedelta(days=1)
_MUCH: Final = 10
"""Times as late as the latest that a probe saw, in the few hundred records that it looks at."""
_VERSION: Final = itemgetter(2)
FILE: Final = "_harvest/contract.json"
"""Relative to the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that was asked of the source, and the answer."""

    name: str
    value: Any = None
    """As JSON holds it; None where it was not measured."""
    told: str
    """The answer, or why there is none, in one sentence."""
    measured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    source: str
    """The base URL."""
    dialect: str
    measured_at: datetime
    requests: int
    facts: tuple[Fact, ...] = ()
    format_version: int = FORMAT_VERSION

    def value(self, name: str) -> Any:
        """None where it was not measured."""
        return next((fact.value for fact in self.facts if fact.name == name and fact.measured), None)

    @property
    def largest_page(self) -> int | None:
        """How many records at most came in one page; None where no end of it was found."""
        known = self.value("largest_page")
        is_size = isinstance(known, int) and known > 0 and known is not True
        return known if is_size and self.value("limit") in ("cut", "refused") else None

    @property
    def keeps_order(self) -> bool | None:
        """False where rows do not come in the order asked for; never True: a run has to see that itself."""
        told = (self.value("order"), self.value("order_by_date"))
        return False if any(one in ("not kept", "descending", "refused") for one in told) else None

    def encode(self) -> bytes:
        told = msgspec.to_builtins(self)
        return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode(content: bytes) -> Contract:
    """ValueError says why it is none."""
    try:
        contract = msgspec.json.decode(content, type=Contract)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if contract.format_version != FORMAT_VERSION:
        raise ValueError(f"it is of format {contract.format_version}, this version reads {FORMAT_VERSION}")
    return contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The source does something else than the contract says."""

    fact: str
    known: str
    seen: str


class Recheck:
    """Compares what comes with the contract; each fact is told once. `limit` is what a run begins to ask."""

    def __init__(self, contract: Contract, *, limit: int) -> None:
        self._contract = contract
        self._limit = limit
        self._told: set[str] = set()
        self._asked = {limit}

    def page(self, ask: Ask, page: Page, *, by: Literal["key", "date"] | None) -> list[Change]:
        """A page came; `by` is the order that it was asked for in."""
        known, changes = self._contract, []
        self._asked.add(ask.limit)
        items = len(page.rows) + len(page.rejects)
        if items > ask.limit and known.value("limit") not in ("ignored", None):
            changes += self._once("limit", f"{items:,} records where {ask.limit:,} were asked for")
        changes += self._packed(page)
        if not page.rows:
            return changes
        changes += self._late(page)
        times = [row[0] for row in page.rows]
        if known.value("ends") in ("exclusive", "open") and ask.end in times:
            changes += self._once("ends", "a record of the very end of a range is inside")
        is_outside = min(times) < ask.start or max(times) > ask.end
        if is_outside and known.value("sub_second") == "compared":
            changes += self._once("sub_second", "records of outside the range asked for")
        fact = {"key": "order", "date": "order_by_date", None: ""}[by]
        if known.value(fact) == "ascending" and fact not in self._told:
            values: list[Any] = times if by == "date" else [row[1] for row in page.rows]
            if any(other < one for one, other in pairwise(values)):
                changes += self._once(fact, "rows in another order than asked for")
        return changes

    def _packed(self, page: Page) -> list[Change]:
        """Small answers tell nothing: many a server sends them as they are."""
        known = self._contract.value("compression")
        if known is None or page.decoded_bytes < _PACKED_FROM:
            return []
        if known == "none" and page.received_bytes < page.decoded_bytes:
            return self._once("compression", "an answer came compressed")
        if known != "none" and page.received_bytes == page.decoded_bytes:
            return self._once("compression", f"an answer of {page.decoded_bytes:,} bytes came as it is")
        return []

    def _late(self, page: Page) -> list[Change]:
        """Only much later is told: a run reads more records than a probe. Of each page the record that was
        written last is looked at."""
        known = self._contract.value("lateness")
        if "lateness" in self._told or not isinstance(known, dict):
            return []
        most_s = known.get("most_s")
        at, _, version, _ = max(page.rows, key=_VERSION)
        try:
            late = datetime.fromisoformat(version) - at
        except (ValueError, TypeError):  # no time, or one without a zone
            return []
        if isinstance(most_s, int | float) and late > _LONGEST_PERIOD + timedelta(seconds=_MUCH * most_s):
            return self._once(
                "lateness", f"a record was written {late.total_seconds() / 86400:,.1f} days after its time"
            )
        return []

    def served(
        self, *, limit: int, caps: Iterable[int], offset_ignored: bool, seek: str = ""
    ) -> list[Change]:
        """What all readers together have seen; `limit` is asked for now, `caps` are sizes of pages after
        which more followed, `seek` tells what a filter by key did else."""
        changes: list[Change] = []
        known = self._contract
        if known.value("limit") in ("honoured", "cut", "refused"):
            short = [cap for cap in caps if cap < min(self._asked)]
            if short:
                words = (
                    f"a page of {max(short):,} records was not the last, with a Limit of {min(self._asked):,}"
                )
                changes += self._once("limit", words)
            if limit < self._limit:
                changes += self._once("limit", f"a page of {self._limit:,} records is refused")
        if offset_ignored and known.value("offset") == "works":
            changes += self._once("offset", "the same page for every offset")
        if seek and known.value("seek") == "works":
            changes += self._once("seek", seek)
        return changes

    def _once(self, fact: str, seen: str) -> list[Change]:
        if fact in self._told:
            return []
        self._told.add(fact)
        known = next((one.told for one in self._contract.facts if one.name == fact), "")
        return [Change(fact=fact, known=known, seen=seen)]
