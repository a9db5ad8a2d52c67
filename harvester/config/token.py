"""Is there a token? The one question about the job that only a run asks, so that `plan` and `config` need
none.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harvester.config import secret
from harvester.config.loading import Config, shown
from harvester.errors import ConfigError
from harvester.transport import auth
from harvester.transport.auth import Secret
from harvester.transport.blot import Blotter

_PLACE: Final = secret.Place(
    env_key="source.token_env", file_key="source.token_file", what="the API's token", short="token"
)
_SECRET_FROM: Final = 8
"""Characters: a shorter one may stand in a name by chance."""


def token_of(config: Config, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """The token as it stands now; None where none is used. ConfigError when it is missing, or where a setting
    holds it, however spelt, and never with its text.
    """
    token = token_in(config, environ)
    if token and len(token) >= _SECRET_FROM:
        whole = Blotter(token, enough=len(token))
        for key, value, _ in shown(config):
            if whole.text(str(value)) != str(value):
                raise config.wrong(
                    key, "holds the token itself", "take it out: settings stand in the manifest"
                )
    return token


def look_for_token(config: Config, environ: Mapping[str, str] = os.environ) -> None:
    """For a command that tells settings and needs no token: ConfigError where there is one, and in them."""
    try:
        token_in(config, environ)
    except ConfigError:
        return
    token_of(config, environ)


def token_in(config: Config, environ: Mapping[str, str]) -> Secret | None:
    """As `token_of`, whatever the settings hold."""
    if config.source.auth == "none":
        return None
    found = secret.read(config, _PLACE, environ)
    if why := auth.unfit(found.secret):
        raise found.unusable(config, f"what {found.holder} holds cannot be a token: {why}")
    return found.secret


def token_path(config: Config) -> Path:
    return secret.path_of(config, _PLACE)
