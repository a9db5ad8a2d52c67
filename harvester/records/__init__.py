"""Pages become batches: each record once, in its newest version, in order, in bounded memory."""

from harvester.records.gather import HELD_BYTES, RUN_BYTES, USUAL_RECORD_BYTES, Batch, Gather, Held, chunked
from harvester.records.sheaf import Sheaf

__all__ = [
    "HELD_BYTES",
    "RUN_BYTES",
    "USUAL_RECORD_BYTES",
    "Batch",
    "Gather",
    "Held",
    "Sheaf",
    "chunked",
]
