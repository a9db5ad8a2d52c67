"""What a job may say about the way to its source: [source]'s access and [fetch]'s limits, each with its
reason."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args

from yarl import URL

Auth = Literal["apikey", "x-api-key", "bearer", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """Raises ValueError, beginning with the setting's name, for what cannot work."""

    base_url: str
    """Scheme, host and perhaps a prefix. Plain http is for this machine only: the token would travel in the
    open."""
    auth: Auth = "apikey"
    token_env: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    """The authorities, in PEM, that alone vouch for the server; None: the system's."""
    token_wait_s: float = 30.0
    """How long a token file is read again after a 401. Kubernetes brings a new secret to its mount within
    about a minute of the change, but whoever rotates tokens lets the old one live on that long; this covers
    a plain file."""
    concurrency: int = 16
    """Requests in flight at most; fewer where the server only makes them wait. Hides 200 ms of latency for
    pages that cost 10 ms; the server's own pool is seldom larger."""
    requests_per_second: float | None = None
    """None: unlimited until the server throttles, from then on learned."""
    initial_rate: float | None = None
    """What an earlier run learned; only read where `requests_per_second` is None."""
    initial_width: int | None = None
    """How many in flight an earlier run found to be enough, where that is less than `concurrency`."""
    request_timeout_s: float = 60.0
    """One request, from its first byte to the last of its answer: ends one that drips."""
    connect_timeout_s: float = 10.0
    """Three lost SYNs (1 + 2 + 4 s) and still time for TLS."""
    idle_timeout_s: float = 30.0
    """Between two arrivals of bytes. A large offset keeps a database busy for seconds before the first
    byte."""
    max_attempts: int = 8
    """Per page: with 0.5 s doubling to 60 s and full jitter half a minute of trying on average, two at
    most."""
    max_outage_s: float = 300.0
    """How long everybody waits for a server that answers nobody: a restart, a failover, a short network
    loss."""
    max_answer_bytes: int = 64 * 1024 * 1024
    """On the wire and decompressed: twenty times the usual page of 3 MB, and two of them still fit beside
    the rest."""

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        if self.auth not in get_args(Auth):
            raise ValueError(f"auth: {self.auth!r} is none of {', '.join(get_args(Auth))}")
        if self.auth != "none":
            if self.token_env is not None and self.token_file is not None:
                raise ValueError("token_env, token_file: give one of them, not both")
            if self.token_env is None and self.token_file is None:
                raise ValueError(f"token_env: auth = {self.auth!r} needs token_env or token_file")
        for name in ("concurrency", "max_attempts", "max_answer_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more, not {getattr(self, name)}")
        for name in ("request_timeout_s", "connect_timeout_s", "idle_timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: must be more than 0 seconds, not {getattr(self, name)}")
        for name in ("token_wait_s", "max_outage_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: must be 0 seconds or more, not {getattr(self, name)}")
        for name in ("requests_per_second", "initial_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < float("inf"):
                raise ValueError(f"{name}: must be more than 0, not {rate}")


def check_base_url(text: str) -> URL:
    """The URL to which paths are added, without a closing slash. ValueError, beginning with `base_url`,
    else."""
    try:
        url = URL(text)
        url.port  # noqa: B018  yarl looks at the port when asked for it
    except ValueError:
        raise ValueError(f"base_url: {text!r} is no URL; write it like https://api.example.com") from None
    if url.user is not None or url.password is not None:  # first: no later message may show it
        raise ValueError("base_url: holds a user or a password; a token belongs into token_env or token_file")
    if url.scheme not in ("http", "https"):
        raise ValueError(f"base_url: {text!r} does not begin with https://")
    if not url.host:
        raise ValueError(f"base_url: {text!r} names no host; write it like https://api.example.com")
    if url.raw_query_string or url.fragment:
        raise ValueError(
            f"base_url: {text!r} holds a query or a fragment; parameters belong into the dialect"
        )
    if url.scheme == "http" and not _is_this_machine(url.host):
        raise ValueError(
            f"base_url: {text!r} would send the token to another machine unencrypted; use https:// "
            "(plain http is for localhost)"
        )
    return url.with_path(url.raw_path.rstrip("/"), encoded=True)


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
