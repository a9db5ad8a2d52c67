"""What TLS takes from the environment while a command's modules are imported: no authorities, since nobody
asks them yet, and no file for the keys of sessions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MEANWHILE: Final = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull, "SSLKEYLOGFILE": ""}
"""Where OpenSSL looks before it looks in its own places; and a file that each context of the usual kind
begins, whether it ever has keys to write or not."""


@contextmanager
def unread() -> Iterator[None]:
    """For a process of our own. aiohttp loads the machine's authorities twice while it is imported, an eighth
    of what a start costs, for connections that come with no context of their own. Ours have one always
    (`transport.tls`), made when it is needed; contexts made in here trust nobody.
    """
    before = {name: os.environ.get(name) for name in _MEANWHILE}
    os.environ.update(_MEANWHILE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
