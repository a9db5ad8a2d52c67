"""Where a parameter goes: any text of a request may name parameters in braces, `"{start}"` or
`"{start}..{end}"`.

A text that is one parameter and nothing else becomes its value, a number or a list included; a text with more
in it is filled in. `{{` and `}}` stand for the braces themselves. What names a parameter that is not given
goes away, and so does an object or a list that is emptied by it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final

PARAMETERS: Final = (
    "start",
    "end",
    "limit",
    "offset",
    "order_by",
    "date_field",
    "fields",
    "queues",
    "filter",
    "resolution",
    "time_zone",
)

GONE: Final = object()
"""What `fill` returns for a value that names a parameter which is not given."""

_LEAST, _MOST = -(2**63), 2**64 - 1
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class _Template:
    parts: tuple[str, ...]
    """Text and names of parameters in turn, beginning with text."""


def compiled(value: Any, known: Sequence[str] = PARAMETERS) -> Any:
    """`value` with every text that names a parameter made ready for `fill`; ValueError for one that is not
    known."""
    if isinstance(value, dict):
        return {name: compiled(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [compiled(inner, known) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value!r} is no number in JSON")
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise ValueError(f"{value!r} is beyond 64 bits; write it as a text")
    return _parsed(value, known) if isinstance(value, str) else value


def parameters(ready: Any) -> Iterator[str]:
    """The names of the parameters in what `compiled` returned."""
    if isinstance(ready, _Template):
        yield from ready.parts[1::2]
    elif isinstance(ready, (dict, list)):
        for inner in ready.values() if isinstance(ready, dict) else ready:
            yield from parameters(inner)


def fill(ready: Any, given: Mapping[str, Any], text: Callable[[Any], str]) -> Any:
    """`text` writes a value into the middle of a text."""
    if isinstance(ready, _Template):
        return _filled(ready.parts, given, text)
    if isinstance(ready, dict):
        pairs = ((name, fill(inner, given, text)) for name, inner in ready.items())
        kept = {name: value for name, value in pairs if value is not GONE}
        return kept if kept or not ready else GONE
    if isinstance(ready, list):
        items = [value for value in (fill(inner, given, text) for inner in ready) if value is not GONE]
        return items if items or not ready else GONE
    return ready


def _filled(parts: tuple[str, ...], given: Mapping[str, Any], text: Callable[[Any], str]) -> Any:
    values = [given[name] for name in parts[1::2]]
    if any(value is None for value in values):
        return GONE
    if len(parts) == 3 and not parts[0] and not parts[2]:
        return values[0]
    return "".join(part if i % 2 == 0 else text(given[part]) for i, part in enumerate(parts))


def _parsed(value: str, known: Sequence[str]) -> str | _Template:
    """Text and names in turn; pieces of text are joined at the end, as a text of braces alone has many."""
    parts, pieces, begin = list[str](), list[str](), 0
    for brace in _BRACES.finditer(value):
        pieces.append(value[begin : brace.start()])
        begin = brace.end()
        name = brace[1]
        if name is not None:
            parts += ["".join(pieces), _known(name, value, known)]
            pieces = []
        elif len(brace[0]) == 2:
            pieces.append(brace[0][0])
        else:
            raise ValueError(
                f"{value!r} has a brace without its pair; write {{{{ or }}}} for the brace itself"
            )
    parts.append("".join([*pieces, value[begin:]]))
    return _Template(tuple(parts)) if len(parts) > 1 else parts[0]


def _known(name: str, value: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {{{near[0]}}}? " if near else ""
    told = ", ".join(f"{{{parameter}}}" for parameter in known)
    raise ValueError(f"{value!r} names no known parameter; {hint}Known are {told}")
