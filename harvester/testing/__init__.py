"""The simulator: the Reporting API from its page alone, with seeded data, faults as data, and the truth.

Start with settings.py for what can be asked of it; records.py, messages.py and rhythm.py make the data,
table.py holds it, query.py and filters.py read requests, service.py answers them, server.py is the door;
faults.py says what may go wrong and rows.py, spoil.py, limits.py and wire.py do it; truth.py compares.

It imports nothing of the rooms that plan and fetch: what it knows, it knows from the API's page.
"""

from .background import running
from .server import Simulator
from .settings import Settings
from .truth import Difference, compare, compare_output, fetch_truth, harvested

__all__ = [
    "Difference",
    "Settings",
    "Simulator",
    "compare",
    "compare_output",
    "fetch_truth",
    "harvested",
    "running",
]
