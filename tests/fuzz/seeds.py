"""What fuzzing begins with: good inputs, what the simulator spoils of them, the nasty classics, and whatever
has failed once (`corpus/TARGET/`).
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from harvester.testing import spoil
from harvester.testing.faults import KINDS
from harvester.testing.table import Fields
from tests.fuzz.edits import MARK

_ROOT: Final = Path(__file__).parents[2]
_CORPUS: Final = Path(__file__).parent / "corpus"
RECORD: Final = (
    b'{"_id":"5a5a4d93fcd28a9d580001af","StartedDateTimeUtc":"2024-01-01T00:00:00.000Z",'
    b'"RecordWrittenAtUtc":"2024-01-01T01:00:00.000Z","TenantId":2,"Note":"\\u00fc","Null":null,"Deep":{"a":[1,2.5e3]}}'
)
CONTRACT: Final[dict[str, Any]] = {
    "source": "http://localhost:1",
    "dialect": "interactions",
    "measured_at": "2024-01-01T00:00:00Z",
    "requests": 3,
    "facts": [
        {"name": "limit", "value": "cut", "told": "cut", "measured": True},
        {"name": "largest_page", "value": 500, "told": "500 at most", "measured": True},
        {"name": "order", "value": "ascending", "told": "as asked", "measured": True},
        {"name": "ends", "value": "exclusive", "told": "left out", "measured": True},
    ],
    "format_version": 1,
}
_FIELDS: Final = Fields(date="StartedDateTimeUtc")
CLASSICS: Final = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"Infinity", b"-1e999999", b"1" * 5000, b"[" * 3000,
    b'{"a":' * 2000, b'"\\ud800"', b'{"data":[{}]}', b'{"data":[],"data":[1]}',
    b"9999-12-31T23:59:59.999999Z", b"0001-01-01T00:00:00+23:59",
    b"Thu, 01 Jan 1970 00:00:00 GMT", b"Fri, 31 Dec 9999 23:59:59 -2359",
)  # fmt: skip


def seeds(target: str) -> list[bytes]:
    return [*_own(target), *CLASSICS, *failed_once(target)]


def failed_once(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((_CORPUS / target).glob("*"))]


def jobs() -> list[bytes]:
    return [path.read_bytes() for path in sorted((_ROOT / "config").glob("*.toml"))]


def dialects() -> list[bytes]:
    return [path.read_bytes() for path in sorted((_ROOT / "config" / "sources").glob("*.toml"))]


@cache
def trees(of: str) -> list[Any]:
    """Of the job and dialect files, for edits."""
    return [tomllib.loads(text.decode()) for text in (jobs() if of == "job" else dialects())]


def _own(target: str) -> list[bytes]:
    """The first byte chooses where a target has several readers."""
    edits = [
        MARK + bytes([0, place, what, which]) for place, what, which in ((0, 0, 3), (9, 1, 0), (5, 3, 2))
    ]
    match target:
        case "page":
            return [bytes([which]) + page for page in [*_pages(), *edits] for which in range(4)]
        case "dialect":
            return [*dialects(), *edits, b"a = " + b"[" * 3000, b"a" + b".a" * 3000 + b" = 1"]
        case "job":
            return [*jobs(), *edits, b"a = " + b"[" * 3000, b"[fetch]\npage_size = " + b"9" * 9000]
        case "headers":
            return _headers()
        case "date":
            texts = (b'"2024-01-01T00:00:00.000Z"', b"1704067200", b"1704067200000.5", b'"2024-W01-1"')
            return [bytes([which]) + text for which in range(5) for text in texts]
        case "contract":
            return [orjson.dumps(CONTRACT), *edits]
        case "manifest":
            return edits
        case "encoding":
            return [bytes([which]) + body for which in range(3) for body in _packed()]
        case "shard":
            return [bytes([which]) + RECORD + b"\n" for which in range(4)]
        case _:
            return edits


def _page(*records: bytes) -> bytes:
    return b'{"resultCode":0,"resultCodeName":"Success","data":[%s]}' % b",".join(records)


def _pages() -> list[bytes]:
    good = _page(RECORD, RECORD.replace(b"1af", b"1b0"))
    kinds, bodies, data = (KINDS[name].value for name in ("record", "body", "data"))
    assert isinstance(kinds, tuple)
    assert isinstance(bodies, tuple)
    assert isinstance(data, tuple)
    damaged = [_page(RECORD, spoil.damage(kind, RECORD, _FIELDS)) for kind in kinds]
    spoilt = [spoil.spoil(kind, good) for kind in bodies]
    return [good, *damaged, *spoilt, *(spoil.instead_of_data(kind) for kind in data)]


def page_tree() -> Any:
    return orjson.loads(_page(RECORD, RECORD.replace(b"1af", b"1b0")))


def _headers() -> list[bytes]:
    def told(**given: str) -> bytes:
        return orjson.dumps({name.replace("_", "-"): value for name, value in given.items()})

    begin = "Mon, 01 Jan 2024 00:00:00 GMT"
    return [
        told(retry_after="1.5", date=begin),
        told(retry_after="Mon, 01 Jan 2024 00:00:09 GMT", date=begin),
        told(ratelimit='"default";r=0;t=12', x_ratelimit_reset="1704067200"),
        told(ratelimit_remaining="0", ratelimit_reset="7"),
        told(x_ratelimit_remaining="0", x_ratelimit_reset="1704067200000", location="http://a/b?c"),
    ]


def _packed() -> list[bytes]:
    from isal import isal_zlib

    packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    gzip = packer.compress(b"abc" * 500) + packer.flush()
    zstd = bytes.fromhex("28b52ffd240361000062626284e3b0e4")
    return [gzip, gzip[:-4], gzip + gzip, zstd, zstd + zstd, zstd[:-1]]
