"""A window becomes pages, with the proof that none is missing."""

from harvester.pages.layer import Read
from harvester.pages.reader import Pages, Turn, Unsorted
from harvester.pages.rechecked import Rechecked
from harvester.pages.seek import Seek
from harvester.pages.served import Served
from harvester.pages.walk import Verdict, Walk

__all__ = ["Pages", "Read", "Rechecked", "Seek", "Served", "Turn", "Unsorted", "Verdict", "Walk"]
