"""A source as a value: how it is asked, and how its answers are read. Pure: it never awaits, logs or reads a
clock."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Literal, Self

import msgspec
import orjson

from harvester.dialects.answer import AnswerReader
from harvester.dialects.declaration import checked
from harvester.dialects.request import RequestWriter, Selection
from harvester.dialects.schema import Date, Declaration, names_of
from harvester.dialects.second_key import second_key_reader
from harvester.dialects.values import Ask, Page, Raw, Request, Row
from harvester.dialects.windowed import MARKS
from harvester.errors import ConfigError
from harvester.shapes import Shape

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Made by `load`; `select` gives one that is bound to a job."""

    name: str
    declaration: Declaration
    selection: Selection
    _requests: RequestWriter = field(repr=False, compare=False)
    _answers: AnswerReader = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, declaration: Declaration) -> Self:
        defaults = declaration.defaults
        selection = Selection(
            fields=_needed_too(defaults.fields, declaration),
            queues=tuple(defaults.queues) if defaults.queues else None,
            filter=defaults.filter,
            date_field=defaults.date_field,
            order_by=defaults.order_by,
        )
        return cls(
            name=name,
            declaration=declaration,
            selection=selection,
            _requests=RequestWriter(declaration),
            _answers=AnswerReader(declaration),
        )

    @property
    def paging(self) -> Literal["offset", "none"]:
        return self.declaration.paging

    @property
    def membership(self) -> Literal["date", "window"]:
        return self.declaration.membership

    @property
    def widen_s(self) -> float:
        """How much wider than a window to ask, at both ends."""
        declared = self.declaration.widen_s
        if declared is not None:
            return declared
        return 0.0 if self.membership == "window" else 1.0

    @property
    def max_page_size(self) -> int | None:
        return self.declaration.max_page_size

    @property
    def ends(self) -> Literal["unknown", "inclusive", "exclusive"]:
        return self.declaration.ends

    @property
    def resolutions(self) -> tuple[str, ...]:
        """The periods that the source itself knows; empty where it does not care."""
        return tuple(self.declaration.resolutions)

    @property
    def places(self) -> frozenset[str]:
        """The parameters that a request has a place for, by name: start, limit, filter and their kin."""
        return self._requests.places

    @property
    def seeks(self) -> bool:
        """Whether `Ask.after` can be asked for."""
        return self._requests.seeks(self.selection)

    @property
    def order_by(self) -> str | None:
        return self.selection.order_by

    @property
    def key_fields(self) -> tuple[str, ...]:
        record = self.declaration.record
        return tuple(key.path for key in record.keys) if record else ()

    @property
    def date_field(self) -> str | None:
        """The field whose value says which window a record belongs to."""
        return self.declaration.record.when.path if self.declaration.record else None

    @property
    def version_field(self) -> str | None:
        return self.declaration.record.version if self.declaration.record else None

    @property
    def second_keys(self) -> Callable[[Sequence[Raw]], Sequence[bytes | None]] | None:
        """Finds the second keys in records' bytes; None where the dialect declares none."""
        path = self.declaration.record.second_key if self.declaration.record else None
        return second_key_reader(path) if path else None

    @property
    def columns(self) -> Shape:
        """What is declared of the records that the job selects, as a struct; whatever else they hold is
        found in them."""
        declared = {name: Shape.of(told) for name, told in self.declaration.types.items()}
        if self.membership == "window":
            declared |= dict.fromkeys(MARKS, Shape("timestamp"))
        if self.selection.fields is not None:
            chosen = {names_of(path)[0] for path in self.selection.fields}
            declared = {name: shape for name, shape in declared.items() if name in chosen}
        return Shape("struct", members=tuple(declared.items()))

    @property
    def digest(self) -> str:
        """SHA-256 of all in the declaration that decides what the records are, the job's date field included:
        two runs on one output must agree on it. How pages are cut, widened, ordered and judged may change
        between runs, and so may what is counted."""
        told = msgspec.to_builtins(self.declaration)
        told["answer"] = told["answer"]["records"]
        told["defaults"].pop("order_by")
        (told["record"] or {}).pop("second_key", None)
        for name in ("paging", "widen_s", "max_page_size", "ends", "time", "relative", "seek", "types"):
            told.pop(name)
        return sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def select(
        self,
        *,
        fields: Sequence[str] | None = None,
        queues: Sequence[str | int] | None = None,
        filter: dict[str, Any] | str | None = None,
        date_field: str | None = None,
        order_by: str | None = None,
        time_zone: str = "UTC",
        resolution: str | None = None,
    ) -> "Dialect":
        """Bound to a job. Key, date and version are added to `fields`; an empty list of fields or queues
        means all.

        ConfigError names the key that this dialect has no place for. `time_zone` and `resolution` are the
        job's: a source that has no place for them just gets the ends of the windows. No resolution is for
        windows of any size.
        """
        chosen = {
            "fields": fields,
            "queues": queues,
            "filter": filter,
            "date_field": date_field,
            "order_by": order_by,
        }
        for name, value in chosen.items():
            if value and name not in self._requests.places:
                raise ConfigError(
                    f"[source] {name}: the dialect {self.name} has no place for it; leave it out"
                )
        try:
            orjson.dumps(filter)
        except orjson.JSONEncodeError as error:
            raise ConfigError(f"[source] filter: cannot be sent as JSON: {error}") from None
        declaration = self.declaration
        record = declaration.record
        if date_field and record and date_field != record.when.path:
            # Text or a number, as it comes: the job names the field and nothing else.
            date = Date(path=date_field, format="auto", zone=record.when.zone)
            declaration = checked(
                replace(declaration, record=replace(record, date=date)), "[source] date_field"
            )
        own = self.selection
        selection = Selection(
            fields=_needed_too(fields or own.fields, declaration),
            queues=tuple(queues) if queues else own.queues,
            filter=filter if filter is not None else own.filter,
            date_field=date_field or own.date_field,
            order_by=order_by or own.order_by,
            time_zone=time_zone,
            resolution=self._written(resolution),
        )
        return replace(Dialect.of(self.name, declaration), selection=selection)

    def wordless(self) -> "Dialect":
        """The same, but the source's own words about a failure are not told: they may repeat any value."""
        declaration = replace(self.declaration, answer=replace(self.declaration.answer, message=None))
        return replace(Dialect.of(self.name, declaration), selection=self.selection)

    def request(self, ask: Ask) -> Request:
        """The request for a page. An end that the source cannot write exactly is moved outwards."""
        return self._requests.write(ask, self.selection)

    def read(self, body: bytes, ask: Ask) -> Page:
        """The page in `body`, the answer to `ask`; BadPage says what was wrong with it, TooMany (a Rejected)
        that it holds more records than any page may."""
        return self._answers.read(body, ask)

    def row(self, line: bytes) -> Row:
        """The row of a stored line, as `read` gave it; ValueError says why it is none."""
        return self._answers.row(line)

    def version_is_newer(self, a: str, b: str) -> bool:
        """Whether a is newer than b. Nothing is older than text, text than a number, a number than a time."""
        return a != b and _age(a) > _age(b)

    def _written(self, resolution: str | None) -> str | int | None:
        known = self.declaration.resolutions
        if resolution is None and self.membership == "window":
            raise ConfigError(
                f"[span] resolution: the dialect {self.name} gives sums of whole periods; "
                f"expected one of {', '.join(known)}"
            )
        if resolution is None or not known:
            return None
        if resolution not in known:
            near = get_close_matches(resolution, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"[span] resolution: the dialect {self.name} does not know {resolution!r}; "
                f"{hint}Known are {', '.join(known)}"
            )
        return known[resolution]


def _needed_too(fields: Sequence[str] | None, declaration: Declaration) -> tuple[str, ...] | None:
    """`fields` and those that the harvest cannot do without; None stays None: all of them."""
    record = declaration.record
    if not fields or record is None:
        return tuple(fields) if fields else None
    needed = [
        *(key.path for key in record.keys),
        record.when.path,
        *([record.version] if record.version else ()),
    ]
    asked = list(dict.fromkeys(fields))
    for path in needed:
        if not any(path == one or path.startswith(f"{one}.") for one in asked):
            asked.append(path)
    return tuple(asked)


def _age(version: str) -> tuple[int, Any]:
    if not version:
        return 0, ""
    if _NUMBER.fullmatch(version):
        return 2, Decimal(version)
    try:
        moment = datetime.fromisoformat(version)
        return 3, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return 1, version
