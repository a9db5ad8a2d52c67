"""pages of one to a few records, many of them held twice, from servers whose order is not kept, kept but for
single requests, or kept while rows leave and come.

Drawn tight around what has to be told from a record that is held twice.
"""

import os
import random
from datetime import timedelta

import anyio
import pytest

from tests.test_pages_adversary import LOT, Adversary, adversary, record, story

SEEDS = int(os.environ.get("ADVERSARY_SEEDS", "160")) // 4
"""They take some thousand requests each. `scripts/adversary` tries many more."""


def server_of(seed: int) -> Adversary:
    rng, server = random.Random(f"tight {seed}"), adversary(seed)
    rows = [record(rng) for _ in range(rng.choice([2, 8, 20, 45]))]
    at = LOT.start + rng.randrange(4 * 3600) * timedelta(seconds=1)
    rows += [record(rng, at) for _ in range(rng.choice([0, 2, 3, 6]))]
    rows += rng.sample(rows, max(1, len(rows) // rng.choice([4, 10])))
    rng.shuffle(rows)
    server.rows = rows
    server.cap = rng.choice(["bytes", "bytes", "constant", "call", "offset"])
    server.least, server.most = 1, rng.choice([1, 2, 3, 6])
    server.offsets, server.limit, server.seeks = "work", 1000, "never"
    server.order = rng.choice(["kept", "kept", "ties", "ties by date", "seconds", "shuffled", "ignored"])
    server.opposite, server.dropped = rng.choice([0, 0.1, 0.3, 0.5]), rng.choice([0, 0, 0.1, 0.3])
    server.moves = rng.choice([0, 0, 0.02, 0.2]) if server.order in ("kept", "ignored") else 0.0
    return server


def test_no_record_is_lost_beside_those_that_are_held_twice() -> None:
    for seed in range(SEEDS):
        anyio.run(story, seed, False, server_of(seed))


@pytest.mark.parametrize("seed", [1439])
def test_no_page_of_copies_from_the_other_end_hides_a_record(seed: int) -> None:
    anyio.run(story, seed, False, server_of(seed))
