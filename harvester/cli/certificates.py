"""Which authorities are loaded while a command's modules are imported: none, since nobody asks them yet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PLACES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks before it looks in its own places."""


@contextmanager
def unread() -> Iterator[None]:
    """For a process of our own. aiohttp loads the machine's authorities twice while it is imported, an eighth
    of what a start costs, for connections that come with no context of their own. Ours have one always
    (`transport.tls`), made when it is needed; contexts made in here trust nobody.
    """
    before = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
