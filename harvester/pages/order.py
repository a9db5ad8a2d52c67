"""Whether rows show that the server keeps the order that it was asked for. Pure."""

from datetime import datetime
from typing import Final

from harvester.dialects import Key, Page, Row

LEAST_PROOF: Final = 8
"""Rows in a page from which its order is judged: eight stand in order by chance once in 40,000 times."""
FAR_ROWS: Final = 64
"""So many are asked for where a record from behind the end is all that is wanted, and looked at in a page."""


def is_surprising(rows: list[Row]) -> bool:
    """Whether rows that ascend are so many that it is no chance."""
    ends = (rows[:FAR_ROWS], rows[-FAR_ROWS:])
    return any(len({row[0] for row in some}) >= LEAST_PROOF for some in ends)


def proves_order(by_date: Page, by_key: Page) -> bool | None:
    """Whether two pages of one range, asked for in two orders, show that the server keeps the order asked
    for.

    None: the rows do not tell, being too few, or in both orders at once.
    """
    dated, keyed = by_date.rows, by_key.rows
    if len(dated) < LEAST_PROOF or len(keyed) < LEAST_PROOF:
        return None
    if not ascends([row[0] for row in dated]) or not ascends([row[1] for row in keyed]):
        return False
    if ascends([row[1] for row in dated]) or ascends([row[0] for row in keyed]):
        return None
    return True


def ascends(values: list[datetime] | list[Key]) -> bool:
    return values == sorted(values)  # not by a generator, which costs a call for each row
