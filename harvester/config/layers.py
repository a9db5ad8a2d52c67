"""Where values come from: flags beat the environment, that beats the file, that beats the default.

A layer is a mapping from full key names to raw values, each with its origin. What no section knows is
refused here, whichever layer it stands in, with the nearest name that is known: a typing error must not
become a default.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

from harvester.config.kinds import quoted
from harvester.config.sections import KEYS, SECTIONS
from harvester.dialects import toml
from harvester.errors import ConfigError

ENVIRONMENT_PREFIX = "HARVESTER_"
_VARIABLES = {f"{ENVIRONMENT_PREFIX}{key.upper().replace('.', '__')}": key for key in KEYS}
_KUBERNETES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""What it sets in every pod beside a Service, which may be called harvester-output."""
_LARGEST_FILE = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value was written. `name` is the flag, the variable or the file."""

    layer: Literal["flag", "environment", "file", "default"]
    name: str

    def __str__(self) -> str:
        return "default" if self.layer == "default" else f"{self.layer} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    value: Any
    origin: Origin


Layer = Mapping[str, Raw]


def from_file(path: Path) -> Layer:
    """The job file's values. ConfigError when it cannot be read, is no TOML, or holds an unknown key."""
    origin = Origin(layer="file", name=str(path))
    layer: dict[str, Raw] = {}
    for section, values in _toml(path).items():
        if section not in SECTIONS:
            raise _unknown(str(path), section, _near_section(section, values))
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {section}: must be a section; write [{section}] and its keys below")
        for key, value in values.items():
            layer[_known(f"{section}.{key}", str(path))] = Raw(value=value, origin=origin)
    return layer


def _toml(path: Path) -> dict[str, Any]:
    try:
        if path.is_file() and path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path}: larger than 10 MB, this is no job file; see `harvester run --help`")
        return toml.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; the first argument is the job file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; the first argument is the job file in it") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8 text") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply to be a job file") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None


def from_environment(environ: Mapping[str, str]) -> Layer:
    """HARVESTER_SECTION__KEY. A name without two underscores (HARVESTER_TOKEN) is none of these."""
    layer = {}
    for name, text in environ.items():
        if not (name.startswith(ENVIRONMENT_PREFIX) and "__" in name):
            continue
        if name not in _VARIABLES:
            raise _unknown(name, "", _nearest(name, _VARIABLES))
        key = _VARIABLES[name]
        layer[key] = Raw(value=_spoken(name, key, text), origin=Origin(layer="environment", name=name))
    return layer


def check_underscores(environ: Mapping[str, str], layers: Iterable[Layer]) -> None:
    """ConfigError for HARVESTER_SECTION_KEY, which somebody believes to be a setting. A variable that a layer
    names as that of a secret may be called so.
    """
    secrets = [
        layer[key].value
        for layer in layers
        for key in ("source.token_env", "output.pseudonym_key_env")
        if key in layer
    ]
    for name in environ:
        section = name.removeprefix(ENVIRONMENT_PREFIX).partition("_")[0]
        if (
            name.startswith(f"{ENVIRONMENT_PREFIX}{section}_")
            and section.lower() in SECTIONS
            and "__" not in name
            and name not in secrets
            and not _KUBERNETES.fullmatch(name)
        ):
            raise _unknown(name, "", _nearest(name, _VARIABLES))


def from_flags(flags: Mapping[str, tuple[str, str]], sets: Sequence[str]) -> Layer:
    """`flags` is full key name to (the flag, its text), `sets` what --set was given; of two --set the last
    counts.
    """
    layer: dict[str, Raw] = {}
    for given in sets:
        key, separator, text = given.partition("=")
        key = key.strip()
        if not key:
            raise ConfigError(f"--set: {quoted(given)}: names no key; write --set section.key=value")
        if not separator:
            raise ConfigError(f"--set: {_shown(key)}: has no value; write --set section.key=value")
        _known(key, "--set")
        layer[key] = Raw(value=_spoken("--set", key, text), origin=Origin(layer="flag", name="--set"))
    for key, (flag, text) in flags.items():
        if key in layer:
            raise ConfigError(f"{flag}: {key}: is given twice, by {flag} and by --set; leave one out")
        if not text.strip():
            raise ConfigError(f"{flag}: {key}: is empty; give it a value or leave it out")
        layer[key] = Raw(value=text, origin=Origin(layer="flag", name=flag))
    return layer


def _spoken(where: str, key: str, text: str) -> Any:
    """A value from outside a file: TOML where it is TOML, else text."""
    if not text.strip():
        raise ConfigError(f"{where}: {key}: is empty; give it a value or leave it out")
    try:
        read = toml.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return read["value"] if read.keys() == {"value"} else text


def _known(key: str, where: str) -> str:
    if key in KEYS:
        return key
    if key in ("source.token", "source.api_key", "source.apikey", "source.password"):
        raise ConfigError(
            f"{where}: {key}: unknown key; a token is not written here, "
            "source.token_env names the environment variable that holds it"
        )
    if key in ("output.pseudonym_key", "output.key"):
        raise ConfigError(
            f"{where}: {key}: unknown key; a secret is not written here, "
            "output.pseudonym_key_env names the environment variable that holds it"
        )
    raise _unknown(where, key, _nearest(key, KEYS))


def _unknown(where: str, key: str, nearest: str) -> ConfigError:
    return ConfigError(f"{where}: {_shown(key) + ': ' if key else ''}unknown key; did you mean {nearest}?")


def _shown(key: str) -> str:
    return key if key.isprintable() and " " not in key and 0 < len(key) <= 80 else quoted(key)


def _near_section(section: str, values: Any) -> str:
    if isinstance(values, dict):
        return f"[{_nearest(section, SECTIONS)}]"
    return _nearest(section, KEYS)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Also finds a key that was written into the wrong section, or without one."""

    def likeness(candidate: str) -> float:
        whole = SequenceMatcher(None, name.lower(), candidate.lower()).ratio()
        tail = SequenceMatcher(
            None, name.lower().rpartition(".")[2], candidate.lower().rpartition(".")[2]
        ).ratio()
        return max(whole, tail - 0.01)

    return max(known, key=likeness)
