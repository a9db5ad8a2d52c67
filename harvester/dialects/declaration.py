"""Reads a dialect file and checks it: what parses is a dialect that can ask and read.

Every mistake is a ConfigError that names the file, the key and what was expected there.
"""

import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

import msgspec

from harvester.dialects import template, toml
from harvester.dialects.schema import Declaration, names_of
from harvester.dialects.times import TimeWriter, time_reader
from harvester.errors import ConfigError
from harvester.shapes import Shape

_HELD_APART = ("[answer] records", "[answer.success] path")
_OF_THE_WAY = (
    "host",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
)
"""Headers on which it depends who gets a request, where it ends, or what its answer is."""


def parse(text: str, file: str) -> Declaration:
    """The declaration that `text` holds; `file` is what errors call it."""
    try:
        data = toml.loads(text)
    except RecursionError:
        raise ConfigError(f"{file}: no TOML: nested too deeply") from None
    except ValueError as error:  # besides TOMLDecodeError: a number that Python does not read
        raise ConfigError(f"{file}: no TOML: {error}") from None
    _check_keys(data, Declaration, "", file)
    try:
        declaration = msgspec.convert(data, Declaration)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from None
    return checked(declaration, file)


def checked(declaration: Declaration, source: str) -> Declaration:
    """`declaration` itself, or a ConfigError for the first thing in it that cannot be; `source` is where it
    is from."""
    for where, what in _mistakes(declaration):
        raise ConfigError(f"{source}: {where}: {what}")
    return declaration


def _check_keys(data: dict[str, Any], table: type, where: str, file: str) -> None:
    """Keys that are not known or not there, with the nearest one, in every table."""
    fields = {one.name: one for one in dataclasses.fields(table)}
    at = f"[{where}]" if where else "the top of the file"
    for key in data:
        if key not in fields:
            near = get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{file}: {at}: unknown key {key!r}; {hint}Known are {', '.join(fields)}")
    for name, one in fields.items():
        is_needed = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if is_needed and name not in data:
            raise ConfigError(f"{file}: {at}: the key {name!r} is missing; expected {_expected(one.type)}")
    hints = get_type_hints(table)
    for key, value in data.items():
        for inner in _tables(hints[key]):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    _check_keys(item, inner, f"{where}.{key}" if where else key, file)


def _tables(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in get_args(hint):
        yield from _tables(inner)


def _expected(hint: Any) -> str:
    choices = get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return "a table"
    return (
        " or ".join(map(repr, choices)) if choices and isinstance(choices[0], str) else "the path of a field"
    )


def _mistakes(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """What single keys cannot show: (key, what is wrong and what was expected)."""
    yield from _mistakes_of_request(declaration)
    yield from _mistakes_of_times(declaration)
    yield from _mistakes_of_paths(declaration)
    is_window = declaration.membership == "window"
    if is_window and declaration.record is not None:
        yield "[record]", 'not used where membership = "window": a record belongs to the window asked for'
    if not is_window and declaration.record is None:
        yield "[record]", 'missing; expected a table with key and date, or membership = "window"'
    if is_window and declaration.widen_s:
        yield "widen_s", 'expected 0 where membership = "window": such a window is asked for exactly'
    if declaration.widen_s is not None and not 0 <= declaration.widen_s <= 86400:
        yield "widen_s", f"expected 0 to 86400 seconds, got {declaration.widen_s}"
    for name, told in declaration.types.items():
        try:
            Shape.of(told)
        except ValueError as error:
            yield f"[types] {name}", str(error)
    yield from _mistakes_of_seek(declaration)
    if declaration.max_page_size is not None and declaration.max_page_size < 1:
        yield "max_page_size", f"expected 1 or more, got {declaration.max_page_size}"


def _mistakes_of_request(declaration: Declaration) -> Iterator[tuple[str, str]]:
    request = declaration.request
    if not re.fullmatch(r"/[^?#{}\s]*", request.path):
        yield "[request] path", f"expected a path from / on, without ? and parameters, got {request.path!r}"
    if request.body is not None and request.method == "GET":
        yield "[request] body", "a GET has none; put the parameters into [request.query]"
    for name in request.headers:
        if name.lower() in ("authorization", "x-api-key", "cookie", "proxy-authorization"):
            yield (
                f"[request.headers] {name}",
                "a dialect holds no secrets; say [source] auth and a token in the job",
            )
        elif name.lower() in _OF_THE_WAY:
            yield (
                f"[request.headers] {name}",
                "says how and where to a request goes, which base_url and the program settle; take it out",
            )
        elif not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            yield f"[request.headers] {name!r}", "no name of a header"
    placed: set[str] = set()
    for table in ("body", "query", "headers"):
        for name, value in (getattr(request, table) or {}).items():
            try:
                placed.update(template.parameters(template.compiled(value)))
            except ValueError as error:
                yield f"[request.{table}] {name}", str(error)
    needed = ["start", "end", *(("limit", "offset") if declaration.paging == "offset" else ())]
    for parameter in needed:
        if parameter not in placed:
            hint = ', or paging = "none"' if parameter in ("limit", "offset") else ""
            yield (
                "[request]",
                f'no place for {{{parameter}}}; expected a value "{{{parameter}}}" somewhere{hint}',
            )
    if "resolution" in placed and not declaration.resolutions:
        yield "[resolutions]", 'missing; expected how each is written, as in Hour = "Hour"'
    for name, value in dataclasses.asdict(declaration.defaults).items():
        if value is not None and name not in placed:
            yield (
                f"[defaults] {name}",
                f'no place for it; expected a value "{{{name}}}" somewhere in [request]',
            )


def _mistakes_of_seek(declaration: Declaration) -> Iterator[tuple[str, str]]:
    seek = declaration.seek
    if seek is None:
        return
    wanted = {"after": (seek.after, ("after",)), "both": (seek.both, ("filter", "after"))}
    for name, (value, known) in wanted.items():
        if value is None:
            continue
        try:
            named = set(template.parameters(template.compiled(value, known)))
        except ValueError as error:
            yield f"[seek] {name}", str(error)
            continue
        for missing in sorted(set(known) - named):
            yield f"[seek] {name}", f'no place for {{{missing}}}; expected a value "{{{missing}}}" in it'
    if declaration.record is None or len(declaration.record.keys) != 1:
        yield "[seek]", "expected a [record] key of one field to go by"
    request = declaration.request
    placed = template.parameters(template.compiled([request.body, request.query, request.headers]))
    if "filter" not in placed:
        yield "[seek]", 'no place for it; expected a value "{filter}" somewhere in [request]'


def _mistakes_of_times(declaration: Declaration) -> Iterator[tuple[str, str]]:
    times, date = declaration.time, declaration.record.when if declaration.record else None
    try:
        TimeWriter(times)
    except ValueError as error:
        yield "[time]", str(error)
    if times.format == "iso" and times.offset == "Z" and times.zone != "UTC":
        yield "[time] zone", f"expected UTC, as offset is Z, got {times.zone!r}"
    if date is None:
        return
    try:
        time_reader(date)
        if date.format not in ("iso", "epoch_s", "epoch_ms", "auto"):
            some = datetime(2001, 2, 3, tzinfo=UTC)
            read = datetime.strptime(some.strftime(date.format), date.format)  # noqa: DTZ007
            if read.date() != some.date():
                yield "[record.date] format", _expected_format(date.format)
    except re.error:  # what strptime makes of its pattern
        yield "[record.date] format", f"{_expected_format(date.format)}, with each part once"
    except ValueError as error:
        yield "[record.date]", str(error)


def _expected_format(got: str) -> str:
    return f"expected iso, epoch_s, epoch_ms, auto or a pattern with year, month and day, got {got!r}"


def _mistakes_of_paths(declaration: Declaration) -> Iterator[tuple[str, str]]:
    paths = {
        "[answer] records": declaration.answer.records or None,
        "[answer] message": declaration.answer.message,
    }
    if declaration.answer.success:
        paths["[answer.success] path"] = declaration.answer.success.path
    if not declaration.answer.records and (declaration.answer.success or declaration.answer.message):
        yield "[answer] records", "missing; expected the path of the list, as there is more in the answer"
    record = declaration.record
    if record:
        paths |= {"[record] date": record.when.path, "[record] version": record.version}
        paths["[record] second_key"] = record.second_key
        paths |= {f"[record] key {i}": one.path for i, one in enumerate(record.keys)}
        if not record.keys:
            yield "[record] key", "expected at least one field"
        elif len({one.path for one in record.keys}) < len(record.keys):
            yield "[record] key", "names a field twice"
    for where, path in paths.items():
        try:
            names_of(path) if path is not None else ()
        except ValueError as error:
            yield where, str(error)
            return
    told = [names_of(path) for where, path in paths.items() if path is not None and where in _HELD_APART]
    if len(told) == 2 and (told[0][: len(told[1])] == told[1] or told[1][: len(told[0])] == told[0]):
        yield "[answer.success] path", "expected a place outside the list of records"
    inner = [
        names_of(path) for where, path in paths.items() if path is not None and where.startswith("[record]")
    ]
    for one in inner:
        for other in inner:
            if len(one) < len(other) and other[: len(one)] == one:
                yield "[record]", f"{'.'.join(one)!r} cannot be a value and hold {'.'.join(other)!r} as well"
