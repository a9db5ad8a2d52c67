"""Shapes: the least one that holds all values, in whatever order and cut they are met."""

import json
from decimal import Decimal
from functools import reduce

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import shapes
from harvester.shapes import EXACT_IN_DOUBLE, NULL, Shape, join, spelt

scalars = st.sampled_from(
    [Shape(kind) for kind in ("null", "boolean", "integer", "long", "number", "timestamp", "string", "json")]
    + [Shape("decimal", digits=20), Shape("decimal", digits=30, scale=25), Shape("decimal", digits=38)]
)
names = st.sampled_from(["a", "b", "c"])
any_shape = st.recursive(
    scalars,
    lambda inner: st.one_of(
        inner.map(lambda item: Shape("list", item=item)),
        st.dictionaries(names, inner, min_size=1).map(
            lambda members: Shape("struct", members=tuple(members.items()))
        ),
    ),
    max_leaves=6,
)


def ordered(shape: Shape) -> Shape:
    """With members by name: which was met first depends on the order, what they are does not."""
    members = tuple(sorted((name, ordered(one)) for name, one in shape.members))
    return Shape(shape.kind, shape.digits, shape.scale, ordered(shape.item) if shape.item else None, members)


@given(any_shape, any_shape)
def test_it_makes_no_difference_which_shape_comes_first(one: Shape, other: Shape) -> None:
    assert ordered(join(one, other)) == ordered(join(other, one))


@given(st.lists(any_shape, min_size=3, max_size=3))
def test_it_makes_no_difference_which_blocks_are_joined_first(three: list[Shape]) -> None:
    one, two, last = three
    assert ordered(join(join(one, two), last)) == ordered(join(one, join(two, last)))


@given(any_shape)
def test_a_shape_holds_itself_and_nothing_adds_to_it(shape: Shape) -> None:
    assert join(shape, shape) == shape == join(shape, NULL) == join(NULL, shape)


@given(any_shape)
def test_a_shape_that_was_told_is_read_again(shape: Shape) -> None:
    assert Shape.of(shape.told()) == shape


@pytest.mark.parametrize(
    ("kinds", "together"),
    [
        (["integer", "integer"], "integer"),
        (["integer", "long"], "long"),
        (["integer", "number"], "number"),
        (["long", "number"], "json"),  # a double would round the one, and nothing else holds the other
        (["timestamp", "string"], "string"),
        (["boolean", "integer"], "json"),
        (["string", "integer"], "json"),
        (["integer", "decimal(20,0)"], "decimal(20,0)"),
        (["long", "decimal(4,2)"], "decimal(21,2)"),
        (["long", "decimal(38,30)"], "json"),
        (["null", "null"], "null"),
    ],
)
def test_what_two_kinds_have_in_common(kinds: list[str], together: str) -> None:
    assert str(reduce(join, map(Shape.of, kinds))) == together


@pytest.mark.parametrize(
    "told", ["text", "decimal(39,0)", "decimal(2,3)", {"list": "text"}, {"struct": []}, {}, 7, None]
)
def test_what_is_no_shape_is_named(told: object) -> None:
    with pytest.raises(ValueError, match="is no shape; write one of"):
        Shape.of(told)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("323.08310220000004", float),
        ("1E2", float),
        ("12.50", float),
        ("1e-7", float),
        ("0.1234567890123456789", Decimal),
        ("9007199254740993.0", Decimal),
        ("1e400", Decimal),
        ("1e99999999999999999999", Decimal),
    ],
)
def test_a_double_is_only_what_says_just_what_was_written(text: str, kind: type) -> None:
    assert type(shapes.read_number(text)) is kind


@pytest.mark.parametrize(
    ("number", "shape"),
    [
        ("0.1234567890123456789", "decimal(19,19)"),
        ("9007199254740993.0", "decimal(17,1)"),
        ("1e20", "decimal(21,0)"),
        ("1e400", "json"),
        ("NaN", "json"),
    ],
)
def test_a_decimal_is_as_wide_as_its_digits(number: str, shape: str) -> None:
    assert str(shapes.of_exact(Decimal(number))) == shape


@pytest.mark.parametrize(
    ("least", "most", "shape"),
    [
        (-(2**53), 2**53, "integer"),
        (0, 2**53 + 1, "long"),
        (-(2**63), 2**63 - 1, "long"),
        (0, 2**63, "decimal(19,0)"),
        (0, 10**38 - 1, "decimal(38,0)"),
        (0, 10**38, "json"),
    ],
)
def test_a_whole_number_is_as_long_as_it_needs(least: int, most: int, shape: str) -> None:
    assert str(shapes.of_whole(least, most)) == shape


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2024-02-29T23:59:59.999Z", True),
        ("2024-01-01T00:00:00Z", True),
        ("2023-02-29T00:00:00Z", False),
        ("2024-01-01T00:00:00.0000001Z", False),
        ("2024-01-01T00:00:00+00:00", False),
        ("2024-01-01", False),
        ("2024-01-01T24:00:00Z", False),
        ("٢٠٢٤-01-01T00:00:00Z", False),
    ],
)
def test_only_an_instant_of_utc_is_a_timestamp(text: str, is_one: bool) -> None:
    assert shapes.is_timestamp(text) is is_one


@pytest.mark.parametrize(
    ("sent", "spelt_so"),
    [
        ("12.50", "12.5"),
        ("1E2", "100"),
        ("3.0", "3"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("0.0000001", "1e-7"),
        ("1e22", "1" + "0" * 22),
        ("1e400", "1e400"),
        ("1e2000000", "1e2000000"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890123456789012345678901234.50", "12345678901234567890123456789012345678901234.5"),
        ("1" + "0" * 5000, "1" + "0" * 5000),
        ('"\\u0041\\/"', '"A/"'),
        ('{"y":1.0,"x":[1e1,null,true,{}]}', '{"y":1,"x":[10,null,true,{}]}'),
        ('"12.50"', '"12.50"'),
    ],
)
def test_a_number_has_one_spelling_and_text_is_text(sent: str, spelt_so: str) -> None:
    assert spelt(sent.encode()) == spelt_so
    assert spelt(spelt_so.encode()) == spelt_so


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1)))
def test_a_number_is_spelt_alike_whether_it_comes_from_the_source_or_from_a_column(number: float) -> None:
    """A column of doubles gives 3.0 where 3 was sent, one of decimals 3.00."""
    sent = json.dumps(number)
    exact = Decimal(sent)
    assert spelt(sent.encode()) == spelt(msgspec.json.encode(number))
    if not (exact.is_signed() and not exact):
        assert spelt(f"{exact:f}0".encode() if "." in f"{exact:f}" else sent.encode()) == spelt(sent.encode())
    if abs(exact) <= EXACT_IN_DOUBLE:
        assert spelt(msgspec.json.encode(float(number))) == spelt(sent.encode())
    assert Decimal(spelt(sent.encode())) == exact
