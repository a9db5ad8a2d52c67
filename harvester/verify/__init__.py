"""verify: does the output hold what its manifest and its ledger say, to the byte?"""

from harvester.verify.check import verify
from harvester.verify.verdict import Difference, Verdict

__all__ = ["Difference", "Verdict", "verify"]
