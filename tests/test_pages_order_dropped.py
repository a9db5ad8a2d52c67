"""pages: a server whose order was proven, and that drops it for single requests all the same.

Such a page may come turned round, or in no order, and be cut: then rows are missing in the middle of it. Each
page has to show by itself that it goes on from where the last one ended.
"""

import os
import random
from datetime import timedelta
from functools import partial

import anyio
import pytest

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


@pytest.mark.parametrize("offsets", ["ignored", "refused"])
@pytest.mark.parametrize("minutes", [(11, 99, 108, 195, 217, 228), (15, 22, 24, 93, 218, 221)])
def test_few_rows_are_not_walked_second_by_second_where_no_offset_shows_that_they_are_all(
    minutes: tuple[int, ...], offsets: str
) -> None:
    for seed in (0, 2):  # how far a request may reach over the end is drawn
        server = server_of(seed)
        server.cap, server.offsets, server.depth, server.order, server.limit = "none", offsets, 1, "kept", 25
        server.opposite = server.dropped = 0.0
        server.rows = [record(server.rng, LOT.start + timedelta(minutes=one)) for one in minutes]
        anyio.run(partial(story, seed, True, server, order_kept=True))
        assert server.calls < 40


def test_an_instant_far_away_that_fills_a_page_is_not_reached_second_by_second() -> None:
    """More records of one instant than a page holds, some of them twice: the page shows no order."""
    server = server_of(0)
    server.cap, server.order, server.limit = "none", "kept", 10
    server.opposite = server.dropped = 0.0
    at = LOT.start + timedelta(hours=3, minutes=59, seconds=59)
    server.rows = [record(server.rng, at) for _ in range(13)]
    server.rows += server.rows[2:5]
    anyio.run(partial(story, 0, True, server, order_kept=True))
    assert server.calls < 120


def test_neither_is_one_that_stands_behind_the_end_of_the_lot() -> None:
    """What a request reached over the end for fills the page, and shows no order either."""
    for seed in range(4):  # how far a request may reach over the end is drawn
        server = server_of(seed)
        server.cap, server.order, server.limit = "none", "kept", 10
        server.opposite = server.dropped = 0.0
        at = LOT.end + timedelta(minutes=15)
        server.rows = [record(server.rng, at) for _ in range(10)]
        server.rows += [record(server.rng, at + timedelta(milliseconds=1)) for _ in range(3)]
        anyio.run(partial(story, seed, True, server, order_kept=True))
        assert server.calls < 40
