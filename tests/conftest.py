"""Fixtures that several test files share."""

import signal

from tests.plain_dialect import dialect
from tests.thirdparty import weather

# Whoever starts the tests in the background has them ignore this signal, which the program has to obey.
signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["dialect", "weather"]
