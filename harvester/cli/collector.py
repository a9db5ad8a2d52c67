"""When Python looks for garbage that refers to itself: seldom, for a harvest makes none to speak of."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_AFTER: Final = 20_000
"""Objects more than before, instead of 700: what a run makes by the thousand are records, which refer to
nothing that refers to them. Looking through them took a tenth of its time, and found nothing."""


@contextmanager
def seldom_from_now_on() -> Iterator[None]:
    """For a process of our own. What is loaded inside is made to stay, and is never looked through."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_AFTER, 20, 20)
        gc.enable()
