"""Whom the session trusts: TLS is verified always, and there is no way to switch that off.

The chain has to end at an authority of the system, or of `ca_file` where the job names one (then at no other:
a private authority is named so that only it counts). The host's name has to be in the certificate, and TLS is
1.2 or newer. The interpreter's own default context would also write session keys, and with them the token, to
the file that SSLKEYLOGFILE names; this one does not.
"""

import ssl
from pathlib import Path

from harvester.errors import ConfigError


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Raises ConfigError naming `ca_file` where that is missing or holds no certificate in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # of itself: CERT_REQUIRED and the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        # As text: given the file's name, OpenSSL passes in silence over a broken certificate behind a good
        # one.
        context.load_verify_locations(cadata=ca_file.read_bytes().decode("ascii", "ignore"))
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            raise _no_authorities(ca_file) from None
        raise ConfigError(f"source.ca_file: {ca_file} cannot be read: {error.strerror}") from None
    except ValueError:  # empty
        raise _no_authorities(ca_file) from None
    return context


def _no_authorities(ca_file: Path) -> ConfigError:
    return ConfigError(
        f"source.ca_file: {ca_file} holds no certificate in PEM form; expected the authority's, "
        "from -----BEGIN CERTIFICATE----- on"
    )
