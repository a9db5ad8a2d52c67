"""Parquet: tables that hold what the lines hold, value by value, and are as provable as they are."""

import datetime
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import events
from harvester.errors import StorageError
from harvester.schema import read_schema
from harvester.shapes import EMPTY, Fields, Shape
from harvester.shards import read_lines
from harvester.shards.parquet import Converter, Widened
from harvester.verify import verify
from harvester.verify_source import verify_source
from harvester.verify_source.values import canonical
from tests.harvesting import SPAN, World, digests, hours, live, manifest

PARQUET: dict[str, Any] = {"format": "parquet", "shard_bytes": 150_000}


class Files:
    """What a converter writes: the content of the last file that was sealed."""

    content = b""

    @contextmanager
    def open(self) -> Iterator[Any]:
        file = io.BytesIO()
        yield file
        self.content = file.getvalue()


def converted(lines: list[bytes], declared: Shape = EMPTY, **how: Any) -> tuple[bytes, list[Widened]]:
    files = Files()
    converter = Converter(declared, declared=declared, timestamps=how.get("timestamps", "typed"))
    return files.content, converter.convert(lambda: lines, files.open)


def table_of(lines: list[bytes], declared: Shape = EMPTY, **how: Any) -> pa.Table:
    files = Files()
    Converter(declared, declared=declared, timestamps=how.get("timestamps", "typed")).convert(
        lambda: lines, files.open
    )
    return pq.read_table(io.BytesIO(files.content))


def column(lines: list[bytes], declared: str | None = None, **how: Any) -> tuple[list[Any], str]:
    """The values of the column `a`, and its type."""
    table = table_of(lines, Shape.of({"struct": {"a": declared}}) if declared else EMPTY, **how)
    return table.column("a").to_pylist(), str(table.schema.field("a").type)


@pytest.mark.parametrize(
    ("values", "declared", "kind", "read"),
    [
        (["1", "null"], None, "int64", [1, None]),
        (["9007199254740993"], None, "int64", [9007199254740993]),
        (["9223372036854775808"], None, "decimal128(19, 0)", [Decimal("9223372036854775808")]),
        (["9223372036854775808", "1"], "integer", "decimal128(19, 0)", [Decimal(2**63), Decimal(1)]),
        (["1", "2.5"], "integer", "double", [1.0, 2.5]),
        (["1e2", "-0.0"], None, "double", [100.0, -0.0]),
        (["0.5", "9007199254740993"], "number", "string", ["0.5", "9007199254740993"]),
        (["0.1234567890123456789"], None, "decimal128(19, 19)", [Decimal("0.1234567890123456789")]),
        (["1.25", "3"], "decimal(9,2)", "decimal128(9, 2)", [Decimal("1.25"), Decimal("3.00")]),
        (["1.255"], "decimal(9,2)", "string", ["1.255"]),
        (["1e400"], "number", "string", ["1e400"]),
        (["1" + "0" * 5000], "integer", "string", ["1" + "0" * 5000]),
        (["true", "null"], None, "bool", [True, None]),
        (["true", "1"], "boolean", "string", ["true", "1"]),
        (['"1"', "1"], "string", "string", ['"1"', "1"]),
        (['"\\u0041\\ud83d\\ude00"'], None, "string", ["A\U0001f600"]),
        (["null", "null"], None, "string", [None, None]),
        (["[1]", "[]", "null"], None, "list<element: int64>", [[1], [], None]),
        (['{"x":1}', '{"x":null}', "null"], None, "struct<x: int64>", [{"x": 1}, {"x": None}, None]),
        (
            ['{"x":1}', '{"y":"z"}'],
            None,
            "struct<x: int64, y: string>",
            [{"x": 1, "y": None}, {"x": None, "y": "z"}],
        ),
        (
            ['[{"x":[1,null]},null]'],
            None,
            "list<element: struct<x: list<element: int64>>>",
            [[{"x": [1, None]}, None]],
        ),
        (["{}"], None, "string", ["{}"]),
        (['{"x":1}', "7"], None, "string", ['{"x":1}', "7"]),
        (["[1]", '["a"]'], None, "list<element: string>", [["1"], ['"a"']]),
        (['"2024-01-01T00:00:00Z"', '""'], "timestamp", "string", ["2024-01-01T00:00:00Z", ""]),
        (['"2024-01-01T00:00:00.1234567Z"'], "timestamp", "string", ["2024-01-01T00:00:00.1234567Z"]),
    ],
)
def test_a_column_holds_every_value_as_it_was_sent(
    values: list[str], declared: str | None, kind: str, read: list[Any]
) -> None:
    """A wider column where the declared one would change a value; text of JSON where no column holds all."""
    got, got_kind = column([b'{"a":' + value.encode() + b"}" for value in values], declared)
    assert (got_kind, got) == (kind, read)
    assert list(map(str, got)) == list(map(str, read))  # -0.0 is not 0.0, and 1.0 not 1


def test_timestamps_are_instants_or_the_text_that_was_sent() -> None:
    lines = [b'{"a":"2024-02-29T23:59:59.025Z"}', b'{"a":null}']
    instant = datetime.datetime(2024, 2, 29, 23, 59, 59, 25_000, tzinfo=datetime.UTC)
    assert column(lines) == ([instant, None], "timestamp[us, tz=UTC]")
    assert column(lines, timestamps="string") == (["2024-02-29T23:59:59.025Z", None], "string")


def test_what_widens_a_column_is_told_and_nothing_else_is() -> None:
    declared = Shape.of({"struct": {"a": "integer", "b": "string", "c": "timestamp"}})
    _, widened = converted([b'{"a":1.5,"b":"x","d":true}', b'{"a":1,"b":null}'], declared)
    assert widened == [
        Widened(field="a", was="integer", now="number"),
        Widened(field="d", was=None, now="boolean"),
    ]


def test_a_shape_that_has_grown_stays_so_for_the_next_shards() -> None:
    files, converter = Files(), Converter(EMPTY, declared=EMPTY, timestamps="typed")
    assert converter.convert(lambda: [b'{"a":1}'], files.open)
    assert converter.convert(lambda: [b'{"a":1.5}'], files.open)
    assert converter.convert(lambda: [b'{"a":2}'], files.open) == []
    assert pq.read_schema(io.BytesIO(files.content)).field("a").type == pa.float64()


def test_names_that_no_program_would_give_a_field_are_columns_like_others() -> None:
    """Quotes, backslashes and controls; in each depth, with nulls, other kinds and fields that come later."""
    rows: list[dict[str, Any]] = [
        {'a"b': 1, "deep": {"\x00\n": [{"back\\slash": "x"}], "plain": 1}},
        {'a"b': None, "deep": None, "\x1b": True},
        {"deep": {"plain": 2}, "later": {'"': 1.5}},
        {'a"b': 2, "deep": {"\x00\n": [None, {"back\\slash": "y", "new\t": {"x": 1}}], "plain": 3}},
    ]
    table = table_of([json.dumps(row).encode() for row in rows])
    deep = table.column("deep").to_pylist()
    assert table.column('a"b').to_pylist() == [1, None, None, 2]
    assert table.column("\x1b").to_pylist() == [None, True, None, None]
    assert table.column("later").to_pylist() == [None, None, {'"': 1.5}, None]
    assert [one and one["plain"] for one in deep] == [1, None, 2, 3]
    assert deep[3]["\x00\n"] == [None, {"back\\slash": "y", "new\t": {"x": 1}}]


def test_of_a_name_that_is_there_twice_the_last_value_is_kept() -> None:
    assert column([b'{"a":1,"a":2}'])[0] == [2]


def test_row_groups_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.shards.parquet.ROW_GROUP_BYTES", 20_000)
    lines = [json.dumps({"a": number, "b": "x" * 20}).encode() for number in range(5000)]
    files = Files()
    Converter(EMPTY, declared=EMPTY, timestamps="typed").convert(lambda: lines, files.open)
    file = pq.ParquetFile(io.BytesIO(files.content))
    assert file.num_row_groups == 5
    assert file.read().column("a").to_pylist() == list(range(5000))


def test_arrow_takes_its_memory_from_the_one_heap_of_a_run() -> None:
    told = "from harvester.cli.allocator import use_one_arena; use_one_arena(); import pyarrow; "
    told += "print(pyarrow.default_memory_pool().backend_name)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARROW")}
    assert subprocess.check_output([sys.executable, "-c", told], env=environ, text=True) == "system\n"


def test_records_of_more_fields_than_a_table_can_have_are_an_error() -> None:
    line = json.dumps({f"f{number}": number for number in range(10_001)}).encode()
    with pytest.raises(StorageError, match="more than 10000 fields"):
        converted([line])


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.integers(-9, 9),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=3),
        st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000001Z"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), values), min_size=1, max_size=5))
def test_whatever_the_records_are_the_table_holds_them(rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps({"n": number} | row).encode() for number, row in enumerate(rows)]
    fields = Fields()
    fields.add(lines)
    for line, found in zip(lines, table_of(lines).to_pylist(), strict=True):
        same(json.loads(line, parse_float=Decimal), found, fields.shape())


def same(sent: Any, found: Any, shape: Shape) -> None:
    """`found` is what a column of `shape` makes of `sent`, and says the very same."""
    if sent is None:
        assert found is None
        return
    match shape.kind:
        case "json":
            assert json.loads(found, parse_float=Decimal) == sent
        case "struct":
            assert set(sent) <= {name for name, _ in shape.members}
            for name, one in shape.members:
                same(sent.get(name), found[name], one)
        case "list":
            assert shape.item is not None
            for one, other in zip(sent, found, strict=True):
                same(one, other, shape.item)
        case "timestamp":
            assert datetime.datetime.fromisoformat(sent) == found
        case "number":
            assert Decimal(repr(found)) == sent
        case _:
            assert found == sent
            assert type(found) is type(sent) or shape.kind == "decimal"


# In an output


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same records as lines and as tables."""
    folder = tmp_path_factory.mktemp("both")

    async def story(world: World) -> None:
        assert (await world.run(out=folder / "lines")).exit_code == 0
        assert (await world.run(out=folder / "tables", output=PARQUET)).exit_code == 0

    live(folder, story, records=400)
    return folder / "lines", folder / "tables"


def test_duckdb_polars_and_pyarrow_read_what_the_lines_hold(both: tuple[Path, Path]) -> None:
    lines, tables = both
    shape = read_schema(lines, progress=lambda _: None).shape
    sent = {
        row["_id"]: row
        for shard in manifest(lines)["shards"]
        for line in read_lines(lines / shard["path"])
        for row in [json.loads(line, parse_float=Decimal)]
    }
    pattern = str(tables / "dt=*" / "*.parquet")
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    found = db.execute(f"FROM read_parquet('{pattern}', hive_partitioning = false)")
    names = [column[0] for column in found.description or ()]
    readers = {
        "pyarrow": pq.read_table(tables, partitioning=None).to_pylist(),
        "polars": polars.read_parquet(pattern, hive_partitioning=False).to_dicts(),
        "duckdb": [dict(zip(names, row, strict=True)) for row in found.fetchall()],
    }
    for rows in readers.values():
        assert len(rows) == len(sent) == 400
        for row in rows:
            same(sent[row["_id"]], row, shape)


def test_tables_are_hive_partitions_with_the_records_of_the_lines(both: tuple[Path, Path]) -> None:
    lines, tables = both
    counts = duckdb.execute(
        f"SELECT CAST(dt AS VARCHAR), count(*) FROM read_parquet('{tables}/dt=*/*.parquet') GROUP BY ALL"
    ).fetchall()
    assert dict(counts) == {one["partition"]: one["records"] for one in manifest(lines)["partitions"]}
    assert verify(tables).is_good
    assert all(shard["path"].endswith(".parquet") for shard in manifest(tables)["shards"])


def test_the_same_records_have_the_same_bytes_however_they_came(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    """By another concurrency, and in runs that add up: a partition that was begun grows by the lines that
    were kept beside its tables, and nothing is kept of one that is whole."""

    async def story(world: World) -> None:
        for span in (hours(3, 7), hours(5, 30), SPAN):
            outcome = await world.run(span=span, output=PARQUET, transport={"concurrency": 1})
            assert outcome.exit_code == 0
            assert verify(world.out).is_good
            kept = [path.name for path in (world.out / "_harvest/staging").iterdir()]
            assert bool(kept) == (span != SPAN)
            assert all(name.endswith(".jsonl.zst") for name in kept)

    live(tmp_path, story, records=400)
    assert digests(tmp_path / "out") == digests(both[1])


def test_a_stopped_run_leaves_tables_that_the_next_one_completes(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    async def story(world: World) -> None:
        async def stop(harvest: Any) -> None:
            await world.until(lambda: world.windows_done() >= 7)
            harvest.drain("test")

        await world.run(output=PARQUET, with_harvest=stop)
        assert verify(world.out).is_good
        assert (await world.run(output=PARQUET)).exit_code == 0

    live(tmp_path, story, records=400)
    assert digests(tmp_path / "out") == digests(both[1])


def test_columns_that_are_not_as_declared_are_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        declared = Shape.of({"struct": {"EventCount": "boolean", "_id": "string"}})
        await world.run(output=PARQUET | {"columns": declared}, span=hours(0, 24))
        told = {one.field: one for one in world.heard if isinstance(one, events.ColumnWidened)}
        assert (told["EventCount"].was, told["EventCount"].now) == ("boolean", "json")
        assert (told["AgentId"].was, told["AgentId"].now) == ("", "integer")
        assert "_id" not in told

    live(tmp_path, story)


def test_a_table_that_was_damaged_is_named(both: tuple[Path, Path], tmp_path: Path) -> None:
    shard = tmp_path / "part-00000.parquet"
    content = min(both[1].glob("dt=*/*")).read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match=r"part-00000\.parquet: cannot be read"):
        list(read_lines(shard))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ('{"a":1.50,"b":null}', '{"b":null,"a":1.5}', True),
        ('{"a":"2024-01-01T00:00:00.000Z"}', '{"a":"2024-01-01T00:00:00Z"}', True),
        ('{"a":{"x":null}}', '{"a":{}}', True),
        ('{"a":9007199254740993}', '{"a":9007199254740992}', False),
        (f'{{"a":{"9" * 38}}}', f'{{"a":{"9" * 37}8}}', False),
        ('{"a":1e99999999999999999999}', '{"a":1e99999999999999999998}', False),
        ('{"a":1e1000000}', '{"a":10e999999}', True),
        ('{"a":-0}', '{"a":0.0}', True),
        ('{"a":"1"}', '{"a":1}', False),
        ('{"a":[null]}', '{"a":[]}', False),
    ],
)
def test_records_of_tables_are_compared_by_value(one: str, other: str, is_same: bool) -> None:
    assert (canonical(one.encode()) == canonical(other.encode())) is is_same


def test_tables_are_proven_against_the_source_and_a_change_there_is_found(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.run(output=PARQUET, span=hours(0, 24))
        job = world.job(output=PARQUET, span=hours(0, 24))
        verdict = await verify_source(world.out, job, sample=1.0, seed=1, progress=lambda _: None)
        assert (verdict.exit_code, verdict.findings) == (0, [])
        assert verdict.records > 100

    live(tmp_path, story, records=400)


def test_tables_of_sums_are_as_provable_as_others(tmp_path: Path) -> None:
    """A sum's key is its text, and a table gives another text back."""

    async def story(world: World) -> None:
        job: dict[str, Any] = {"dialect": "agent-workstate-rollup", "output": PARQUET}
        outcome = await world.run(**job)
        assert (outcome.exit_code, outcome.records > 50) == (0, True)
        verdict = verify(world.out)
        assert verdict.is_good, verdict.differences
        assert (await verify_source(world.out, world.job(**job))).exit_code == 0
        assert read_schema(world.out, progress=lambda records: None).records == outcome.records

    live(tmp_path, story, records=2000)


def test_sums_of_one_window_may_stand_in_any_order_in_a_table(tmp_path: Path) -> None:
    """They were ordered by their text, which nobody can see in a table any more."""

    async def story(world: World) -> None:
        await world.run(dialect="agent-workstate-rollup", output=PARQUET)
        told = manifest(world.out)
        shard = told["shards"][0]
        path = world.out / shard["path"]
        table = pq.read_table(path, partitioning=None)
        starts = table["_window_start"].to_pylist()
        at = next(n for n, (one, next_one) in enumerate(pairwise(starts)) if one == next_one)
        order = [*range(at), at + 1, at, *range(at + 2, len(starts))]
        pq.write_table(table.take(order), path)
        content = path.read_bytes()
        shard |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        shutil.rmtree(world.out / "_harvest")
        told.pop("digest")
        (world.out / "_manifest.json").write_text(json.dumps(told))
        vouched = hashlib.sha256((world.out / "_manifest.json").read_bytes()).hexdigest()
        (world.out / "_SUCCESS").write_text(vouched)
        verdict = verify(world.out)
        assert verdict.is_good, verdict.differences

    live(tmp_path, story, records=2000)
