"""A dialect file with nothing in it but what it must have, and a fixture that changes it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harvester.dialects import Dialect, load

PLAIN = """
[request]
method = "GET"
path = "/rows"
[request.query]
from = "{start}"
to = "{end}"
limit = "{limit}"
skip = "{offset}"
[answer]
records = "rows"
[record]
key = "id"
date = "at"
"""


@pytest.fixture
def dialect(tmp_path: Path) -> Callable[..., Dialect]:
    """A dialect of PLAIN with each `old` text replaced by its `new` one."""

    def make(*changes: tuple[str, str]) -> Dialect:
        text = PLAIN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return make
