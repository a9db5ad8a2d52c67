"""How long to wait before trying again, one rule for a page's retries and for everybody's knocks. Pure."""

import random
from typing import Final

BASE_S: Final = 0.5
"""Longer than a hiccup of a proxy, and nobody notices it once."""
MAX_S: Final = 60.0
"""Beyond a minute of waiting the run only gets later, and the server no relief that it would notice."""


HICCUP_BASE_S: Final = 0.02
"""Where the others are served all the while: the next try meets another machine, most likely."""


def full_jitter(failures: int, rng: random.Random, *, base_s: float = BASE_S) -> float:
    """Seconds to wait after that many failures in a row (1 or more): anything from 0 to a bound that
    doubles, so that those who failed together do not come back together."""
    return rng.uniform(0.0, min(MAX_S, base_s * 2.0 ** min(failures - 1, 32)))
