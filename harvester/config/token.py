"""Is there a token? The one question about the job that only a run asks, so that `plan` and `config` need
none.

A token is read, looked at and handed back; no message repeats it, nor what may be one written into the wrong
key.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harvester.config.loading import Config
from harvester.transport import auth

_LARGEST: Final = 16_384


def token_of(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token as it stands now; None where none is used. ConfigError when it is missing, and never with
    its text.
    """
    if config.source.auth == "none":
        return None
    if config.source.token_file is not None:
        return _token_in(config, token_path(config))
    name = config.source.token_env or ""
    # A name in small letters may be the token itself, written into the wrong key: it is not repeated.
    shown = name if name.isupper() else "that source.token_env names"
    if name not in environ:
        raise config.wrong(
            "source.token_env", f"the environment variable {shown} is not set", _token_hint(name)
        )
    return _usable(
        config, "source.token_env", environ[name], f"the environment variable {shown}", _token_hint(name)
    )


def _token_hint(name: str) -> str:
    return f"export {name if name.isupper() else 'it'} with the API's token, or set source.token_file"


def token_path(config: Config) -> Path:
    return config.beside("source.token_file", config.source.token_file or "")


def _token_in(config: Config, path: Path) -> str:
    key, hint = "source.token_file", "it holds the token and nothing else"
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
        raise config.wrong(key, f"{path} is too large for a token", hint)
    return _usable(config, key, held.decode("utf-8-sig", "replace"), str(path), hint)


def _usable(config: Config, key: str, held: str, holder: str, hint: str) -> str:
    token = held.strip()
    if not token:
        raise config.wrong(key, f"{holder} is empty", hint)
    if why := auth.unfit(token):
        raise config.wrong(key, f"what {holder} holds cannot be a token: {why}", hint)
    return token
