"""What reading by time does with a page, and what it asks for next."""

from enum import Enum


class Step(Enum):
    """What a page did to the stretch."""

    MORE = "more"
    END = "end"
    STUCK = "stuck"
    """What stands at this instant, or in the second around it, cannot be told by time: it has to be walked by
    offset."""
    REPEATED = "repeated"
    """An offset brought what stands in front of it: it is to be tried whether offsets are ignored."""
    MOVED = "moved"
    """A row that has come before is not where it was: rows have moved, or this page came in another order."""
    UNSORTED = "unsorted"


class Look(Enum):
    """What the next request asks for."""

    BY_TIME = "by time"
    FAR = "far"
    """What came last and far over the end, for a record from behind it: by offset it takes two requests."""
    OVERLAP = "overlap"
    BEHIND = "behind"
    """What stands behind the overlap, where a page with nothing else may have been cut."""
    AGAIN = "again"
    """The overlap, in front of what stood behind it."""
