"""Damage: to one record, to a whole body. Pure functions, one table each; which one strikes is faults.py's
affair.
"""

import zlib
from collections.abc import Callable

import msgspec

from .table import Fields

HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>try later</body></html>"

_ENVELOPE = b'{"resultCode":0,"resultCodeName":"Success","data":'


def is_damaged(key: str, one_in: int) -> bool:
    """The same records always, whatever the request: one in so many, by their key."""
    return zlib.crc32(key.encode()) % one_in == 0


def damage(kind: str, raw: bytes, fields: Fields) -> bytes:
    """One record, spoilt. All but `utf8`, `nan` and `surrogate` are still JSON."""
    return _RECORDS[kind](raw, fields)


def spoil(kind: str, body: bytes) -> bytes:
    return _BODIES[kind](body)


def instead_of_data(kind: str) -> bytes:
    """A whole body with resultCode 0 and something else where the records should be."""
    if kind == "missing":
        return b'{"resultCode":0,"resultCodeName":"Success"}'
    return _ENVELOPE + {"null": b"null", "object": b"{}", "text": b'"no"', "empty": b"[]"}[kind] + b"}"


def _replaced(raw: bytes, field: str, value: bytes) -> bytes:
    """The value of a field that holds a text, replaced by other JSON."""
    name = b'"%s":"' % field.encode()
    start = raw.index(name) + len(name) - 1
    return raw[:start] + value + raw[raw.index(b'"', start + 1) + 1 :]


def _without(raw: bytes, field: str) -> bytes:
    name = b'"%s":' % field.encode()
    start = raw.index(name)
    end = raw.index(b",", start) + 1
    return raw[:start] + raw[end:]


def _with(raw: bytes, field: bytes) -> bytes:
    return raw[:-1] + b"," + field + b"}"


_RECORDS: dict[str, Callable[[bytes, Fields], bytes]] = {
    "no_key": lambda raw, fields: _without(raw, fields.key),
    "no_date": lambda raw, fields: _without(raw, fields.date),
    "null_key": lambda raw, fields: _replaced(raw, fields.key, b"null"),
    "bad_date": lambda raw, fields: _replaced(raw, fields.date, b'"yesterday"'),
    "number": lambda raw, fields: b"17",
    "null": lambda raw, fields: b"null",
    "text": lambda raw, fields: b'"not a record"',
    "list": lambda raw, fields: b"[" + raw + b"]",
    "surrogate": lambda raw, fields: _with(raw, rb'"Note":"\ud800 alone"'),
    "utf8": lambda raw, fields: _with(raw, b'"Note":"\xff\xfe"'),
    "nan": lambda raw, fields: _with(raw, b'"Note":NaN'),
    "bigint": lambda raw, fields: _with(raw, b'"Note":123456789012345678901234567890'),
    "twice_keys": lambda raw, fields: _with(raw, b'"TenantId":2'),
}

_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda body: HTML,
    "empty": lambda body: b"",
    "text": lambda body: b"Service temporarily unavailable",
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "pretty": lambda body: msgspec.json.format(body, indent=2),
    "utf8": lambda body: body.replace(b'"TenantId"', b'"Tenant\xff"', 1),
    "nan": lambda body: body.replace(b'"TenantId":2', b'"TenantId":NaN', 1),
    "cut_json": lambda body: body[: len(body) // 2],
    "trailing": lambda body: body + b"<!-- served by proxy 7 -->",
    "two_codes": lambda body: b'{"resultCode":5,' + _ENVELOPE[1:] + b"[]}",
    "two_lists": lambda body: _ENVELOPE + b'[],"data":[]}',
}
