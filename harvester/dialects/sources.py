"""Finds dialect files: those that are shipped, by name, and any other by its path."""

from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from harvester.dialects.declaration import parse
from harvester.dialects.dialect import Dialect
from harvester.errors import ConfigError

_SUFFIX = ".toml"


def names() -> tuple[str, ...]:
    """Of the dialects that are shipped."""
    return tuple(sorted(_shipped()))


def load(name_or_path: str | Path) -> Dialect:
    """A shipped dialect by its name, or one's own by its path: what ends in .toml or holds a slash."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(_SUFFIX) or "/" in text:
        path = Path(name_or_path)
        return _read(path.stem, path)
    shipped = _shipped()
    if text in shipped:
        return _read(text, shipped[text])
    near = get_close_matches(text, shipped, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"[source] dialect: {text!r} is not known; {hint}"
        f"Known are {', '.join(names())}, or the path of a .toml file"
    )


@cache
def _shipped() -> dict[str, Traversable]:
    """The package holds them; in a checkout they lie beside it."""
    package = files("harvester")
    beside = Path(__file__).parents[2] / "config" / "sources"
    for folder in (package / "_sources", beside):
        if folder.is_dir():
            found = (file for file in folder.iterdir() if file.name.endswith(_SUFFIX))
            return {file.name.removesuffix(_SUFFIX): file for file in found}
    return {}


def _read(name: str, file: Traversable) -> Dialect:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; expected a dialect, a TOML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8; expected a dialect, a TOML file") from None
    return Dialect.of(name, parse(text, str(file)))
