"""Builds the request for a page: fills what the declaration's [request] says with what is asked."""

import dataclasses
import re
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from harvester.dialects import template
from harvester.dialects.schema import Declaration
from harvester.dialects.times import TimeWriter
from harvester.dialects.values import Ask, Request
from harvester.errors import ConfigError

_BLANKS: Final = ("start", "end", "limit", "offset")
_MARK: Final = "\ue000"
"""Stands around a blank's name in a form: of private use, and written as it is in JSON."""
_NAMED: Final = f"{_MARK}({'|'.join(_BLANKS)}){_MARK}"
_BLANK: Final = re.compile(rf'(?<=[:,\[])"{_NAMED}"|{_NAMED}'.encode())
"""A blank with its quotes is a value of its own: a quote inside a text would follow a backslash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a job chose of a source; None: what the source gives by itself."""

    fields: tuple[str, ...] | None = None
    queues: tuple[str | int, ...] | None = None
    filter: dict[str, Any] | str | None = None
    date_field: str | None = None
    order_by: str | None = None
    time_zone: str = "UTC"
    resolution: str | int | None = None
    """As the source writes it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A request with blanks where it differs from page to page; all else of it is filled in and written."""

    selection: Selection
    order_by: str | None
    """As asked; what the selection says instead is filled in."""
    request: Request
    body: tuple[bytes, ...]
    """Bytes and blanks in turn, beginning with bytes."""
    blanks: tuple[tuple[str, bool], ...]
    """What goes there, and whether it is a value of its own or a part of a text."""


class RequestWriter:
    """Of one declaration; `places` are the parameters that its request has a place for."""

    def __init__(self, declaration: Declaration) -> None:
        request = declaration.request
        self._declared = request
        self._body = template.compiled(request.body)
        self._query = template.compiled(request.query)
        self._headers = template.compiled(request.headers)
        self._times = TimeWriter(declaration.time)
        self._is_exact = declaration.membership == "window"
        self.places = frozenset(template.parameters([self._body, self._query, self._headers]))
        in_head = frozenset(template.parameters([self._query, self._headers]))
        self._has_form = self._body is not None and not in_head & {
            "start",
            "end",
            "limit",
            "offset",
            "order_by",
        }
        self._form: _Form | None = None
        self._seek = declaration.seek
        self._after = template.compiled(self._seek.after, ("after",)) if self._seek else None
        self._both = template.compiled(self._seek.both, ("filter", "after")) if self._seek else None

    def seeks(self, selection: Selection) -> bool:
        """Whether records behind a key can be asked for; with a filter of the job's own it takes words for
        both."""
        own = selection.filter
        return self._seek is not None and (not own or (self._both is not None and isinstance(own, dict)))

    def _behind(self, key: str | int, own: Any) -> Any:
        behind = template.fill(self._after, {"after": key}, _text)
        return template.fill(self._both, {"filter": own, "after": behind}, _text) if own else behind

    def write(self, ask: Ask, selection: Selection) -> Request:
        if self._is_exact:
            for moment in (ask.start, ask.end):
                if not self._times.is_exact(moment):
                    raise ConfigError(
                        f"{moment.isoformat()} cannot be asked for: the source's times are too coarse; "
                        "choose a span that begins and ends on a whole period"
                    )
        asked: dict[str, Any] = {
            "start": self._times.write(ask.start, up=False),
            "end": self._times.write(ask.end, up=True),
            "limit": ask.limit,
            "offset": ask.offset,
        }
        if ask.after is not None:
            asked["filter"] = self._behind(ask.after, selection.filter)
            return self._written(selection, ask.order_by, asked)
        if not self._has_form:
            return self._written(selection, ask.order_by, asked)
        form = self._form
        if form is None or form.selection is not selection or form.order_by != ask.order_by:
            form = self._form = self._formed(selection, ask.order_by)
        if not form.blanks:
            return self._written(selection, ask.order_by, asked)
        parts = [form.body[0]]
        for (name, is_whole), following in zip(form.blanks, form.body[1:], strict=True):
            value = asked[name]
            parts.append(orjson.dumps(value) if is_whole else orjson.dumps(_text(value))[1:-1])
            parts.append(following)
        return replace(form.request, body=b"".join(parts))

    def _formed(self, selection: Selection, order_by: str | None) -> _Form:
        """No blanks where somebody's filter holds the mark."""
        without = self._written(selection, order_by, dict.fromkeys(_BLANKS, 0))
        if _MARK.encode() in (without.body or b""):
            return _Form(selection=selection, order_by=order_by, request=without, body=(), blanks=())
        request = self._written(selection, order_by, {name: f"{_MARK}{name}{_MARK}" for name in _BLANKS})
        pieces = _BLANK.split(request.body or b"")
        bodies, blanks = [pieces[0]], []
        for quoted, name, following in zip(*(iter(pieces[1:]),) * 3, strict=True):
            blanks.append(((quoted or name).decode(), bool(quoted)))
            bodies.append(following)
        return _Form(
            selection=selection, order_by=order_by, request=request, body=tuple(bodies), blanks=tuple(blanks)
        )

    def _written(self, selection: Selection, order_by: str | None, asked: dict[str, Any]) -> Request:
        given = {one.name: getattr(selection, one.name) for one in dataclasses.fields(selection)} | asked
        given["order_by"] = order_by or selection.order_by
        headers = [
            (name, self._header(name, value)) for name, value in self._filled(self._headers, given).items()
        ]
        body = None
        if self._body is not None:
            body = orjson.dumps(self._filled(self._body, given))
            if not any(name.lower() == "content-type" for name, _ in headers):
                headers.append(("Content-Type", "application/json"))
        return Request(
            method=self._declared.method,
            path=self._declared.path,
            query=tuple(self._pairs(self._filled(self._query, given))),
            headers=tuple(headers),
            body=body,
        )

    def _filled(self, ready: Any, given: dict[str, Any]) -> dict[str, Any]:
        filled = template.fill(ready, given, _text)
        return {} if filled is template.GONE else filled

    def _pairs(self, query: dict[str, Any]) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        for name, value in query.items():
            if isinstance(value, (list, tuple)) and self._declared.lists == "repeat":
                pairs.extend((name, _text(item)) for item in value)
            elif isinstance(value, (list, tuple)) and self._declared.lists == "json":
                pairs.append((name, orjson.dumps(value).decode()))
            else:
                pairs.append((name, _text(value)))
        return pairs

    def _header(self, name: str, value: Any) -> str:
        text = _text(value)
        if not text.isprintable():
            raise ConfigError(f"the header {name} cannot hold a line break or another control character")
        return text


def _text(value: Any) -> str:
    """A value inside a text, a query or a header."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ",".join(_text(item) for item in value)
    return orjson.dumps(value).decode()
