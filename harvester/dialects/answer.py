"""Reads an answer: bytes in, rows and rejects out, or BadPage.

The hot path makes one pass of msgspec over the whole body, for the envelope and the few fields that tell what
a record is; where the records' bytes begin and end is found by their braces, and by a second pass where that
is not certain. Whatever is not perfect there goes the careful way, item by item: what is no valid record is a
Reject with its reason, and only an answer that is no good page as a whole is a BadPage.
"""

import json
from codecs import utf_8_decode
from collections import deque
from collections.abc import Collection
from itertools import repeat
from typing import Any, Final, NoReturn

import msgspec
from msgspec import UNSET

from harvester.dialects import bounds, salvage
from harvester.dialects.lens import RecordReader, dig, nested
from harvester.dialects.schema import Declaration, Success, names_of
from harvester.dialects.spans import is_plain, spans
from harvester.dialects.times import kind_of
from harvester.dialects.unfit import UNFIT, is_damage, reason
from harvester.dialects.values import Ask, Page, Raw, Reject, Row
from harvester.dialects.windowed import marked, unmarked
from harvester.errors import BadPage

_BOM: Final = b"\xef\xbb\xbf"
_SHOWN: Final = 80
"""So many characters of what an answer says about its failure are told."""


class AnswerReader:
    """Of one declaration. May be used by several threads at once."""

    def __init__(self, declaration: Declaration) -> None:
        self._declared = declaration.answer
        self._path = names_of(declaration.answer.records) if declaration.answer.records else ()
        success = declaration.answer.success
        told = names_of(success.path) if success else None
        record = declaration.record
        self._record = RecordReader(record, self._path, told) if record else None
        kind, attributes = nested({self._path: (list[msgspec.Raw], True)})
        self._envelope = msgspec.json.Decoder(kind)
        self._records = attributes[self._path]
        self._named = {*self._path, *(told or ())}
        """Members of the envelope that must be there once: of two, each reader may take another."""
        self._first = record.keys[0].path if record and record.keys else ""
        """What the records are expected to begin with."""
        self._is_searched = len(self._path) == 1 and is_plain(self._path[0]) and is_plain(self._first)

    def read(self, body: bytes, ask: Ask) -> Page:
        text = body.removeprefix(_BOM)
        most = bounds.most_records(ask.limit)
        rows = None if bounds.may_be_too_many(text, most) else self._quickly(text, most)
        if rows is not None:
            return Page(rows=rows, decoded_bytes=len(body))
        rows, rejects = self._carefully(text, ask, most)
        return Page(rows=rows, rejects=rejects, decoded_bytes=len(body))

    def row(self, line: bytes) -> Row:
        """The row of a stored line; ValueError says why it is none."""
        if self._record is None:
            return unmarked(line)
        try:
            return self._record.one(line)
        except UNFIT as error:
            raise ValueError(reason(line, error)) from None

    def _quickly(self, body: bytes, most: int) -> list[Row] | None:
        """The rows of a perfect page, else None. Pages of aggregates are small and rare: they always go the
        other way."""
        if self._record is None:
            return None
        try:
            rows, told = self._record.all(body, lambda count: self._raws(body, count, most))
        except UNFIT:
            return None
        success = self._declared.success
        return None if success and not _is(told, success) else rows

    def _raws(self, body: bytes, count: int, most: int) -> list[Raw]:
        """The records of valid JSON, each checked for UTF-8 and on one line."""
        if count > most:
            raise bounds.TooMany(most)
        raws: list[Raw] = []
        found = spans(body, self._path[0], self._first, count) if self._is_searched else None
        raws += map(bytes, dig(self._envelope.decode(body), self._records)) if found is None else found
        self._check_list_once(body, raws)
        if not body.isascii():
            # msgspec does not look inside what it passes over.
            deque(map(utf_8_decode, raws, repeat("strict"), repeat(True)), maxlen=0)
        if b"\n" in body or b"\r" in body:
            raws = [_on_one_line(bytes(raw)) for raw in raws]
        return raws

    def _check_list_once(self, body: bytes, raws: list[Raw]) -> None:
        """Raises ValueError where an empty list of records stands beside the other: of all else that is there
        twice the values were counted."""
        if raws:
            body = body[: body.find(raws[0])] + body[body.rfind(raws[-1]) + len(raws[-1]) :]
        if body.count(b",") > bounds.MOST_BESIDE or _twice(body.decode(), self._named):
            raise ValueError("the list of records may be there twice")

    def _carefully(self, body: bytes, ask: Ask, most: int) -> tuple[list[Row], list[Reject]]:
        start = body.lstrip()[:1]
        if not start:
            raise BadPage("the answer is empty")
        if start == b"<":
            raise BadPage("the answer is an HTML or XML page, not JSON")
        items, rest = salvage.split(body, self._path, most)
        self._judge(rest, body)
        rows: list[Row] = []
        rejects: list[Reject] = []
        for item in items:
            try:
                rows.append(self._item(item, ask))
            except UNFIT as error:
                rejects.append(Reject(reason=reason(item, error), raw=item, is_damaged=is_damage(error)))
        return rows, rejects

    def _item(self, item: bytes, ask: Ask) -> Row:
        item.decode()
        msgspec.json.decode(item, type=msgspec.Raw)
        raw = _on_one_line(item)
        return self._record.one(raw) if self._record else marked(raw, ask)

    def _judge(self, rest: bytes, body: bytes) -> None:
        """Raises BadPage where the answer without its records is not that of a good page."""
        if rest.count(b",") > bounds.MOST_BESIDE:
            raise BadPage("the answer holds far more than records and what is said about them")
        try:
            text = rest.decode(errors="replace")
            told = msgspec.json.decode(text)
            twice = _twice(text, self._named)
        except RecursionError:
            raise BadPage("the answer is no JSON that can be read: it is nested too deeply") from None
        except (msgspec.DecodeError, ValueError):
            salvage.check_whole(body)
            raise BadPage("the answer is no JSON") from None
        if twice:
            raise BadPage(f"{twice} is there twice in the answer")
        success = self._declared.success
        if success:
            value = _value(told, names_of(success.path))
            if not _is(value, success):
                self._tell_failure(told, value, success)
        records = _value(told, self._path)
        where = self._declared.records or "the answer"
        if records is UNSET:
            raise BadPage(f"the answer has no {where}")
        if not isinstance(records, list):
            raise BadPage(f"{where} is {kind_of(records)}, not a list of records")

    def _tell_failure(self, told: Any, value: Any, success: Success) -> NoReturn:
        got = "nothing" if value is UNSET else _shown(value)
        message = _value(told, names_of(self._declared.message)) if self._declared.message else UNSET
        said = f" ({_shown(message)})" if isinstance(message, str) and message else ""
        raise BadPage(f"the answer says {success.path} {got}{said}, where {_shown(success.value)} is success")


def _on_one_line(raw: bytes) -> bytes:
    """Valid JSON breaks lines between its tokens only; taking the breaks away keeps every token as it is."""
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw


def _twice(text: str, names: Collection[str]) -> str | None:
    """Of `names` one that an object of the text has as a member more than once."""
    found: list[str] = []

    def looked_at(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = [name for name, _ in pairs if name in names]
        found.extend(name for name in members if members.count(name) > 1)
        return {}

    json.loads(text, object_pairs_hook=looked_at, parse_int=str, parse_float=str)
    return found[0] if found else None


def _is(value: object, success: Success) -> bool:
    return value == success.value and isinstance(value, bool) == isinstance(success.value, bool)


def _value(told: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        told = told.get(name, UNSET) if isinstance(told, dict) else UNSET
    return told


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return kind_of(value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
