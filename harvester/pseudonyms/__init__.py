"""Fields whose values are replaced by a keyed digest, before anything touches the disk."""

from harvester.pseudonyms.fields import Pseudonyms, overlapping
from harvester.pseudonyms.layer import Veiled, tell_never_seen, veiled

__all__ = ["Pseudonyms", "Veiled", "overlapping", "tell_never_seen", "veiled"]
