"""TOML as people write it, in job and dialect files: read in a time, and told in a length, that have a bound.

The parser takes the square of the parts of a dotted key, which for sixty kilobytes of dots is a minute; and
who looks for the nearest known key takes as long as the key is.
"""

import re
import tomllib
from typing import Any, Final

MOST_CHARACTERS: Final = 1 << 20
"""Of a file; a long one has a few thousand."""
MOST_PARTS: Final = 100
"""Of a dotted key or the name of a table; two or three are usual."""
LONGEST_KEY: Final = 1000
_MANY_PARTS: Final = re.compile(
    r"""(?:(?<![\w-])(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    f"{{{MOST_PARTS}}}",
    re.ASCII,
)


def loads(text: str) -> dict[str, Any]:
    """Raises ValueError for what is no TOML or beyond a bound, RecursionError where brackets nest too
    deeply.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"more than {MOST_CHARACTERS:,} characters")
    many = _MANY_PARTS.search(text)
    if many is not None:
        line = text.count("\n", 0, many.start()) + 1
        raise ValueError(f"a key of more than {MOST_PARTS} parts (at line {line})")
    told = tomllib.loads(text)
    rest: list[Any] = [told]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            long = next((name for name in one if len(name) > LONGEST_KEY), None)
            if long is not None:
                raise ValueError(f"a key of {len(long):,} characters, {long[:40]!r}...")
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return told
