"""Builds the request for a page: fills what the declaration's [request] says with what is asked."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import orjson

from harvester.dialects import template
from harvester.dialects.schema import Declaration
from harvester.dialects.times import TimeWriter
from harvester.dialects.values import Ask, Request
from harvester.errors import ConfigError


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

    def write(self, ask: Ask, selection: Selection) -> Request:
        if self._is_exact:
            for moment in (ask.start, ask.end):
                if not self._times.is_exact(moment):
                    raise ConfigError(
                        f"{moment.isoformat()} cannot be asked for: the source's times are too coarse; "
                        "choose a span that begins and ends on a whole period"
                    )
        given = {one.name: getattr(selection, one.name) for one in dataclasses.fields(selection)} | {
            "start": self._times.write(ask.start, up=False),
            "end": self._times.write(ask.end, up=True),
            "limit": ask.limit,
            "offset": ask.offset,
            "order_by": ask.order_by or selection.order_by,
        }
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
