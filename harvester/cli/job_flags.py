"""The flags that commands with a job share: the job file, and what goes before it."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from harvester import config
from harvester.config import Config

DEDICATED = {
    "start": (
        "span.start",
        "--start",
        "T",
        "span.start: a date or a time, as in 2024-01-01 or 2024-01-01T06:00:00Z",
    ),
    "end": ("span.end", "--end", "T", "span.end: the first instant that is not wanted any more"),
    "out": ("output.url", "--out", "URL", "output.url: the folder that the shards go to"),
    "ca_file": (
        "source.ca_file",
        "--ca-file",
        "PATH",
        "source.ca_file: authorities (PEM) that alone vouch for the server, for a private one",
    ),
    "resolution": (
        "span.resolution",
        "--resolution",
        "R",
        "span.resolution: QuarterHour, Hour, Day or Auto",
    ),
}
"""By argument: the key, the flag, and what the help says."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB.toml", type=Path, help="the job file")
    for _, flag, metavar, about in DEDICATED.values():
        parser.add_argument(flag, metavar=metavar, help=about)
    add_set(parser)


def add_set(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="any setting of the job file, read as TOML, else as text; may be repeated",
    )


def config_of(args: Namespace, environ: Mapping[str, str] = os.environ) -> Config:
    flags = {
        key: (flag, getattr(args, name))
        for name, (key, flag, _, _) in DEDICATED.items()
        if getattr(args, name) is not None
    }
    return config.load(args.job, flags=flags, sets=args.sets, environ=environ)
