"""Reads a secret from where the job says: an environment variable, or a file. It is looked at and handed
back; no message repeats it, nor what may be one written into the wrong key.
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harvester.config.loading import Config
from harvester.errors import ConfigError
from harvester.transport.auth import Secret

_LARGEST: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A secret of the job: which two keys say where it is, and what it is called in messages."""

    env_key: str
    file_key: str
    what: str
    """As in "the API's token"."""
    short: str
    """As in "token"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    secret: Secret
    """Without the white space around it, and not empty."""
    key: str
    holder: str
    hint: str

    def unusable(self, config: Config, why: str) -> ConfigError:
        return config.wrong(self.key, why, self.hint)


def read(config: Config, place: Place, environ: Mapping[str, str]) -> Found:
    """ConfigError when it is missing or empty, naming the key and where it looked."""
    if config.value(place.file_key) is not None:
        return _in_file(config, place, path_of(config, place))
    name = config.value(place.env_key) or ""
    # A name in small letters may be the secret itself, written into the wrong key: it is not repeated.
    shown = name if name.isupper() else f"that {place.env_key} names"
    hint = f"export {name if name.isupper() else 'it'} with {place.what}, or set {place.file_key}"
    holder = f"the environment variable {shown}"
    if name not in environ:
        raise config.wrong(place.env_key, f"{holder} is not set", hint)
    return _found(config, place.env_key, environ[name], holder, hint)


def path_of(config: Config, place: Place) -> Path:
    given: Any = config.value(place.file_key)
    return config.beside(place.file_key, given or "")


def _in_file(config: Config, place: Place, path: Path) -> Found:
    key, hint = place.file_key, f"it holds the {place.short} and nothing else"
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise config.wrong(key, f"{path} is a folder", hint)
        with path.open("rb") as file:
            held = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise config.wrong(key, f"{path} does not exist", hint) from None
    except OSError as error:
        raise config.wrong(key, f"{path} cannot be read: {error.strerror or error}", hint) from None
    if len(held) > _LARGEST:
        raise config.wrong(key, f"{path} is too large for a {place.short}", hint)
    return _found(config, key, held.decode("utf-8-sig", "replace"), str(path), hint)


def _found(config: Config, key: str, held: str, holder: str, hint: str) -> Found:
    secret = Secret(held.strip())
    if not secret:
        raise config.wrong(key, f"{holder} is empty", hint)
    return Found(secret=secret, key=key, holder=holder, hint=hint)
