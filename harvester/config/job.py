"""A Config becomes a Job: what can only be checked together, or against the dialect, the clock and the disk.

Nothing here speaks to the source or writes. The token is asked for separately (`token_of`), because only a
run needs it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from harvester import dialects
from harvester.config import columns
from harvester.config.kinds import quoted
from harvester.config.loading import Config
from harvester.config.pseudonyms import check_fields, pseudonyms_of
from harvester.config.span import span_of, zone_of
from harvester.config.token import token_path
from harvester.dialects import Dialect
from harvester.errors import ConfigError
from harvester.job import Job
from harvester.pseudonyms import Pseudonyms
from harvester.shards import OutputSettings
from harvester.transport import TransportSettings
from harvester.transport.tls import client_context
from harvester.windows import Resolution, Span, floor


def job_of(
    config: Config, *, now: datetime, environ: Mapping[str, str] = os.environ, with_key: bool = True
) -> Job:
    """`now` is the clock that relative periods are counted from. ConfigError for whatever cannot be used.

    The key of the pseudonyms is read here, where there are any: it is part of what makes the job. Only who
    just looks at the settings may do without it.
    """
    time_zone = zone_of(config)
    resolution = Resolution.parse(config.span.resolution)
    dialect = _dialect(config, resolution)
    output = replace(_output(config), columns=columns.columns_of(config, dialect))
    check_fields(config, dialect)
    pseudonyms = pseudonyms_of(config, environ) if with_key else None
    if output.pseudonymise:
        dialect = dialect.wordless()
    span = span_of(config, time_zone, resolution, now)
    if dialect.membership == "window":
        _check_whole_windows(config, span, resolution, time_zone)
    return Job(
        dialect=dialect,
        span=span,
        time_zone=time_zone,
        resolution=resolution,
        page_size=_page_size(config, dialect),
        transport=_transport(config),
        output=output,
        pseudonyms=pseudonyms,
        fingerprint=_fingerprint(config, dialect, output, pseudonyms),
    )


def _dialect(config: Config, resolution: Resolution) -> Dialect:
    """The declared source, bound to what the job selects of it."""
    source = config.source
    is_path = source.dialect.endswith(".toml") or "/" in source.dialect
    given = config.beside("source.dialect", source.dialect) if is_path else source.dialect
    with _told_of(config, "source.dialect"):
        declared = dialects.load(given)
    bound: dict[str, Any] = {"time_zone": config.span.time_zone, "resolution": _period(resolution)}
    with _told_of(config, "span.resolution"):
        declared.select(**bound)
    chosen = {
        name: getattr(source, name) for name in ("fields", "queues", "filter", "date_field", "order_by")
    }
    try:
        return declared.select(**chosen, **bound)
    except (ConfigError, ValueError):
        for name, value in chosen.items():  # which one was it? the complaint names where it was written
            with _told_of(config, f"source.{name}"):
                declared.select(**{name: value}, **bound)
        raise


@contextmanager
def _told_of(config: Config, key: str) -> Iterator[None]:
    """A room's complaint about the value of `key`, in the words of this one: file, key, what is wrong;
    hint.
    """
    section, name = key.split(".")
    try:
        yield
    except (ConfigError, ValueError) as error:
        said = str(error).removeprefix(f"[{section}] {name}: ").removeprefix(f"{key}: ")
        raise config.wrong(key, said) from None


def _period(resolution: Resolution) -> str | None:
    """The API's period; windows that size themselves are none."""
    return None if resolution is Resolution.AUTO else resolution.value


def _check_whole_windows(config: Config, span: Span, resolution: Resolution, time_zone: ZoneInfo) -> None:
    """A sum over half an hour is no part of the sum over the hour: such a span could never grow."""
    for name, moment in (("start", span.start), ("end", span.end)):
        if floor(moment, resolution, time_zone) != moment:
            raise config.wrong(
                f"span.{name}",
                f"{moment.isoformat()} lies inside a window of {resolution.value}; sums are of whole ones",
                f"use {floor(moment, resolution, time_zone).isoformat()}",
            )


def _page_size(config: Config, dialect: Dialect) -> int:
    page_size, most = config.fetch.page_size, dialect.max_page_size
    if most is not None and page_size > most:
        if config.origins["fetch.page_size"].layer == "default":
            return most
        raise config.wrong(
            "fetch.page_size", f"is {page_size}, too large for {dialect.name}", f"at most {most}"
        )
    return page_size


def _transport(config: Config) -> TransportSettings:
    source, fetch = config.source, config.fetch
    if not source.base_url:
        raise ConfigError(
            f'{config.path}: source.base_url: is missing; give the API\'s address, as in "https://api.motioncxapps.com"'
        )
    ca_file = None if source.ca_file is None else config.beside("source.ca_file", source.ca_file)
    if ca_file is not None:
        with _told_of(config, "source.ca_file"):
            client_context(ca_file)
    return TransportSettings(
        base_url=source.base_url,
        auth=source.auth,
        token_env=source.token_env,
        token_file=None if source.token_file is None else token_path(config),
        ca_file=ca_file,
        token_wait_s=source.token_wait_s,
        concurrency=fetch.concurrency,
        requests_per_second=fetch.requests_per_second,
        request_timeout_s=fetch.request_timeout_s,
        max_attempts=fetch.max_attempts,
        max_outage_s=fetch.max_outage_s,
        max_answer_bytes=fetch.max_answer_bytes,
    )


def _output(config: Config) -> OutputSettings:
    output = config.output
    folder = config.expanded("output.url", output.url)
    try:
        why = _no_folder(folder)
    except OSError as error:
        # Who may not look may not write either, and that is told when it is tried.
        why = "is longer than a path or a name in it may be" if error.errno == ENAMETOOLONG else None
    if why:
        raise config.wrong(
            "output.url", f"{quoted(output.url)} {why}", "name a folder; it is made where needed"
        )
    return OutputSettings(
        url=str(folder),
        format=output.format,
        compression=output.compression,
        partition_by=output.partition_by,
        shard_bytes=output.shard_bytes,
        pseudonymise=output.pseudonymise,
        timestamps=output.timestamps,
    )


def _no_folder(folder: Path) -> str | None:
    """Why it neither is a folder nor can be made one. OSError where that cannot be found out, or a name is
    too long, which the system tells only of a name in a folder that is there.
    """
    for path in (folder, *folder.parents):
        if path.is_dir():
            for name in folder.relative_to(path).parts:
                (path / name).exists()
            return None
        if path.exists():
            return "is a file" if path == folder else f"lies below {path}, which is a file"
    return None


def _fingerprint(
    config: Config, dialect: Dialect, output: OutputSettings, pseudonyms: Pseudonyms | None
) -> dict[str, Any]:
    """What makes it this job: whatever decides which records there are and how their bytes lie on the disk.
    Not the span, which may grow; not order_by and nothing of speed, which change how a record comes and not
    what comes."""
    source = config.source
    told = {
        "dialect": dialect.name,
        "dialect_digest": dialect.digest,
        "base_url": source.base_url,
        "fields": None if source.fields is None else list(source.fields),
        "queues": None if source.queues is None else list(source.queues),
        "filter": source.filter or None,  # an empty one asks for the same
        "date_field": source.date_field,
        "time_zone": config.span.time_zone,
        "partition_by": output.partition_by,
        "format": output.format,
        "compression": output.compression,
        "shard_bytes": output.shard_bytes,
        "pseudonymise": sorted(output.pseudonymise),
        "columns": (
            columns.fingerprint(output.columns, output.timestamps) if output.format == "parquet" else None
        ),
        # Sums over hours and sums over days are other records; elsewhere a window's size changes nothing.
        "resolution": config.span.resolution if dialect.membership == "window" else None,
    }
    if pseudonyms is not None:
        told["pseudonym_key"] = pseudonyms.key_id
        if source.filter:  # it stands in the manifest, and may name the very values
            told["filter"] = pseudonyms.setting(orjson.dumps(source.filter, option=orjson.OPT_SORT_KEYS))
    return told
