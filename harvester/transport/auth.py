"""The token: where it comes from, which header it goes into, and what happens when it is no longer good.

A 403 is final, and so is a 401 for a token that never worked or cannot change (an environment variable).
After a 401 for a token file that worked once everybody waits; the file is read again until it holds another
token, one request tries it, then all go on. The token is a `Secret` from the file to the socket: its repr
is three stars.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Generic

import anyio

from harvester.dialects import Request
from harvester.errors import ConfigError, Refused
from harvester.events import Emit, TokenRejected
from harvester.transport.blot import Blotter
from harvester.transport.clock import Clock
from harvester.transport.layer import A, Layer
from harvester.transport.settings import TransportSettings
from harvester.transport.status import Unauthorized

REREAD_S: Final = 0.5
"""Between two looks at the token file: whoever writes it does so once in hours."""

LONGEST: Final = 8000
"""Characters: web servers refuse a header line of more than 8 KiB, or drop the connection over it."""

_LEGAL: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HEADERS: Final = {
    "apikey": ("Authorization", "apikey "),
    "bearer": ("Authorization", "Bearer "),
    "x-api-key": ("x-api-key", ""),
}


class Secret(str):
    """Text that no log, debugger or traceback shows by accident; as plain text only where it is asked for
    as such."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def read_token(settings: TransportSettings, environ: Mapping[str, str]) -> Secret | None:
    """None for auth = "none". Raises ConfigError, naming the key and where it looked, for a token that is
    missing, empty, or cannot stand in a header. White space around it is not part of it."""
    if settings.auth == "none":
        return None
    if settings.token_file is not None:
        key, place = "source.token_file", f"the file {settings.token_file}"
        text = _text_of(settings.token_file)
    else:
        key, place = "source.token_env", f"the environment variable {settings.token_env}"
        text = environ.get(settings.token_env or "", "")
    token = Secret(text.strip())
    if not token:
        raise ConfigError(f"{key}: {place} is missing or empty; put the API's token there")
    if why := unfit(token):
        raise ConfigError(f"{key}: what {place} holds cannot be a token: {why}")
    return token


def unfit(token: str) -> str | None:
    """Why it cannot stand in a header, where that is so; without a word of it."""
    if len(token) > LONGEST:
        return f"it has {len(token):,} characters, and no server takes more than {LONGEST:,}"
    if not _LEGAL.fullmatch(token):
        return "it has a space, a line break or a character beyond ASCII inside"
    return None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors write the mark
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"source.token_file: {path} cannot be read: {why}") from None


class Auth(Generic[A]):
    def __init__(
        self,
        inner: Layer[Request, A],
        settings: TransportSettings,
        *,
        environ: Mapping[str, str],
        emit: Emit,
        clock: Clock,
        blotter: Blotter,
    ) -> None:
        """Reads the token: ConfigError where there is none."""
        self._inner = inner
        self._settings = settings
        self._environ = environ
        self._emit = emit
        self._clock = clock
        self._blotter = blotter
        self._header = self._header_of(read_token(settings, environ))
        self._worked = False
        self._refusal = ""
        self._renewal = anyio.Lock(fast_acquire=True)

    async def send(self, ask: Request) -> A:
        while True:
            if self._renewal.locked():
                async with self._renewal:  # everybody waits for the one that tries the new token
                    pass
            self._check_hope()
            header = self._header
            try:
                answer = await self._inner.send(_signed(ask, header))
            except Unauthorized:
                if self._settings.token_file is None or not self._worked:
                    raise
            else:
                self._worked = True
                return answer
            async with self._renewal:
                self._check_hope()
                if self._header is header:  # else somebody has brought a new token meanwhile
                    return await self._renewed(ask)

    async def _renewed(self, ask: Request) -> A:
        """The answer to the first request that a new token serves. Raises Refused when none came in time."""
        wait_s = self._settings.token_wait_s
        self._emit(TokenRejected(wait_s=wait_s))
        until_s = self._clock.monotonic() + wait_s
        while True:
            header = self._reread()
            if header is not None and header != self._header:
                self._header = header
                try:
                    return await self._inner.send(_signed(ask, header))
                except Unauthorized:
                    pass
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0:
                break
            await self._clock.sleep(min(REREAD_S, left_s))
        self._refusal = (
            f"401: the server no longer accepts the token of {self._settings.token_file}, and no other that "
            f"it accepts came within token_wait_s = {wait_s:g} s; put a new token there and run again"
        )
        raise Refused(self._refusal)

    def _check_hope(self) -> None:
        if self._refusal:
            raise Refused(self._refusal)

    def _reread(self) -> tuple[str, Secret] | None:
        """None while the file is being replaced. On the loop: a secret is a few bytes, and mounts of them
        are memory."""
        try:
            return self._header_of(read_token(self._settings, self._environ))
        except ConfigError:
            return None

    def _header_of(self, token: Secret | None) -> tuple[str, Secret] | None:
        if token is None:
            return None
        self._blotter.learn(token)
        name, scheme = _HEADERS[self._settings.auth]
        return name, Secret(scheme + token)


def _signed(ask: Request, header: tuple[str, Secret] | None) -> Request:
    return ask if header is None else replace(ask, headers=(*ask.headers, header))
