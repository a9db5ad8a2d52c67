"""A window becomes pages, with the proof that none is missing."""

from harvester.pages.asking import Turn
from harvester.pages.layer import Read
from harvester.pages.order import LEAST_PROOF
from harvester.pages.reader import Pages
from harvester.pages.rechecked import Rechecked
from harvester.pages.seek import Seek
from harvester.pages.served import Served
from harvester.pages.stretches import GIVEN_UP_IN_A_ROW, Stretches, Unsorted
from harvester.pages.walk import Verdict, Walk

__all__ = [
    "GIVEN_UP_IN_A_ROW",
    "LEAST_PROOF",
    "Pages",
    "Read",
    "Rechecked",
    "Seek",
    "Served",
    "Stretches",
    "Turn",
    "Unsorted",
    "Verdict",
    "Walk",
]
