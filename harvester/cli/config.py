"""`harvester config`: each setting, its value, and where that came from."""

import json
import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from harvester import config
from harvester.cli import answer, job_flags, suspects
from harvester.cli.streams import say
from harvester.config import Config
from harvester.errors import ConfigError
from harvester.transport.blot import Blotter
from harvester.windows import Span

EXAMPLES = """\
examples:
  harvester config january.toml
  HARVESTER_FETCH__CONCURRENCY=4 harvester config january.toml --set fetch.page_size=500
  harvester config january.toml --json | jq '.settings["fetch.page_size"]'

A flag beats the environment (HARVESTER_SECTION__KEY), that beats the file, that beats the default.
Start and end given above a file's from_period and to_period take their place, and the other way round;
likewise source.token_env and source.token_file, output.pseudonym_key_env and output.pseudonym_key_file.
A dialect, token or ca file that the job file names is looked for beside the job file, then from the current
folder; output.url, and any path in a flag or a variable, from the current folder.
Token and key themselves are never shown, only whether there is one.
"""


_NAMES_OF_SECRETS = ("source.token_env", "output.pseudonym_key_env")
_FILES_OF_SECRETS = ("source.token_file", "output.pseudonym_key_file")


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "harvester config JOB.toml [options]"
    parser.epilog = EXAMPLES
    job_flags.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    """Checks all that a run would check but the token, of which it only says whether it is there."""
    asked = job_flags.config_of(args)
    job = config.job_of(asked, now=datetime.now(UTC), with_key=False)
    blotter = Blotter(*_secrets(asked))
    settings = [
        (key, value_of(key, value, blotter), str(origin)) for key, value, origin in config.shown(asked)
    ]
    if args.json:
        answer.say_json(
            {
                "job": str(args.job),
                "settings": {key: {"value": value, "origin": origin} for key, value, origin in settings},
                "token": token_state(asked),
                "pseudonym_key": key_state(asked),
                "span": {"start": job.span.start, "end": job.span.end},
            }
        )
        return 0
    answer.say_table(
        ("setting", "value", "from"), [(key, literal(value), origin) for key, value, origin in settings]
    )
    say()
    secrets = {"token": token_state(asked), "pseudonym key": key_state(asked)}
    answer.say_pairs(secrets | {"span": span_text(job.span)})
    return 0


def token_state(asked: Config) -> str:
    """A sentence; never the token."""
    if asked.source.auth == "none":
        return 'none is used (source.auth is "none")'
    try:
        config.token_in(asked, os.environ)
    except ConfigError as error:
        return _missing(asked, error)
    return "is there"


def key_state(asked: Config) -> str:
    """A sentence; never the key."""
    if not asked.output.pseudonymise:
        return "none is used (output.pseudonymise is empty)"
    try:
        config.key_of(asked, os.environ)
    except ConfigError as error:
        return _missing(asked, error)
    return "is there"


def _missing(asked: Config, error: ConfigError) -> str:
    files = [str(asked.value(key)) for key in _FILES_OF_SECRETS if asked.value(key)]
    told = suspects.told(str(error), files, {})
    return f"missing; {re.split(': (?:source|output)[.][a-z_]+: ', told, maxsplit=1)[-1]}"


def _secrets(asked: Config) -> Iterator[str]:
    for read in (config.token_in, config.key_of):
        with suppress(ConfigError):
            if found := read(asked, os.environ):
                yield found


def value_of(key: str, value: Any, blotter: Blotter) -> Any:
    """What stands where the name of a secret's variable or file belongs may be the secret itself."""
    if key in _NAMES_OF_SECRETS and value is not None and value not in os.environ and not value.isupper():
        return "(not shown: no such variable is set)"
    if key in _FILES_OF_SECRETS and value is not None and suspects.looks_secret(value):
        return "(not shown: there is no such file)"
    return value if blotter.text(str(value)) == str(value) else "(not shown: it holds a secret)"


def span_text(span: Span) -> str:
    return f"{answer.cell(span.start)} to {answer.cell(span.end)}, the end not included"


def literal(value: Any) -> str:
    """As one would write it in the job file; a key that nobody gave is a dash."""
    match value:
        case None:
            return "-"
        case datetime() | date():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)
