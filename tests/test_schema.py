"""schema: what is told of the fields is what stands in the records."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import cli
from harvester.errors import StorageError
from harvester.schema import read_schema
from harvester.shapes import MOST_FIELDS, Field, Fields
from harvester.shards import read_lines
from tests.harvesting import START, World, hours, live, manifest
from tests.zstd import zstd

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["", "text", "2024-01-01T00:00:00Z"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "y.z", "[]"]), inner, max_size=3)
    ),
    max_leaves=8,
)
records = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3), min_size=1, max_size=12
)


def told(rows: list[dict[str, Any]], *, block: int) -> dict[str, Field]:
    fields = Fields()
    lines = [json.dumps({"n": number} | row).encode() for number, row in enumerate(rows)]
    for begin in range(0, len(lines), block):
        fields.add(lines[begin : begin + block], lambda line: START.replace(minute=json.loads(line)["n"]))
    return {field.path: field for field in fields.found()}


def counted(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Nulls and places of each path, counted one value at a time."""
    counts: dict[str, dict[str, int]] = {}

    def note(path: str, value: Any) -> None:
        one = counts.setdefault(path, {"present": 0, "null": 0})
        one["present"] += 1
        one["null"] += value is None
        for name, inner in value.items() if isinstance(value, dict) else ():
            note(f"{path}.{name.replace('.', chr(92) + '.')}", inner)
        for inner in value if isinstance(value, list) else ():
            note(f"{path}[]", inner)

    for row in rows:
        for name, value in row.items():
            note(name, value)
    return counts


@given(records, st.integers(1, 5))
def test_what_is_counted_in_blocks_is_what_is_counted_one_by_one(
    rows: list[dict[str, Any]], block: int
) -> None:
    found = told(rows, block=block)
    found.pop("n")
    assert {
        path: {"present": field.present, "null": field.kinds.get("null", 0)} for path, field in found.items()
    } == counted(rows)
    for name in {name for row in rows for name in row}:
        there = [number for number, row in enumerate(rows) if row.get(name) is not None]
        assert found[name].absent == sum(name not in row for row in rows)
        assert found[name].first_seen == (START.replace(minute=there[0]) if there else None)
        assert found[name].last_seen == (START.replace(minute=there[-1]) if there else None)


@given(records)
def test_the_cut_into_blocks_leaves_no_trace(rows: list[dict[str, Any]]) -> None:
    whole, single = told(rows, block=len(rows)), told(rows, block=1)
    assert whole.keys() == single.keys()
    for path, field in whole.items():
        assert (field.kinds, field.present, field.absent) == (
            single[path].kinds,
            single[path].present,
            single[path].absent,
        )
        assert str(field.shape) == str(single[path].shape)


@pytest.mark.parametrize(
    ("texts", "shape"),
    [
        (["1", "2"], "integer"),
        (["1", "2.5"], "number"),
        (["9007199254740993", "1"], "long"),
        (["9007199254740993", "0.5"], "json"),
        (["0.1234567890123456789"], "decimal(19,19)"),
        (["1" + "0" * 5000], "json"),
        (["null", "null"], "null"),
        (["true", "null"], "boolean"),
        (["{}", "{}"], "json"),
        (['{"a":1}', "{}"], "struct of 1"),
        (["[]", "[null]"], "list of null"),
        (["[1]", '["a"]'], "list of json"),
        (["[1]", "1"], "json"),
    ],
)
def test_the_shape_of_a_field_holds_all_its_values(texts: list[str], shape: str) -> None:
    fields = Fields()
    for text in texts:
        fields.add([b'{"a":' + text.encode() + b"}"], lambda _: START)
    assert str(fields.found()[0].shape) == shape


def test_names_that_are_data_do_not_fill_the_memory() -> None:
    """An object with an id for a name has as many names as there are records."""
    fields = Fields()
    for number in range(3):
        line = orjson.dumps({f"id-{number}-{index}": index for index in range(MOST_FIELDS // 2)})
        fields.add([line], lambda _: START)
    assert len(fields.found()) == MOST_FIELDS
    assert fields.left_out == MOST_FIELDS // 2


def test_deeply_nested_values_are_counted_and_not_followed() -> None:
    fields = Fields()
    fields.add([b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"], lambda _: START)
    assert len(fields.found()) == 32


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schema")

    async def story(world: World) -> None:
        await world.run(span=hours(0, 36), output={"shard_bytes": 100_000})

    live(folder, story, records=300)
    return folder / "out"


def lines_of(out: Path) -> Iterator[bytes]:
    for shard in manifest(out)["shards"]:
        yield from read_lines(out / shard["path"])


def test_an_output_is_read_record_by_record(harvested: Path) -> None:
    schema = read_schema(harvested, progress=lambda _: None)
    rows = [json.loads(line, parse_float=Decimal) for line in lines_of(harvested)]
    fields = {field.path: field for field in schema.fields}
    assert schema.records == len(rows) > 100
    assert schema.complete
    assert list(fields) == list(dict.fromkeys(name for row in rows for name in row))
    for name, field in fields.items():
        there = [row["StartedDateTimeUtc"] for row in rows if row.get(name) is not None]
        assert field.kinds.get("null", 0) + field.absent == len(rows) - len(there)
        assert field.first_seen == (datetime.fromisoformat(there[0]) if there else None)
        assert field.last_seen == (datetime.fromisoformat(there[-1]) if there else None)


def test_what_is_not_whole_is_told_so(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.simulator.set_faults([{"status": 404, "start": "2024-01-01T05:00Z", "end": "2024-01-01T06Z"}])
        outcome = await world.run()
        schema = read_schema(world.out, progress=lambda _: None)
        assert schema.records == outcome.records > 0
        assert not schema.complete

    live(tmp_path, story)


def test_a_shard_that_is_gone_is_named(harvested: Path, tmp_path: Path) -> None:
    out = shutil.copytree(harvested, tmp_path / "out")
    shard = manifest(out)["shards"][0]["path"]
    (out / shard).unlink()
    with pytest.raises(StorageError, match=shard):
        read_schema(out, progress=lambda _: None)


@pytest.mark.parametrize("line", [b'{"_id": "a', b"\xff", b"[" * 20_000, b"{}"], ids=range(4))
def test_a_line_that_is_no_record_is_an_error_with_the_shards_name(
    harvested: Path, tmp_path: Path, line: bytes
) -> None:
    out = shutil.copytree(harvested, tmp_path / "out")
    shard = manifest(out)["shards"][0]["path"]
    (out / shard).write_bytes(zstd.compress(line + b"\n"))
    with pytest.raises(StorageError, match=f"{shard}: holds a line that is no record"):
        read_schema(out, progress=lambda _: None)


def test_the_command_tells_people_and_machines_the_same(
    harvested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["schema", str(harvested), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert cli.main(["schema", str(harvested)]) == 0
    table = capsys.readouterr().out
    assert told["records"] == sum(1 for _ in lines_of(harvested))
    for field in told["fields"]:
        assert f"\n{field['path']} " in table
        assert 0 <= field["null_share"] <= 1
    assert told["shape"]["struct"]["StartedDateTimeUtc"] == "timestamp"


def test_a_folder_without_a_harvest_is_wrong_usage(tmp_path: Path) -> None:
    assert cli.main(["schema", str(tmp_path)]) == 2
    assert cli.main(["schema", str(tmp_path / "nothing")]) == 2
