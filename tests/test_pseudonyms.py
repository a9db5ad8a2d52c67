"""Pseudonyms: what becomes of a record, byte by byte; and that no plain value gets past them."""

import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import config
from harvester.dialects import Ask, Page, Reject, load, names_of
from harvester.errors import ConfigError
from harvester.events import FieldNeverSeen, RecordQuarantined
from harvester.job import Job
from harvester.pages import Read
from harvester.pseudonyms import Pseudonyms, Veiled, overlapping
from harvester.records import Held
from harvester.scheduler import Harvest
from harvester.verify import verify
from harvester.verify_source import verify_source
from tests.harvesting import SPAN, HastyClock, World, live, manifest

DOC: Final = Path(__file__).parents[1] / "docs" / "pseudonyms.md"
KEY: Final = "0123456789abcdef0123456789abcdef"
DIGEST: Final = re.compile(rb'"[0-9a-f]{64}"\Z')


def told(message: bytes, key: str = KEY) -> bytes:
    """The pseudonym of a message, by the standard library alone."""
    return b'"' + hmac.new(key.encode(), message, "sha256").hexdigest().encode() + b'"'


def of(paths: str | list[str], record: bytes) -> bytes:
    return Pseudonyms([paths] if isinstance(paths, str) else paths, KEY).record(record)


# --- what a digest is made of


def vectors() -> list[tuple[str, bytes, bytes, bytes]]:
    """Path, value, message and digest, as the document tells them."""
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", DOC.read_text(), re.MULTILINE)
    return [
        (path, value.encode(), message.encode(), digest.encode()) for path, value, message, digest in rows
    ]


@pytest.mark.parametrize(("path", "value", "message", "digest"), vectors())
def test_the_vectors_of_the_document_hold(path: str, value: bytes, message: bytes, digest: bytes) -> None:
    """For whoever makes the same digests elsewhere, to join with the files."""
    names = names_of(path)
    opened = b"".join(b'{"%b":' % name.encode() for name in names)
    record = opened + value + b"}" * len(names)
    assert told(message) == b'"%b"' % digest
    assert of(path, record) == opened + b'"%b"' % digest + b"}" * len(names)


def test_the_document_has_its_vectors_and_the_id_of_their_key() -> None:
    assert len(vectors()) == 12
    own = hmac.new(KEY.encode(), b"harvester: id of a pseudonym key", "sha256").hexdigest()[:16]
    assert Pseudonyms((), KEY).key_id == own
    assert f"The key is `{KEY}`, its id `{own}`" in DOC.read_text()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"\\u0041"', '"A"'),
        ('"\\/"', '"/"'),
        ('"\\ud83d\\ude00"', '"😀"'),
        ("1", "1.0"),
        ("100", "1e2"),
        ("100", "1E+02"),
        ("0.001", "1e-3"),
        ("12300e-2", "123"),
        ("0", "-0.0e7"),
        ("123456789012345678901234567890", "123456789012345678901234567890.0"),
    ],
)
def test_a_value_is_what_it_says_and_not_how_it_is_spelt(one: str, other: str) -> None:
    assert of("F", b'{"F":%b}' % one.encode()) == of("F", b'{"F":%b}' % other.encode())


def test_values_that_differ_differ() -> None:
    """Kinds, near numbers beyond what a float tells apart, fields, and names that meet their values."""
    spelt = ["1", '"1"', "-1", "10", "0", "0.1", "true", '"true"', "false", '""', '" "', '"null"']
    spelt += ["1e400", "1e401", "123456789012345678901234567890", "123456789012345678901234567891"]
    made = [of("F", b'{"F":%b}' % value.encode()) for value in spelt]
    names = [("A", b'{"A":"x"}'), ("B", b'{"B":"x"}'), ("A.B", b'{"A":{"B":"x"}}'), (r"A\.B", b'{"A.B":"x"}'),
             ("1:A,s", b'{"1:A,s":"x"}'), ("A", b'{"A":"s1:A,sx"}')]  # fmt: skip
    made += [of(path, record) for path, record in names]
    digests = {re.findall(rb"[0-9a-f]{64}", one)[0] for one in made}
    assert len(digests) == len(spelt) + len(names)


def test_an_exponent_beyond_counting_is_taken_as_it_is_spelt() -> None:
    value = b"1e" + b"9" * 5000
    assert of("F", b'{"F":%b}' % value) == b'{"F":%b}' % told(b"1:F,n" + value)


# --- where it is replaced


@pytest.mark.parametrize(
    ("paths", "record", "expected"),
    [
        ("F", b'{ "F" : "x" , "G" : 1.50 }', b'{ "F" : %b , "G" : 1.50 }'),
        ("F", b'{"F":null,"G":"F"}', b'{"F":null,"G":"F"}'),
        ("F", b"{}", b"{}"),
        ("F", b'{"f":"x","FF":"x","G":{"F":"x"}}', b'{"f":"x","FF":"x","G":{"F":"x"}}'),
        ("F", b'{"F":"x","G":0,"F":"x"}', b'{"F":%b,"G":0,"F":%b}'),
        ("F", b'{"\\u0046":"x","F":"\\u0078"}', b'{"\\u0046":%b,"F":%b}'),
        ("F", b'{"G":"\\"F\\":\\"x\\"","F":"x"}', b'{"G":"\\"F\\":\\"x\\"","F":%b}'),
        ("F", b'{"G":"\\\\","F":"x"}', b'{"G":"\\\\","F":%b}'),
        ("F", b'{"G":[{"F":"x"},"}"],"F":"x"}', b'{"G":[{"F":"x"},"}"],"F":%b}'),
        ("F", b'{"F":["x",null,["x"]]}', b'{"F":[%b,null,[%b]]}'),
        ("F", b'{"F":[ ],"G":{}}', b'{"F":[ ],"G":{}}'),
        ("G.F", b'{"G":{"F":"x"},"F":"x"}', b'{"G":{"F":%b},"F":"x"}'),
        ("G.F", b'{"G":[{"F":"x"},{"H":1},[{"F":"x"}],3]}', b'{"G":[{"F":%b},{"H":1},[{"F":%b}],3]}'),
        ("G.F", b'{"G":"F","G":{"F":"x"}}', b'{"G":"F","G":{"F":%b}}'),
        ("G", b'{"G":{"F":"x"}}', b'{"G":{"F":%b}}'),
        (r"G\.F", b'{"G":{"F":"x"},"G.F":"x"}', b'{"G":{"F":"x"},"G.F":%b}'),
        ("Ä", '{"Ä":"x","A":"x"}'.encode(), '{"Ä":%b,"A":"x"}'.encode()),
    ],
)  # fmt: skip
def test_where_a_path_leads(paths: str, record: bytes, expected: bytes) -> None:
    """Through lists, to each member of that name, and nowhere else."""
    message = b"".join(b"%d:%b," % (len(name.encode()), name.encode()) for name in names_of(paths)) + b"sx"
    if paths == "G":
        message = b"1:G,1:F,sx"
    assert of(paths, record) == expected.replace(b"%b", told(message))


def test_an_object_holds_the_digests_that_its_own_paths_would_give() -> None:
    record = b'{"C":{"P":"1","Q":[{"P":2}],"N":null}}'
    assert of("C", record) == of(["C.P", "C.Q.P"], record) == of(["C", "C.P"], record)


def test_a_record_deeper_than_python_goes_is_no_leak() -> None:
    deep = b'{"F":' + b"[" * 5000 + b'"x"' + b"]" * 5000 + b"}"
    with pytest.raises(RecursionError):
        of("F", deep)
    assert of("G", deep) == deep  # what nobody asks for is passed over without a step down


# --- hypothesis: nothing but those values

NAMES: Final = st.sampled_from(["F", "G", "H", "FF", "", "a b", "ä"])
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
RECORDS: Final = st.dictionaries(NAMES, VALUES, max_size=6)
PATHS: Final = st.lists(
    st.sampled_from(["F", "G", "F.G", "G.F", "G.H.F", "H.FF", "ä"]), min_size=1, unique=True
)


@given(
    record=RECORDS,
    paths=PATHS,
    layout=st.sampled_from([{}, {"indent": 1}, {"separators": (" , ", " : ")}, {"ensure_ascii": False}]),
)
def test_the_record_differs_in_nothing_but_those_values(
    record: dict[str, Any], paths: list[str], layout: dict[str, Any]
) -> None:
    """Against a walk over the parsed record that shares nothing with the one over its bytes."""
    raw = json.dumps(record, **layout).encode()
    plain = json.dumps(_marked(record, [tuple(path.split(".")) for path in paths]), **layout).encode()
    expected = re.sub(
        rb'"\\u0000(?:[^"\\]|\\.)*"', lambda mark: told(bytes.fromhex(json.loads(mark[0])[1:])), plain
    )
    assert of(paths, raw) == expected
    assert of("never.there", raw) == raw


def _marked(value: Any, paths: list[tuple[str, ...]], here: tuple[str, ...] = ()) -> Any:
    """Each value that is to be replaced becomes NUL and its message in hexadecimal."""
    if isinstance(value, dict):
        return {name: _marked(one, paths, (*here, name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_marked(one, paths, here) for one in value]
    if value is None or not any(here[: len(path)] == path for path in paths):
        return value
    return (
        "\0" + (b"".join(b"%d:%b," % (len(n.encode()), n.encode()) for n in here) + _told_value(value)).hex()
    )


def _told_value(value: Any) -> bytes:
    if isinstance(value, str):
        return b"s" + value.encode()
    if isinstance(value, bool):
        return b"btrue" if value else b"bfalse"
    sign, digits, exponent = Decimal(json.dumps(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    assert isinstance(exponent, int)
    if not kept:
        return b"n0e0"
    return f"n{'-' * sign}{kept}e{exponent + len(text) - len(kept)}".encode()


@given(one=SCALARS, other=SCALARS)
def test_two_values_share_a_digest_only_where_they_are_equal(one: Any, other: Any) -> None:
    made = [of("F", json.dumps({"F": value}).encode()) for value in (one, other)]
    equal = (one == other) and (isinstance(one, str), isinstance(one, bool), one is None) == (
        isinstance(other, str), isinstance(other, bool), other is None)  # fmt: skip
    assert (made[0] == made[1]) == equal


# --- the layer

ASK: Final = Ask(start=SPAN.start, end=SPAN.end, limit=10, offset=0, order_by=None)


class Answering:
    def __init__(self, page: Page) -> None:
        self._page = page

    async def send(self, ask: Ask, /) -> Page:
        return self._page


def veiled(page: Page, dialect: str = "interactions", paths: tuple[str, ...] = ("ANI",)) -> Page:
    return anyio.run(Veiled(Answering(page), load(dialect), Pseudonyms(paths, KEY)).send, ASK)


@pytest.mark.parametrize("size", [1, 5000], ids=["on the loop", "in a thread"])
def test_a_page_comes_up_with_its_fields_replaced(size: int) -> None:
    row = (SPAN.start, "k", "v", b'{"_id":"k","ANI":"x"}')
    page = veiled(Page(rows=[row] * size, received_bytes=3, decoded_bytes=4))
    assert page.rows == [(SPAN.start, "k", "v", b'{"_id":"k","ANI":%b}' % told(b"3:ANI,sx"))] * size
    assert (page.received_bytes, page.decoded_bytes) == (3, 4)


def test_what_is_no_record_leaves_its_reason_and_a_keyed_digest() -> None:
    """Not a bare one: whoever tries all phone numbers would find it again."""
    page = veiled(Page(rows=[], rejects=[Reject(reason="no JSON", raw=b'{"ANI":"x"')]))
    digest = told(b'item:{"ANI":"x"')[1:-1]
    assert page.rejects == [Reject(reason="no JSON", raw=b"hmac-sha256 " + digest + b" of 10 bytes")]


def test_a_record_that_cannot_be_walked_is_rejected_and_not_kept_as_it_is() -> None:
    raw = b'{"ANI":' + b"[" * 5000 + b"]" * 5000 + b"}"
    page = veiled(Page(rows=[(SPAN.start, "k", "v", raw)]))
    assert page.rows == []
    assert [reject.reason for reject in page.rejects] == ["nested too deeply"]


def test_the_key_of_a_sum_which_is_its_text_holds_no_plain_value() -> None:
    """It is spilled to disk with the row, and shown by verify."""
    rollup = load("agent-workstate-rollup")
    ask = ASK
    body = b'{"resultCode":0,"data":[{"AgentName":"Ada","Count":1}]}'
    page = rollup.read(body, ask)
    if not page.rows:
        pytest.fail(str(page))
    (time, key, version, raw), = veiled(page, "agent-workstate-rollup", ("AgentName",)).rows  # fmt: skip
    assert b"Ada" not in bytes(raw)
    assert "Ada" not in str(key)
    assert (time, key, version, raw) == rollup.row(bytes(raw))


# --- the job

JOB: Final = """
[source]
base_url = "http://localhost:1"
[span]
start = 2024-01-01T00:00:00Z
end = 2024-01-02T00:00:00Z
[output]
pseudonymise = {fields}
"""


@pytest.fixture
def job_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    monkeypatch.chdir(tmp_path)

    def made(fields: str = '["ANI"]', *sets: str, environ: dict[str, str] | None = None) -> Job:
        (tmp_path / "job.toml").write_text(JOB.format(fields=fields))
        known = {"HARVESTER_PSEUDONYM_KEY": KEY} if environ is None else environ
        loaded = config.load(Path("job.toml"), sets=sets, environ={})
        return config.job_of(loaded, now=datetime.now(UTC), environ=known)

    return made


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (None, "HARVESTER_PSEUDONYM_KEY is not set"),
        ("", "HARVESTER_PSEUDONYM_KEY is empty"),
        (" \n", "HARVESTER_PSEUDONYM_KEY is empty"),
        ("k" * 31, "has 31 characters, at least 32 are needed"),
        ("k" * 31 + "ü", "is not printable ASCII"),
        ("k" * 16 + "\x00" + "k" * 16, "is not printable ASCII"),
    ],
)
@pytest.mark.parametrize("place", ["env", "file"])
def test_a_key_that_is_none_is_named_and_never_repeated(
    held: str | None, words: str, place: str, job_of: Callable[..., Job], tmp_path: Path
) -> None:
    if held is not None:
        (tmp_path / "key").write_text(held)
    sets = ["output.pseudonym_key_file=key"] if place == "file" else []
    environ = {} if held is None or place == "file" else {"HARVESTER_PSEUDONYM_KEY": held}
    with pytest.raises(ConfigError) as caught:
        job_of('["ANI"]', *sets, environ=environ)
    message = str(caught.value)
    assert f"output.pseudonym_key_{place}: " in message
    assert "kkk" not in message
    if place == "env":
        assert words in message
    else:
        expected = words.replace("HARVESTER_PSEUDONYM_KEY is not set", "key does not exist")
        assert expected.replace("HARVESTER_PSEUDONYM_KEY", "key") in message


def test_a_key_from_a_file_is_the_key_from_the_environment(
    job_of: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"  {KEY}\n")
    by_file = job_of('["ANI"]', "output.pseudonym_key_file=key", environ={})
    assert by_file.fingerprint == job_of().fingerprint


def test_two_places_for_the_key_in_one_layer_are_one_too_many(job_of: Callable[..., Job]) -> None:
    with pytest.raises(ConfigError, match=r"pseudonym_key_file: is given beside output\.pseudonym_key_env"):
        job_of('["ANI"]', "output.pseudonym_key_file=key", "output.pseudonym_key_env=K")


def test_the_key_makes_the_job_and_stands_nowhere_in_it(job_of: Callable[..., Job]) -> None:
    one, other = job_of(), job_of(environ={"HARVESTER_PSEUDONYM_KEY": KEY[::-1]})
    assert one.fingerprint["pseudonym_key"] == Pseudonyms((), KEY).key_id
    assert one.fingerprint != other.fingerprint
    assert job_of('["ANI", "DNIS"]').fingerprint == job_of('["DNIS", "ANI"]').fingerprint
    assert "pseudonym_key" not in job_of("[]").fingerprint, "outputs of before would belong to another job"
    assert KEY not in repr(one)
    assert KEY not in repr(vars(one.pseudonyms))


def test_a_filter_of_plain_values_is_a_digest_in_the_fingerprint(job_of: Callable[..., Job]) -> None:
    made = [job_of('["ANI"]', f"source.filter={{ANI='{ani}'}}").fingerprint for ani in ("+1555", "+1556")]
    assert "+1555" not in str(made)
    assert made[0]["filter"] != made[1]["filter"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ('["_id"]', "_id is the key of a record"),
        ('["StartedDateTimeUtc"]', "StartedDateTimeUtc is the date"),
        ('["RecordWrittenAtUtc"]', "RecordWrittenAtUtc is the version"),
        ('["_id.x"]', "_id is the key of a record"),
        ('["_window_start"]', "written by harvester itself"),
        ('["a..b"]', "is no path of a field"),
        ('["ANI", "ANI"]', "twice"),
        ('"ANI"', "a list of texts is needed"),
    ],
)
def test_a_field_that_may_not_be_replaced(fields: str, words: str, job_of: Callable[..., Job]) -> None:
    with pytest.raises(ConfigError) as caught:
        job_of(fields)
    assert "output.pseudonymise: " in str(caught.value)
    assert words in str(caught.value)


def test_a_field_that_is_not_asked_for_is_a_mistake(job_of: Callable[..., Job]) -> None:
    job_of('["ANI"]', "source.fields=['ANI']")
    with pytest.raises(ConfigError, match=r'"AN1" is not among source\.fields'):
        job_of('["AN1"]', "source.fields=['ANI']")


def test_paths_overlap_where_one_holds_the_other() -> None:
    pairs = [("a", "a"), ("a", "a.b"), ("a.b", "a"), ("a.b", "a.c"), ("a", "ab"), (r"a\.b", "a.b")]
    assert [overlapping(*pair) for pair in pairs] == [True, True, True, False, False, False]


def test_without_pseudonyms_no_layer_stands_in_the_way(job_of: Callable[..., Job]) -> None:
    """The hot path does not even ask."""
    for fields, kind in (("[]", Read), ('["ANI"]', Veiled)):
        job = job_of(fields)
        assert type(job.reading(job.dialect, Answering(Page(rows=[])), print)) is kind  # type: ignore[arg-type]


# --- the whole way

FIELDS: Final = ("ANI", "DNIS")


async def plain(world: World) -> tuple[list[bytes], list[bytes]]:
    """The records as the source sends them, and what stands in them at these fields."""
    out = world.out.with_name("plain")
    assert (await world.run(out=out, output={"compression": "none"})).exit_code == 0
    world.heard.clear()
    read = [msgspec.json.decode(line) for line in lines(out)]
    values = {str(one[field]).encode() for one in read for field in FIELDS if one[field] is not None}
    assert len(values) > 20
    return lines(out), sorted(values)


def assert_nowhere(values: list[bytes], world: World) -> None:
    for path in world.out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [value for value in values if value in content], path
    heard = repr(world.heard).encode()
    assert not [value for value in values if value in heard]


def pseudonymised(key: str = KEY, **more: Any) -> dict[str, Any]:
    output = {"pseudonymise": FIELDS, "compression": "none"}
    return {"output": output, "pseudonyms": Pseudonyms((*FIELDS, "AN1"), key), **more}


def lines(out: Path) -> list[bytes]:
    return [line for path in sorted(out.glob("dt=*/*")) for line in path.read_bytes().splitlines()]


def test_an_output_holds_digests_and_is_otherwise_what_the_source_sent(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        sent, values = await plain(world)
        assert (await world.run(**pseudonymised())).exit_code == 0
        assert lines(world.out) == [Pseudonyms(FIELDS, KEY).record(line) for line in sent]
        assert lines(world.out) != sent
        assert_nowhere(values, world)
        assert [event.field for event in world.heard if isinstance(event, FieldNeverSeen)] == ["AN1"]
        verdict = await verify_source(world.out, world.job(**pseudonymised()), clock=HastyClock())
        assert (verdict.exit_code, verdict.records) == (0, 600)
        wrong = await verify_source(world.out, world.job(**pseudonymised(KEY[::-1])), clock=HastyClock())
        assert (wrong.exit_code, set(wrong.counts)) == (4, {"changed"})

    live(tmp_path, story)


def test_tables_hold_the_digests_that_the_lines_would(tmp_path: Path) -> None:
    """Uncompressed statistics, dictionaries and the sealed lines that wait on disk included: no plain value
    stands in any file."""

    async def story(world: World) -> None:
        sent, values = await plain(world)
        output = {"pseudonymise": FIELDS, "format": "parquet", "shard_bytes": 150_000}
        assert (await world.run(**pseudonymised() | {"output": output})).exit_code == 0
        expected = [msgspec.json.decode(Pseudonyms(FIELDS, KEY).record(line)) for line in sent]
        found = [row for path in sorted(world.out.glob("dt=*/*")) for row in pq.read_table(path).to_pylist()]
        for field in FIELDS:
            assert [row[field] for row in found] == [one[field] for one in expected]
        held = {value.decode() for value in values}
        assert not held & {text for row in found for text in row.values() if isinstance(text, str)}
        assert_nowhere(values, world)
        assert verify(world.out).is_good

    live(tmp_path, story)


@pytest.mark.parametrize("damage", ["utf8", "nan", "surrogate", "no_key", "bad_date", "list"])
def test_the_quarantine_holds_no_plain_value(tmp_path: Path, damage: str) -> None:
    async def story(world: World) -> None:
        _, values = await plain(world)
        world.simulator.set_faults([{"record": damage, "one_in": 20}])
        assert (await world.run(**pseudonymised())).exit_code == 3
        items = [
            msgspec.json.decode(line)
            for path in (world.out / "_harvest" / "quarantine").iterdir()
            for line in path.read_bytes().splitlines()
        ]
        assert len(items) == sum(isinstance(event, RecordQuarantined) for event in world.heard) > 10
        assert all(re.fullmatch(r"hmac-sha256 [0-9a-f]{64} of \d+ bytes", item["item"]) for item in items)
        assert_nowhere(values, world)

    live(tmp_path, story)


def test_what_waits_on_disk_holds_no_plain_value(tmp_path: Path) -> None:

    async def story(world: World) -> None:
        _, values = await plain(world)
        spilled: list[bytes] = []

        def found() -> bool:
            spilled.extend(path.read_bytes() for path in world.out.glob("_harvest/staging/spill-*"))
            return any(spilled)

        async def look(harvest: Harvest) -> None:
            await world.until(found)

        held = Held(limit_bytes=1, run_bytes=1)
        outcome = await world.run(with_harvest=look, held=held, **pseudonymised())
        assert outcome.exit_code == 0
        assert any(b"RecordWrittenAtUtc" in content for content in spilled)
        assert not [value for value in values for content in spilled if value in content]
        assert_nowhere(values, world)

    live(tmp_path, story)


def test_a_job_without_its_key_asks_nothing(tmp_path: Path) -> None:
    """Whoever forgets to hand it on gets no plain output by accident."""

    async def story(world: World) -> None:
        with pytest.raises(ConfigError, match="came without its key"):
            await world.run(output={"pseudonymise": FIELDS})
        assert world.requests() == 0
        assert not list(world.out.glob("dt=*"))
        assert manifest(world.out)["records"] == 0

    live(tmp_path, story)
