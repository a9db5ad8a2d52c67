"""What a source was found to do where its description is silent: facts, each measured once and told in words.

`harvester probe` makes a Contract and writes it into the output; a run reads it, begins with what it says
and compares it with what comes (`Recheck`). Pure: bytes in, values out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from harvester.dialects import Page

FORMAT_VERSION: Final = 1
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
        return known if self.value("limit") in ("cut", "refused") and isinstance(known, int) else None

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
    """Compares what comes with the contract; each fact is told once."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._told: set[str] = set()
        self._asked: set[int] = set()

    def page(self, limit: int, page: Page) -> list[Change]:
        """A page came for an ask with this limit."""
        self._asked.add(limit)
        items = len(page.rows) + len(page.rejects)
        if items <= limit or self._contract.value("limit") in ("ignored", None):
            return []
        return self._once("limit", f"{items} records where {limit} were asked for")

    def served(
        self, *, limit: int, caps: Iterable[int], offset_ignored: bool, order_kept: bool | None
    ) -> list[Change]:
        """What all readers together have seen; `caps` are sizes of pages after which more followed."""
        changes: list[Change] = []
        contract, most = self._contract, max(self._asked, default=0)
        if self._asked and contract.value("limit") is not None:
            cut = sorted(cap for cap in caps if cap < min(self._asked) and cap not in self._asked)
            if cut and (contract.largest_page or most) > cut[-1]:
                changes += self._once("limit", f"pages cut to {cut[-1]} records")
            if limit < min(self._asked):
                changes += self._once("limit", f"a page of {min(self._asked)} records is refused")
        if offset_ignored and contract.value("offset") == "works":
            changes += self._once("offset", "the same page for every offset")
        kept = contract.value("order") in ("ascending", "descending")
        if order_kept is False and kept:
            changes += self._once("order", "rows in another order than asked for")
        return changes

    def _once(self, fact: str, seen: str) -> list[Change]:
        if fact in self._told:
            return []
        self._told.add(fact)
        known = next((one.told for one in self._contract.facts if one.name == fact), "")
        return [Change(fact=fact, known=known, seen=seen)]
