"""The kinds of values a setting can have: each is a function that takes what TOML gave and returns it
checked.

A kind says what is wrong in words a person understands, and what would be right. It never repeats a value
that might hold a secret. Python counts True as 1 and NaN as a float; here neither is a number.
"""

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any, TypeVar

from harvester.dialects import names_of
from harvester.transport.settings import check_base_url

One = TypeVar("One", str, int | str)
Kind = Callable[[Any], Any]

_SCHEMES_OF_LATER = ("s3", "gs", "az")


class Wrong(ValueError):
    """What is wrong with a value, and a hint; config adds where it stands."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def later(what: str, instead: str) -> Wrong:
    """For what the interface knows and this version cannot do: never ignored in silence."""
    return Wrong(f"not available in this version: {what}", f"use {instead}")


def named(value: object) -> str:
    """The value's kind, in TOML's words."""
    match value:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a decimal number"
        case str():
            return "text"
        case datetime():
            return "a date with a time"
        case date():
            return "a date"
        case time():
            return "a time of day"
        case list():
            return "a list"
        case _:
            return "a table"


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"is {named(value)}, text is needed", 'put it in quotes: "..."')
    if not value.strip():
        raise Wrong("is empty", "give it a value or leave it out")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise Wrong("holds a control character", "is there a line end or a tab too many?")
    return value


def whole(least: int, most: int) -> Kind:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"is {named(value)}, a whole number is needed", f"from {least:_} to {most:_}")
        if value < least:
            raise Wrong(f"is {_short(value)}, too small", f"at least {least:_}")
        if value > most:
            raise Wrong(f"is {_short(value)}, too large", f"at most {most:_}")
        return value

    return read


def decimal(most: float, *, zero: bool = False) -> Kind:
    """More than nothing and at most `most`; `zero` where nothing has a meaning as well."""
    hint = f"{'from 0' if zero else 'more than 0, and'} up to {_figure(most)}"

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(f"is {named(value)}, a number is needed", hint)
        if isinstance(value, float) and not math.isfinite(value):
            raise Wrong(f"is {value}, which is no number to count with", hint)
        if value < 0 or (value == 0 and not zero):
            raise Wrong(f"is {_short(value)}, too small", hint)
        if value > most:
            raise Wrong(f"is {_short(value)}, too large", hint)
        return float(value)

    return read


def _figure(number: float) -> str:
    return f"{number:g}" if number < 1000 else f"{number:_.0f}"


def _short(value: float) -> str:
    """Python refuses to print a number of 5,000 digits, and nobody wants to read one."""
    return str(value) if abs(value) < 10**20 else "beyond measure"


def choice(*known: str) -> Kind:
    def read(value: Any) -> str:
        chosen = text(value)
        if chosen not in known:
            near = _near(chosen, known)
            hint = f'did you mean "{near}"?' if near else "choose one of them"
            raise Wrong(f"{quoted(chosen)} is not one of {', '.join(known)}", hint)
        return chosen

    return read


def _near(chosen: str, known: tuple[str, ...]) -> str | None:
    """Letters' case and what joins words are no difference."""
    plain = {re.sub(r"\W|_", "", one).lower(): one for one in known}
    near = get_close_matches(re.sub(r"\W|_", "", chosen).lower(), plain, 1, 0.5)
    return plain[near[0]] if near else None


def quoted(value: str) -> str:
    """For a message: in quotes, and not a page long."""
    return json.dumps(value if len(value) <= 80 else f"{value[:77]}...", ensure_ascii=False)


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Wrong(f"is {named(value)}, a list of texts is needed", 'as in ["one", "two"]')
    return _all_different(tuple(text(one) for one in value))


def ids(value: Any) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise Wrong(f"is {named(value)}, a list of ids is needed", "as in [12, 14]")
    if odd := [one for one in value if isinstance(one, bool) or not isinstance(one, int | str) or one == ""]:
        raise Wrong(f"holds {named(odd[0])}, ids are whole numbers or texts", "as in [12, 14]")
    return _all_different(tuple(value))


def _all_different(values: tuple[One, ...]) -> tuple[One, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise Wrong(f"names {quoted(str(value))} twice", "once is enough")
    return values


def table(value: Any) -> dict[str, Any]:
    """What JSON can hold; from the command line also as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Wrong(
                "is text, a table is needed", 'as in {AgentId = 7}, or as JSON: {"AgentId": 7}'
            ) from None
    if not isinstance(value, dict):
        raise Wrong(
            f"is {named(value)}, a table is needed", 'as in {AgentId = 7}, or as JSON: {"AgentId": 7}'
        )
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Wrong(
            "holds a value that JSON does not have", "write dates as text, and no inf or nan"
        ) from None
    return value


def moment(value: Any) -> str | date | datetime:
    """Read against the time zone later, when that is known."""
    if isinstance(value, datetime | date):
        return value
    if not isinstance(value, str):
        raise Wrong(
            f"is {named(value)}, a date or a time is needed", "as in 2024-01-01 or 2024-01-01T00:00:00Z"
        )
    return text(value)


def variable(what: str, example: str) -> Kind:
    """The name of the environment variable that holds a secret. What is none is not repeated: it may be the
    secret itself.
    """

    def read(value: Any) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text(value)):
            raise Wrong(
                "is not the name of an environment variable",
                f'it names the variable that holds the {what}, as in "{example}"; '
                f"it is not the {what} itself",
            )
        return str(value)

    return read


def address(value: Any) -> str:
    """A server's URL, without a slash at its end, spelled the one way that makes it part of the job's
    fingerprint.
    """
    hint = 'write it like "https://api.motioncxapps.com"'
    given = text(value).strip()
    if "@" in given:  # before anything repeats it: what stands before an @ is a password
        raise Wrong("holds an @, so perhaps a password", "source.auth and source.token_env say how to log in")
    if re.search(r"\s", given):
        raise Wrong("holds a blank", hint)
    try:
        return str(check_base_url(given)).rstrip("/")
    except ValueError as error:
        what, _, way_out = str(error).removeprefix("base_url: ").partition("; ")
        raise Wrong(what, way_out or hint) from None


def location(value: Any) -> str:
    """A folder. The object stores are for a later version; any other scheme is a mistake."""
    given = text(value)
    scheme, separator, _ = given.partition("://")
    if separator and scheme.lower() in _SCHEMES_OF_LATER:
        raise later(f"{scheme}:// addresses", "a folder on this machine")
    if separator:
        raise Wrong(f"{quoted(scheme + '://')} is not a place to write to", 'a folder, as in "out"')
    return given


def paths(value: Any) -> tuple[str, ...]:
    """Of fields, as a dialect writes them."""
    listed = texts(value)
    for one in listed:
        try:
            names_of(one)
        except ValueError:
            raise Wrong(
                f"{quoted(one)} is no path of a field", "names joined by dots, without quotes in them"
            ) from None
    return listed
