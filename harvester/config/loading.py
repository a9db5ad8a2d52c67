"""Layers become one Config: each value from the layer that beats the others, checked, with its origin
remembered.

Where two keys are two forms of one thing (`start`, `end` or the periods; `token_env` or `token_file`), the
forms may not both stand in one layer; across layers the higher one's form takes the place of the lower one's
whole, so that `--start` and `--end` may ask an exact span of a job that is relative every night.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from harvester.config.kinds import Wrong, quoted
from harvester.config.layers import (
    Layer,
    Origin,
    Raw,
    check_underscores,
    from_environment,
    from_file,
    from_flags,
)
from harvester.config.sections import KEYS, SECTIONS, Fetch, Output, Source, SpanSection
from harvester.errors import ConfigError

_DEFAULT: Final = Origin(layer="default", name="")

_FORMS: Final = (
    (("span.start", "span.end"), ("span.from_period", "span.to_period")),
    (("source.token_env",), ("source.token_file",)),
    (("output.pseudonym_key_env",), ("output.pseudonym_key_file",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What was asked for, every value checked by itself; `job_of` checks them together."""

    path: Path
    source: Source
    span: SpanSection
    fetch: Fetch
    output: Output
    origins: Mapping[str, Origin]
    """By full key name. A key that another form has replaced, or that nobody gave, is `default`."""

    def value(self, key: str) -> Any:
        section, name = key.split(".")
        return getattr(getattr(self, section), name)

    def wrong(self, key: str, what: str, hint: str = "") -> ConfigError:
        """The one shape of a complaint: where the value was written, its key, what is wrong; what to do."""
        origin = self.origins[key]
        return ConfigError(complaint(self.path if origin == _DEFAULT else origin.name, key, what, hint))

    def expanded(self, key: str, path: str) -> Path:
        """With the home folder in the place of `~`; ConfigError where none of that name is known."""
        try:
            return Path(path).expanduser()
        except RuntimeError:
            what = f"{quoted(path)}: no home folder of that name is known"
            raise self.wrong(key, what, "write the folder out") from None

    def beside(self, key: str, path: str) -> Path:
        """A path written in the job file is meant beside it, else from the current folder; elsewhere the
        latter alone.
        """
        given = self.expanded(key, path)
        beside = self.path.parent / given
        try:
            return beside if self.origins[key].layer == "file" and beside.exists() else given
        except OSError as error:
            raise self.wrong(key, f"cannot be looked for: {error.strerror}", "give another path") from None


def complaint(where: object, key: str, what: str, hint: str) -> str:
    return f"{where}: {key}: {what}{hint and '; '}{hint}"


def load(
    path: Path,
    *,
    flags: Mapping[str, tuple[str, str]] | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Reads the job file and what goes before it. ConfigError for the first value that cannot be used.

    `flags` are the dedicated ones, full key name to (flag, text); `sets` is what --set was given.
    """
    layers = [from_flags(flags or {}, sets), from_environment(environ), from_file(path)]
    check_underscores(environ, layers)
    raw = _highest(layers)
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, given in raw.items():
        section, name = key.split(".")
        values[section][name] = _checked(key, given)
    if "source.token_file" in raw:
        values["source"]["token_env"] = None
    if "output.pseudonym_key_file" in raw:
        values["output"]["pseudonym_key_env"] = None
    return Config(
        path=path,
        source=Source(**values["source"]),
        span=SpanSection(**values["span"]),
        fetch=Fetch(**values["fetch"]),
        output=Output(**values["output"]),
        origins={key: raw[key].origin if key in raw else _DEFAULT for key in KEYS},
    )


def _highest(layers: Sequence[Layer]) -> dict[str, Raw]:
    """`layers` from the highest to the lowest."""
    chosen: dict[str, Raw] = {}
    for layer in layers:
        replaced = _replaced(layer, chosen)
        chosen |= {key: raw for key, raw in layer.items() if key not in chosen and key not in replaced}
    return chosen


def _replaced(layer: Layer, chosen: Mapping[str, Raw]) -> set[str]:
    """The keys of `layer` whose other form was chosen in a higher one. Both forms within `layer` is an
    error.
    """
    replaced: set[str] = set()
    for one, other in _FORMS:
        here = [next((key for key in form if key in layer), None) for form in (one, other)]
        if here[0] and here[1]:
            where = layer[here[1]].origin.name
            forms = (
                "start and end, or from_period and to_period" if here[0].startswith("span") else "one of them"
            )
            raise ConfigError(
                complaint(where, here[1], f"is given beside {here[0]}", f"give {forms}, not both")
            )
        for form, rival in ((one, other), (other, one)):
            if all(key in chosen for key in rival):
                replaced |= set(form)
    return replaced


def _checked(key: str, raw: Raw) -> Any:
    try:
        return KEYS[key].kind(raw.value)
    except Wrong as wrong:
        raise ConfigError(complaint(raw.origin.name, key, str(wrong), wrong.hint)) from None


def shown(config: Config) -> list[tuple[str, Any, Origin]]:
    """Every key with its value and where that came from. No token is among them: none is a setting."""
    return [
        (
            f"{section}.{field.name}",
            config.value(f"{section}.{field.name}"),
            config.origins[f"{section}.{field.name}"],
        )
        for section, kind in SECTIONS.items()
        for field in fields(kind)
    ]
