"""Takes an answer apart that is not good JSON throughout: where each item begins and ends, and what is around
them.

Only brackets, strings and the commas between items are looked at, in one pass from left to right, so a record
that no parser takes costs that record and no other. What cannot be taken apart like this raises BadPage: cut
short, or broken outside its records or across them.
"""

import re

import msgspec

from harvester.dialects.bounds import TooMany
from harvester.errors import BadPage

_SPACE = b" \t\r\n"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_inside = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+", re.DOTALL).match
_between = re.compile(rb'(?:[^"{}\[\],]++|' + _STRING + rb")*+", re.DOTALL).match
_name = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL).match
_plain = re.compile(rb"(?:" + _STRING + rb'|[^"{}\[\],]++)?+[ \t\r\n]*+', re.DOTALL).match
_CLOSER = {ord("{"): ord("}"), ord("["): ord("]")}
_QUOTE, _COMMA, _END = ord('"'), ord(","), ord("]")


def split(body: bytes, path: tuple[str, ...], most: int) -> tuple[list[bytes], bytes]:
    """The items of the list at `path`, and `body` with that list emptied. No such list: no items, and all of
    `body`. Raises TooMany where there are more than `most`."""
    at = _find(body, path)
    if at is None or body[at : at + 1] != b"[":
        return [], body
    items, end = _items(body, at + 1, most)
    return items, body[: at + 1] + body[end - 1 :]


def check_whole(body: bytes) -> None:
    """Raises BadPage where the first bracket has no end."""
    at = len(body) - len(body.lstrip(_SPACE))
    if at < len(body) and body[at] in _CLOSER:
        _skip(body, at)


def _find(body: bytes, path: tuple[str, ...]) -> int | None:
    at = len(body) - len(body.lstrip(_SPACE))
    for name in path:
        if body[at : at + 1] != b"{":
            return None
        member = _member(body, at + 1, name)
        if member is None:
            return None
        at = member
    return at


def _member(body: bytes, at: int, name: str) -> int | None:
    """Where the value of the first member called `name` begins; `at` is just inside the object."""
    while found := _name(body, at):
        at = found.end()
        if _is(found[1], name):
            return at
        if at < len(body) and body[at] in _CLOSER:
            at = _skip(body, at)
        plain = _plain(body, at)
        at = plain.end() if plain else at
        if body[at : at + 1] != b",":
            return None
        at += 1
    return None


def _is(quoted: bytes, name: str) -> bool:
    try:
        return bool(msgspec.json.decode(quoted) == name)
    except (msgspec.DecodeError, ValueError):
        return False


def _items(body: bytes, at: int, most: int) -> tuple[list[bytes], int]:
    """The items from `at`, just inside the list, and the index after the list."""
    items: list[bytes] = []
    begin = at
    while True:
        at = _between(body, at).end()  # type: ignore[union-attr]  # it matches nothing at least
        mark = _at(body, at)
        if mark in _CLOSER:
            at = _skip(body, at)
        elif mark in (_COMMA, _END):
            item = body[begin:at].strip(_SPACE)
            if not item and (mark == _COMMA or items):
                raise BadPage(f"the answer is no JSON: an empty place in the list of records, at byte {at}")
            if item:
                items.append(item)
                if len(items) > most:
                    raise TooMany(most)
            at += 1
            if mark == _END:
                return items, at
            begin = at
        else:
            raise _broken(mark, at)


def _skip(body: bytes, at: int) -> int:
    """The index after the bracketed value that begins at `at`."""
    closers = bytearray()
    while True:
        mark = _at(body, at)
        if mark in _CLOSER:
            closers.append(_CLOSER[mark])
        elif not closers or mark != closers.pop():
            raise _broken(mark, at)
        at += 1
        if not closers:
            return at
        at = _inside(body, at).end()  # type: ignore[union-attr]  # it matches nothing at least


def _at(body: bytes, at: int) -> int:
    if at >= len(body):
        raise BadPage(f"the answer is cut short after {len(body)} bytes")
    return body[at]


def _broken(mark: int, at: int) -> BadPage:
    if mark == _QUOTE:
        return BadPage(f"the answer is cut short or broken: the text at byte {at} has no end")
    return BadPage(f"the answer is no JSON: a bracket at byte {at} closes nothing")
