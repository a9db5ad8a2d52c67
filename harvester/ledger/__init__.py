"""The ledger: which windows are proven, which shards hold them, and who may write."""

from harvester.ledger.database import Ledger
from harvester.ledger.file import NAME as LEDGER_NAME
from harvester.ledger.file import check_files, home_of, is_begun, keep_to_oneself
from harvester.ledger.lock import NAME as LOCK_NAME
from harvester.ledger.lock import Lock, is_held
from harvester.ledger.proven import NOT_OVER, NOT_PUBLISHED
from harvester.ledger.schema import SCHEMA_VERSION
from harvester.ledger.states import TRANSITIONS, Build, Counts, Gap, Settled, State, from_us, to_us
from harvester.ledger.status import PartitionStatus, Status, read_status

__all__ = [
    "LEDGER_NAME",
    "LOCK_NAME",
    "NOT_OVER",
    "NOT_PUBLISHED",
    "SCHEMA_VERSION",
    "TRANSITIONS",
    "Build",
    "Counts",
    "Gap",
    "Ledger",
    "Lock",
    "PartitionStatus",
    "Settled",
    "State",
    "Status",
    "check_files",
    "from_us",
    "home_of",
    "is_begun",
    "is_held",
    "keep_to_oneself",
    "read_status",
    "to_us",
]
