"""Whatever bytes come, no reader raises anything but our own errors: a fixed sample of what `scripts/fuzz`
goes on with for hours.
"""

import json
import tomllib
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.edits import MARK, ODD, document, toml
from tests.fuzz.seeds import failed_once, jobs, seeds
from tests.fuzz.targets import TARGETS

_SLOW: Final = ("manifest", "ledger", "shard")
_EXAMPLES: Final = {name: 20 if name in _SLOW else 150 for name in TARGETS}
_QUIET: Final = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@st.composite
def _changed(draw: st.DrawFn, name: str) -> bytes:
    """A good input with pieces replaced, cut, doubled or joined with another, or edits of its values, or
    anything."""
    good = seeds(name)
    data = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 20)))
        piece = draw(st.one_of(st.binary(max_size=12), st.just(data[at:to] * 2)))
        data = data[:at] + piece + data[to:]
    edits = draw(st.binary(min_size=4, max_size=16))
    return draw(st.sampled_from([data, data, data[:1] + MARK + edits if name == "page" else MARK + edits]))


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_brings_anything_but_our_own_errors(name: str) -> None:
    @settings(max_examples=_EXAMPLES[name], deadline=None, derandomize=True, suppress_health_check=_QUIET)
    @given(_changed(name))
    def feed(data: bytes) -> None:
        TARGETS[name](data)

    feed()


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_begins_with_and_what_failed_once_passes(name: str) -> None:
    given_ones = failed_once(name) if name in _SLOW else seeds(name)
    for data in given_ones:
        TARGETS[name](data)


def test_edits_put_odd_values_where_good_ones_stood() -> None:
    good = {"a": [1, {"b": "x"}], "c": None}
    assert document(b'{"as": "it is"}', good, json.dumps) == b'{"as": "it is"}'
    assert json.loads(document(MARK, good, json.dumps)) == good
    replaced = [
        json.loads(document(MARK + bytes([0, 3, 0, which]), good, json.dumps)) for which in range(len(ODD))
    ]
    assert len({json.dumps(one) for one in replaced}) > 0.9 * len(ODD)
    assert json.loads(document(MARK + bytes([0, 1, 1, 0]), good, json.dumps)) == {"c": None}


def test_a_file_that_is_edited_in_no_place_means_the_same() -> None:
    for text in jobs():
        tree = tomllib.loads(text.decode())
        assert tomllib.loads(toml(tree)) == tree
