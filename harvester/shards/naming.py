"""What things are called in an output.

::

    dt=2024-01-01/part-00000.jsonl.zst              a whole partition's shards
    dt=2024-01-10/part-00000-5f2ab9c1.jsonl.zst     shards of a partition that is not whole yet, or that
    replace
                                                    others: the name carries the first digits of their SHA-256
    _harvest/staging/00000017-00000.jsonl.zst       sealed, not yet published: build 17, shard 0
    _harvest/staging/kept-5f2ab9c1....jsonl.zst     lines beside a table, of a ledger that was made anew

A name is never given to other bytes while a manifest in use may know it: so a reader that goes by a
manifest meets the bytes it was promised, or a file that is gone, and never a mix of two generations.
"""

import re
from typing import Final

STAGING: Final = "_harvest/staging"
QUARANTINE: Final = "_harvest/quarantine"
MANIFEST: Final = "_manifest.json"
SUCCESS: Final = "_SUCCESS"
_DIGITS: Final = 8
_PUBLISHED: Final = re.compile(
    r"dt=[0-9-]+/part-[0-9]{5,}(-[0-9a-f]{8})?\.(jsonl|jsonl\.gz|jsonl\.zst|parquet)"
)


def folder(partition: str) -> str:
    return f"dt={partition}"


def plain(partition: str, number: int, suffix: str) -> str:
    return f"{folder(partition)}/part-{number:05d}{suffix}"


def digested(partition: str, number: int, suffix: str, sha256: str) -> str:
    return f"{folder(partition)}/part-{number:05d}-{sha256[:_DIGITS]}{suffix}"


def is_published(path: str) -> bool:
    """Whether it is a name that `plain` or `digested` gives."""
    return _PUBLISHED.fullmatch(path) is not None


def staged(build: int, number: int, suffix: str) -> str:
    return f"{STAGING}/{build:08d}-{number:05d}{suffix}"


def spare(path: str) -> str:
    """What a file is called until it is whole, or while it is given its name."""
    return f"{path}.tmp"


def kept(sha256: str, suffix: str) -> str:
    """Of lines that a ledger which was made anew has found: no build is named so."""
    return f"{STAGING}/kept-{sha256[:16]}{suffix}"
