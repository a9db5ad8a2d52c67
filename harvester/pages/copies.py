"""What shows that a record is held as often as it came. Pure.

A long record is alone on its page where answers are cut by their bytes. If it came at two positions, it may
be held twice, or it has changed places with another one between the two requests, and that one came at none.
No walk tells the one from the other, wherever it is cut. But the positions may be asked for again and again,
by themselves: of rows that change places another one comes first half of the time. Which position is asked
for when has no period, so that no source that answers from several copies in turn keeps step with it; and
each request is for another number of records, so that none is answered by what an earlier one was.
"""

from math import ceil, log

from harvester.pages.union import SURE


def trials(positions: int) -> int:
    """So many requests leave one chance in 10^12 that of rows which change places, one of them being another,
    the same one came first each time: 40 for two positions, 69 for three."""
    return ceil(SURE / log(positions / (positions - 1)))


def position(positions: tuple[int, ...], trial: int) -> int:
    """Which one is asked for: for two of them this is the sequence of Thue and Morse."""
    return positions[trial.bit_count() % len(positions)]
