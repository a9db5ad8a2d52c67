"""verify --source: does the output hold what the source holds, record by record?

The span that the manifest calls proven is asked for again, by a cut of its own: windows that end where the
output's own records say so and not where the run's windows ended, another page size, another order. What
comes is compared with what the shards hold, and every record that is on one side only, or not the same to
the byte, is named. cut.py says what is compared with what, compare.py what the difference amounts to,
check.py asks and reads.
"""

from harvester.verify_source.check import SourceVerdict, verify_source
from harvester.verify_source.compare import KINDS, Finding

__all__ = ["KINDS", "Finding", "SourceVerdict", "verify_source"]
