"""What a dialect file may say: the tables and keys of its TOML, as values with their defaults.

The names of fields are dotted paths (`AgentMessage.State.AgentId`); a dot that belongs to a name is written
`\\.`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """[request]: where each parameter goes. Texts may name parameters, see template.py."""

    method: Literal["GET", "POST", "PUT"]
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    """Sent as JSON, at any depth."""
    lists: Literal["repeat", "comma", "json"] = "repeat"
    """A list in the query: the name once for each item, items joined by commas, or JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """[defaults]: what is asked for where the job says nothing."""

    fields: list[str] | None = None
    queues: list[str | int] | None = None
    filter: dict[str, Any] | str | None = None
    date_field: str | None = None
    order_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """[time]: how the ends of a range are written."""

    format: str = "iso"
    """iso, epoch_s, epoch_ms, or a strftime pattern."""
    precision: Literal["auto", "s", "ms", "us"] = "ms"
    """Of iso; auto: milliseconds only where there are some."""
    offset: Literal["Z", "+00:00", "+0000", "none"] = "Z"
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    path: str
    value: bool | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """[answer]: where the records are, and how the answer says that it is a good one."""

    records: str = ""
    """Empty: the answer itself is the list."""
    success: Success | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyField:
    path: str
    type: Literal["string", "integer"] = "string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Date:
    path: str
    format: str = "iso"
    """iso, epoch_s, epoch_ms, auto (text is iso, a number is an epoch) or a strptime pattern."""
    zone: str = "UTC"
    """Of times without an offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """[record]: which of its fields tell what it is. A path alone stands for a table with that path."""

    key: str | KeyField | list[str | KeyField]
    date: str | Date
    version: str | None = None
    second_key: str | None = None
    """A field that records may share: those that do are kept, and counted in the manifest."""

    @property
    def keys(self) -> tuple[KeyField, ...]:
        listed = self.key if isinstance(self.key, list) else [self.key]
        return tuple(KeyField(path=one) if isinstance(one, str) else one for one in listed)

    @property
    def when(self) -> Date:
        return Date(path=self.date) if isinstance(self.date, str) else self.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """[relative]: members of the body that ask for periods counted from now (-1: the last whole one), where
    the source knows them beside a range. Only `probe` asks so, to compare calendars."""

    start: str
    end: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeking:
    """[seek]: the filter for records behind a key, for a source with a key of one field and a place for
    `{filter}`. Used where `probe` found that it works."""

    after: dict[str, Any]
    """Names the key as `{after}`."""
    both: dict[str, Any] | None = None
    """Joins it, as `{after}`, with the job's own `{filter}`. Without it a job with a filter does without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    request: Asking
    answer: Envelope = Envelope()
    record: Record | None = None
    defaults: Defaults = Defaults()
    time: Times = Times()
    resolutions: dict[str, str | int] = field(default_factory=dict)
    """How each resolution that the source knows is written."""
    relative: Relative | None = None
    seek: Seeking | None = None
    paging: Literal["offset", "none"] = "offset"
    membership: Literal["date", "window"] = "date"
    """date: a record belongs where its date field falls. window: it belongs to the window that was asked for.
    """
    widen_s: float | None = None
    """How much wider than the window is asked, at both ends: 1 s covers inclusive, exclusive and second-cut
    ends."""
    max_page_size: int | None = None
    types: dict[str, Any] = field(default_factory=dict)
    """[types]: the shape of each field that is known to have one, for formats with columns (shapes.Shape)."""
    ends: Literal["unknown", "inclusive", "exclusive"] = "unknown"


def names_of(path: str) -> tuple[str, ...]:
    """The names along a dotted path; ValueError for one that cannot be a field."""
    names = tuple(name.replace("\\.", ".") for name in re.split(r"(?<!\\)\.", path))
    for name in names:
        if not name or re.search(r'["\\\x00-\x1f]', name):
            raise ValueError(
                f"{path!r} is no path of a field; expected names joined by dots, without quotes in them"
            )
    return names
