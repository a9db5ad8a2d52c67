"""pages: a server whose order was proven, and that drops it for single requests all the same.

Such a page may come turned round, or in no order, and be cut: then rows are missing in the middle of it. Each
page has to show by itself that it goes on from where the last one ended.
"""

import os
import random
from datetime import timedelta

import anyio

from tests.test_pages_adversary import LOT, Adversary, record, story

SEEDS = int(os.environ.get("ADVERSARY_SEEDS", "150"))
"""`scripts/adversary` tries many more."""


def server_of(seed: int) -> Adversary:
    rng = random.Random(f"dropped {seed}")
    rows = [record(rng) for _ in range(rng.choice([2, 5, 12, 40]))]
    for _ in range(rng.randrange(3)):
        at = LOT.start + rng.randrange(4 * 3600) * timedelta(seconds=1)
        rows += [record(rng, at) for _ in range(rng.randrange(1, 7))]
    least = rng.randrange(2, 9)
    return Adversary(
        rng=rng,
        rows=rows,
        cap=rng.choice(["none", "constant", "constant", "call", "bytes"]),
        least=least,
        most=least + rng.randrange(1, 5),
        order=rng.choice(["kept", "kept", "ties by date"]),
        offsets="work",
        depth=0,
        moves=0.0,
        includes_ends=rng.random() < 0.7,
        seeks="never",
        opposite=rng.choice([0.0, 0.1, 0.3]),
        dropped=rng.choice([0.0, 0.1, 0.3]),
        limit=rng.choice([4, 8, 25]),
    )


def test_a_page_that_came_in_another_order_hides_nothing() -> None:
    for seed in range(SEEDS):
        anyio.run(lambda seed: story(seed, True, server_of(seed), order_kept=True), seed)
