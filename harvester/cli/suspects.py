"""What a usage error must not repeat: words that were typed, or written into a job file, and may be a secret.

A token gets into the wrong place: behind --set, into `token_env`, `auth` or the address, on the command line
in the place of a file's name. The error that follows names the place; it ends in the log of a scheduler, so a
word that looks as no name, date, number or path does is told as three stars.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_BETWEEN = re.compile(r"[\s\"'`()\[\]{}<>,;:=@?&]+")
_PIECE = re.compile(r"[^\W_]+")
_PLAIN = re.compile(r"[^\W\d_]{1,40}\d{0,4}|\d{1,8}[^\W\d_]{0,2}|\d{2}[Tt]\d{2}")
"""A name with a number behind it, a number with a unit, day and hour of a time."""
_SHORTEST = 8
_CUT = 40
"""So many characters of a suspect are it, where a message has cut it."""
_MOST_BYTES = 100_000
"""Of a job file: ten times the longest that was seen."""


def told(message: str, words: Iterable[str], environ: Mapping[str, str]) -> str:
    """`message` without what may be a secret among the words of the command line, of the files that they
    name, and of the environment."""
    from harvester.transport.blot import Blotter  # late: --help goes by without it

    suspects = sorted(set(_suspects(words, environ)), key=len, reverse=True)
    return Blotter(*suspects, enough=_CUT).text(message)


def looks_secret(word: str) -> bool:
    """Whether it is none of what one writes into a job: names, numbers, dates, paths."""
    is_plain = all(map(_PLAIN.fullmatch, _PIECE.findall(word)))
    return len(word) >= _SHORTEST and not is_plain and not _is_path(word)


def _suspects(words: Iterable[str], environ: Mapping[str, str]) -> Iterator[str]:
    for text in [*words, *_files(words), *(environ[name] for name in environ if "HARVESTER" in name)]:
        for word in _BETWEEN.split(text):
            if looks_secret(word):
                yield word


def _files(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word.endswith(".toml"):
            try:
                with Path(word).open("rb") as file:
                    yield file.read(_MOST_BYTES).decode(errors="replace")
            except (OSError, ValueError):
                continue


def _is_path(word: str) -> bool:
    """It stands on this disk, or the folder does that it begins with."""
    first = re.match(r"/?[^/]+/", word)
    try:
        return os.path.exists(word) or (first is not None and os.path.isdir(os.path.expanduser(first[0])))
    except ValueError:
        return False
