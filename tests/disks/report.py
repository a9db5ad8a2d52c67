"""What a sweep counted, and every case that did not end as it has to."""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

_NAMED: Final = 10
"""Cases that are told in full; the others are counted."""


@dataclass(slots=True, kw_only=True)
class Report:
    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def judged(self, case: str, told: list[str]) -> None:
        """`told`: what is wrong about it, if anything."""
        if told:
            self.wrong.append(f"{case}: {'; '.join(told)}")
        else:
            self.count("recovered")

    def told(self) -> dict[str, Any]:
        return {"counts": self.counts, "wrong": self.wrong}

    def add(self, told: dict[str, Any]) -> None:
        """What another report `told`."""
        for what, number in told["counts"].items():
            self.count(what, number)
        self.wrong += told["wrong"]

    def encoded(self) -> str:
        named = [one[:1000] for one in self.wrong[:_NAMED]]
        if more := self.wrong[_NAMED:]:
            named.append(f"and {len(more)} more")
        return orjson.dumps({**self.counts, "number wrong": len(self.wrong), "wrong": named}).decode()
