"""The sections of a job file: every key there is, its kind, its default and what it is for.

The four classes are the one list of keys; the file, `--set`, the environment and `harvester config` all go
by it. Where a room owns a setting, the default (and its reason) stands in that room.
"""

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, get_type_hints

from harvester.config import kinds
from harvester.config.kinds import Kind
from harvester.shards import OutputSettings
from harvester.transport.settings import Auth, TransportSettings
from harvester.windows import By

_TRANSPORT: Final = TransportSettings(base_url="https://localhost", auth="none")
_OUTPUT: Final = OutputSettings(url="out")

_DAY_S = 86_400
_PERIODS = 1_000_000


@dataclass(frozen=True, slots=True)
class Key:
    kind: Kind
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """[source]: whom to ask, and for what."""

    dialect: Annotated[str, Key(kinds.text, "a shipped source by its name, or the path of a TOML file")] = (
        "interactions"
    )
    base_url: Annotated[str, Key(kinds.address, "the API's address; must be given")] = ""
    auth: Annotated[
        Auth, Key(kinds.choice("apikey", "x-api-key", "bearer", "none"), "how the token is sent")
    ] = "apikey"
    token_env: Annotated[
        str | None,
        Key(kinds.variable("token", "HARVESTER_TOKEN"), "the environment variable that holds the token"),
    ] = "HARVESTER_TOKEN"
    token_file: Annotated[
        str | None, Key(kinds.text, "a file that holds the token, read again after a 401")
    ] = None
    ca_file: Annotated[
        str | None, Key(kinds.text, "authorities (PEM) that alone vouch for the server; else the system's")
    ] = None
    token_wait_s: Annotated[
        float, Key(kinds.decimal(_DAY_S, zero=True), "how long a token file may take to change after a 401")
    ] = _TRANSPORT.token_wait_s
    fields: Annotated[tuple[str, ...] | None, Key(kinds.texts, "only these fields of a record")] = None
    queues: Annotated[tuple[int | str, ...] | None, Key(kinds.ids, "only these queues")] = None
    filter: Annotated[
        dict[str, Any] | None, Key(kinds.table, "only records that match, as the API words it")
    ] = None
    date_field: Annotated[str | None, Key(kinds.text, "the date field that the span speaks of")] = None
    order_by: Annotated[str | None, Key(kinds.text, "the field that the server sorts by")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSection:
    """[span]: from when to when, half-open, and in which pieces. Either start and end, or the two periods."""

    start: Annotated[str | date | datetime | None, Key(kinds.moment, "the first instant")] = None
    end: Annotated[str | date | datetime | None, Key(kinds.moment, "the instant at which it is over")] = None
    from_period: Annotated[
        int | None,
        Key(kinds.whole(-_PERIODS, _PERIODS), "the first period: 0 the current one, -1 the one before"),
    ] = None
    to_period: Annotated[
        int | None, Key(kinds.whole(-_PERIODS, _PERIODS), "the last period, which is wanted as well")
    ] = None
    time_zone: Annotated[str, Key(kinds.text, "an IANA name; windows and partitions are aligned in it")] = (
        "UTC"
    )
    resolution: Annotated[
        str, Key(kinds.choice("QuarterHour", "Hour", "Day", "Auto"), "the length of a window")
    ] = "Hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """[fetch]: how fast, and how patiently."""

    page_size: Annotated[int, Key(kinds.whole(1, 1_000_000), "records asked for at once")] = 1000
    concurrency: Annotated[int, Key(kinds.whole(1, 1000), "pages in flight")] = _TRANSPORT.concurrency
    requests_per_second: Annotated[
        float | None, Key(kinds.decimal(100_000), "learned from the server's answers where not given")
    ] = None
    request_timeout_s: Annotated[
        float, Key(kinds.decimal(_DAY_S), "for one request, from first byte to last")
    ] = _TRANSPORT.request_timeout_s
    max_attempts: Annotated[
        int, Key(kinds.whole(1, 1000), "for one page; being told to wait is no attempt")
    ] = _TRANSPORT.max_attempts
    max_outage_s: Annotated[
        float, Key(kinds.decimal(7 * _DAY_S, zero=True), "how long to wait for a server that answers nobody")
    ] = _TRANSPORT.max_outage_s
    max_answer_bytes: Annotated[
        int, Key(kinds.whole(1, 2**40), "most bytes of one answer, received and decompressed")
    ] = _TRANSPORT.max_answer_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """[output]: where the records go, and in which shape."""

    url: Annotated[str, Key(kinds.location, "a folder")] = _OUTPUT.url
    format: Annotated[
        Literal["jsonl", "parquet"], Key(kinds.choice("jsonl", "parquet"), "one record a line, or columns")
    ] = _OUTPUT.format
    compression: Annotated[str, Key(kinds.choice("zstd", "gzip", "none"), "of the shards")] = (
        _OUTPUT.compression
    )
    partition_by: Annotated[By, Key(kinds.choice("day", "month"), "in span.time_zone")] = _OUTPUT.partition_by
    shard_bytes: Annotated[int, Key(kinds.whole(1, 2**40), "most uncompressed bytes in a shard")] = (
        _OUTPUT.shard_bytes
    )
    timestamps: Annotated[
        Literal["typed", "string"],
        Key(kinds.choice("typed", "string"), "of parquet: instants, or the text that the source sent"),
    ] = _OUTPUT.timestamps
    schema: Annotated[
        str | None, Key(kinds.text, "of parquet: what `harvester schema --json` said of such records")
    ] = None
    pseudonymise: Annotated[
        tuple[str, ...], Key(kinds.paths, "fields replaced by a keyed digest before anything is written")
    ] = _OUTPUT.pseudonymise
    pseudonym_key_env: Annotated[
        str | None,
        Key(
            kinds.variable("key", "HARVESTER_PSEUDONYM_KEY"),
            "the environment variable that holds the key of the digests",
        ),
    ] = "HARVESTER_PSEUDONYM_KEY"
    pseudonym_key_file: Annotated[str | None, Key(kinds.text, "a file that holds that key")] = None


SECTIONS: Final[dict[str, type]] = {"source": Source, "span": SpanSection, "fetch": Fetch, "output": Output}


def _keys(section: type) -> dict[str, Key]:
    hints = get_type_hints(section, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(section)}


KEYS: Final[dict[str, Key]] = {
    f"{name}.{key}": kind for name, section in SECTIONS.items() for key, kind in _keys(section).items()
}
"""Every key by its full name, in the order in which they are shown."""
