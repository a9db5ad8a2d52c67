"""Walks through the bytes of one record and replaces the values at some paths; every other byte stays. Pure.

The record is valid JSON, which the dialect has seen to. Members that nobody asks for are passed over by one
regular expression at a time, so that Python takes a step for each member that is wanted, that holds others,
or whose name is spelt with escapes, and for no other. Of members with one name each is a member of that name.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from harvester.pseudonyms.message import prefix_of

Digest = Callable[[bytes, bytes], bytes | None]
"""From a path's prefix and a scalar's bytes to what takes its place; None: it stays."""

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SCALAR: Final = rb'[^"{}\[\],\s]++'
_SPACE: Final = rb"[ \t\r\n]*+"
_scalar = re.compile(_STRING + rb"|" + _SCALAR, re.DOTALL).match
_name = re.compile(_SPACE + rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE, re.DOTALL).match
_comma = re.compile(_SPACE + rb",?+" + _SPACE).match
_space = re.compile(_SPACE).match
_to_bracket = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+", re.DOTALL).match
_OBJECT, _LIST, _OBJECT_END, _LIST_END = b"{[}]"


class Node:
    """A place on the way to what is replaced, or (`is_leaf`) the place itself and everything below it."""

    def __init__(self, path: tuple[str, ...] = (), *, is_leaf: bool = False) -> None:
        self.is_leaf = is_leaf
        self.is_seen = False
        """Whether any record had a value here, be it null."""
        self._path = path
        self._prefix = prefix_of(path)
        self._children: dict[str, Node] = {}
        self._close()

    def at(self, names: tuple[str, ...]) -> "Node":
        """The node of this path, made where there is none; before the first record."""
        if not names:
            return self
        own = self._children.setdefault(names[0], Node((*self._path, names[0])))
        self._close()
        return own.at(names[1:])

    def _close(self) -> None:
        wanted = b"|".join(re.escape(name.encode()) for name in self._children)
        name = rb'"(?!(?:' + wanted + rb')")[^"\\]*+"' if wanted else rb'"[^"\\]*+"'
        member = (name, _SPACE, rb":", _SPACE, rb"(?:", _STRING, rb"|", _SCALAR, rb")", _SPACE)
        more = (rb"(?:,", _SPACE, rb"|(?=\}))")
        self.pass_over = re.compile(b"".join((_SPACE, rb"(?:", *member, *more, rb")*+")), re.DOTALL).match
        """From just inside an object to the first member that needs a look."""

    def child(self, name: str) -> "Node | None":
        if self.is_leaf:  # names may be anybody's, so these are not kept
            self.is_seen = True
            return Node((*self._path, name), is_leaf=True)
        return self._children.get(name)

    def replacement(self, token: bytes, digest: Digest) -> bytes | None:
        if not self.is_leaf:
            return None
        self.is_seen = True
        return digest(self._prefix, token)


def rewritten(raw: bytes, root: Node, digest: Digest) -> bytes:
    """`raw` itself where nothing was replaced. RecursionError where it is nested beyond Python's depth."""
    walk = _Walk(raw, digest)
    walk.value(0, root)
    return walk.joined()


class _Walk:
    def __init__(self, raw: bytes, digest: Digest) -> None:
        self._raw = raw
        self._digest = digest
        self._pieces: list[bytes] = []
        self._copied = 0
        """Up to here `raw` is in the pieces."""

    def joined(self) -> bytes:
        return b"".join([*self._pieces, self._raw[self._copied :]]) if self._pieces else self._raw

    def value(self, at: int, node: Node) -> int:
        """The index behind the value that begins at `at`."""
        mark = self._raw[at]
        if mark == _OBJECT:
            return self._object(at + 1, node)
        if mark == _LIST:
            return self._list(at + 1, node)
        end = _found(_scalar(self._raw, at)).end()
        replacement = node.replacement(self._raw[at:end], self._digest)
        if replacement is not None:
            self._pieces += (self._raw[self._copied : at], replacement)
            self._copied = end
        return end

    def _object(self, at: int, node: Node) -> int:
        raw = self._raw
        while True:
            if not node.is_leaf:
                at = _found(node.pass_over(raw, at)).end()
            name = _name(raw, at)
            if name is None:
                return _closed(raw, at, _OBJECT_END)
            at = name.end()
            child = node.child(_text(name[1]))
            at = _behind(raw, at) if child is None else self.value(at, child)
            at = _found(_comma(raw, at)).end()

    def _list(self, at: int, node: Node) -> int:
        """A path goes through lists: each item stands in the place of the list."""
        raw = self._raw
        at = _found(_space(raw, at)).end()
        while raw[at] != _LIST_END:
            at = _found(_comma(raw, self.value(at, node))).end()
        return at + 1


def _text(quoted: bytes) -> str:
    return msgspec.json.decode(quoted, type=str) if b"\\" in quoted else quoted[1:-1].decode()


def _behind(raw: bytes, at: int) -> int:
    """The index behind a value that nobody asks for."""
    if raw[at] not in (_OBJECT, _LIST):
        return _found(_scalar(raw, at)).end()
    depth = 0
    while True:
        depth += 1 if raw[at] in (_OBJECT, _LIST) else -1
        at += 1
        if not depth:
            return at
        at = _found(_to_bracket(raw, at)).end()


def _closed(raw: bytes, at: int, closer: int) -> int:
    at = _found(_space(raw, at)).end()
    if raw[at] != closer:
        raise ValueError("not the JSON that it was taken for")
    return at + 1


def _found(match: re.Match[bytes] | None) -> re.Match[bytes]:
    if match is None:
        raise ValueError("not the JSON that it was taken for")
    return match
