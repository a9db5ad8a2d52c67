"""The targets by name."""

from collections.abc import Callable
from typing import Final

from tests.fuzz import outputs, readers

Target = Callable[[bytes], None]

TARGETS: Final[dict[str, Target]] = {
    "page": readers.page,
    "dialect": readers.dialect,
    "job": readers.job,
    "headers": readers.headers,
    "date": readers.date,
    "contract": readers.contract_json,
    "encoding": readers.encoding,
    "manifest": outputs.manifest,
    "ledger": outputs.ledger,
    "shard": outputs.shard,
}
