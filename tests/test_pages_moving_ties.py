"""pages: rows that leave and come while ties change their order on each call, in pages of a few rows.

Drawn tight around one case: as a row leaves in front, the record that the next page has to begin with takes
the place that it is looked for at, and another one, never seen, stands in front of it.
"""

import os
import random
from datetime import timedelta

import anyio
import pytest

from tests.test_pages_adversary import LOT, Adversary, record, story

SEEDS = int(os.environ.get("ADVERSARY_SEEDS", "120"))
"""`scripts/adversary` tries many more."""


def server_of(seed: int) -> Adversary:
    """Few instants, many ties; somebody leaves or comes at every third to every request."""
    rng = random.Random(f"ties {seed}")
    at = LOT.start + rng.randrange(1, 60) * timedelta(minutes=1)
    step = timedelta(milliseconds=rng.choice([1, 700, 1000, 90_000]))
    rows = []
    for _ in range(rng.randrange(2, 8)):
        at += step
        rows += [record(rng, at) for _ in range(rng.choice([1, 1, 2, 3, 5]))]
    rng.shuffle(rows)
    return Adversary(
        rng=rng,
        rows=rows,
        cap=rng.choice(["none", "none", "constant", "bytes"]),
        least=rng.randrange(2, 5),
        most=rng.randrange(5, 8),
        order=rng.choice(["ties", "ties", "ties by date"]),
        offsets="work",
        depth=0,
        moves=rng.choice([0.3, 0.6, 1.0]),
        includes_ends=rng.random() < 0.7,
        seeks="never",
        opposite=0.0,
        limit=rng.choice([3, 4, 5, 6, 9]),
    )


@pytest.mark.parametrize("by_time", [True, False], ids=["by time", "by offset"])
def test_no_tie_is_lost_while_rows_leave_in_front_of_it(by_time: bool) -> None:
    for seed in range(SEEDS):
        anyio.run(story, seed, by_time, server_of(seed))


def test_no_tie_is_lost_where_answers_hold_a_record_once_more() -> None:
    """Ties change places on each call, within a whole second or an instant, and nothing else moves: the copy
    at the end of an answer is not where the next one goes on from."""
    for seed in range(SEEDS):
        server = server_of(seed)
        server.order = server.rng.choice(["seconds", "ties"])
        server.moves, server.copies, server.cap = 0.0, 0.3, "none"
        server.limit = server.rng.choice([2, 3, 7])
        anyio.run(story, seed, False, server)
