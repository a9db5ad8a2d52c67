"""[output] pseudonymise and its key: which fields may be replaced, and that there is a key to do it with."""

import os
from collections.abc import Mapping
from typing import Final

from harvester.config import secret
from harvester.config.loading import Config
from harvester.dialects import Dialect
from harvester.pseudonyms import Pseudonyms, overlapping
from harvester.transport.auth import Secret

_KEY: Final = "output.pseudonymise"
_PLACE: Final = secret.Place(
    env_key="output.pseudonym_key_env",
    file_key="output.pseudonym_key_file",
    what="the key of the pseudonyms (openssl rand -hex 32)",
    short="key",
)
_OF_THE_WINDOW: Final = ("_window_start", "_window_end")


def key_of(config: Config, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """None where nothing is replaced. ConfigError when the key is missing or no good, and never with its
    text.
    """
    if not config.output.pseudonymise:
        return None
    found = secret.read(config, _PLACE, environ)
    if not found.secret.isascii() or not found.secret.isprintable():
        why = "is not printable ASCII; write the key in hexadecimal or base64"
        raise found.unusable(config, f"what {found.holder} holds {why}")
    try:
        Pseudonyms((), found.secret)
    except ValueError as error:
        raise found.unusable(config, f"what {found.holder} holds {error}") from None
    return found.secret


def pseudonyms_of(config: Config, environ: Mapping[str, str]) -> Pseudonyms | None:
    """None where nothing is replaced; a run then pays nothing."""
    key = key_of(config, environ)
    return None if key is None else Pseudonyms(config.output.pseudonymise, key)


def check_fields(config: Config, dialect: Dialect) -> None:
    """ConfigError for a field that the harvest goes by, or that the job does not ask for."""
    needed: dict[str | None, str] = {
        **dict.fromkeys(dialect.key_fields, "the key of a record, by which it is told from others"),
        dialect.date_field: "the date, by which a record finds its window and its file",
        dialect.version_field: "the version, by which the newer of two records is known",
        **dict.fromkeys(_OF_THE_WINDOW, "written by harvester itself"),
    }
    asked = config.source.fields
    for path in config.output.pseudonymise:
        for field, why in needed.items():
            if field is not None and overlapping(path, field):
                raise config.wrong(_KEY, f'"{path}": {field} is {why}', "leave it out")
        if asked and not any(overlapping(path, one) for one in asked):
            raise config.wrong(
                _KEY,
                f'"{path}" is not among source.fields',
                "is it misspelt? Else leave it out",
            )
