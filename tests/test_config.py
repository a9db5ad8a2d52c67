"""The job file and what goes before it: precedence, origins, and one clear complaint for each mistake."""

import dataclasses
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import config
from harvester.config import kinds, layers
from harvester.config.sections import KEYS
from harvester.errors import ConfigError
from harvester.job import Job
from harvester.windows import Resolution

NOW = datetime(2024, 5, 15, 10, 30, tzinfo=UTC)

JOB = """
[source]
base_url = "https://api.example.com"
[span]
start = 2024-01-01
end = 2024-02-01
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str = JOB, name: str = "job.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def loaded(text: str = JOB, **more: Any) -> config.Config:
    return config.load(written(text), **({"environ": {}} | more))


def job(text: str = JOB, **more: Any) -> Job:
    return config.job_of(loaded(text, **more), now=NOW)


def complaint(text: str = JOB, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        job(text, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def with_setting(key: str, literal: str) -> str:
    """The job with one setting changed or added, where TOML wants it."""
    section, name = key.split(".")
    lines = [line for line in JOB.splitlines() if not line.startswith(f"{name} =")]
    if f"[{section}]" not in lines:
        lines.append(f"[{section}]")
    lines.insert(lines.index(f"[{section}]") + 1, f"{name} = {literal}")
    return "\n".join(lines)


# --- values and where they come from


def test_a_short_job_gets_the_defaults_of_the_rooms() -> None:
    made = job()
    assert made.dialect.name == "interactions"
    assert (made.page_size, made.transport.concurrency, made.transport.max_attempts) == (1000, 16, 8)
    assert (made.transport.auth, made.transport.token_env, made.transport.token_file) == (
        "apikey",
        "HARVESTER_TOKEN",
        None,
    )
    assert made.transport.requests_per_second is None
    assert (made.output.url, made.output.format, made.output.compression) == ("out", "jsonl", "zstd")
    assert (made.output.partition_by, made.output.shard_bytes) == ("day", 134_217_728)
    assert (made.resolution, made.time_zone.key) == (Resolution.HOUR, "UTC")
    assert (made.span.start, made.span.end) == (
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 1, tzinfo=UTC),
    )


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default() -> None:
    text = with_setting("fetch.page_size", "10")
    environ = {"HARVESTER_FETCH__PAGE_SIZE": "20"}
    assert loaded().fetch.page_size == 1000
    assert loaded(text).fetch.page_size == 10
    assert loaded(text, environ=environ).fetch.page_size == 20
    assert loaded(text, environ=environ, sets=["fetch.page_size=30"]).fetch.page_size == 30


def test_each_value_remembers_where_it_came_from() -> None:
    made = loaded(
        with_setting("fetch.page_size", "10"),
        environ={"HARVESTER_FETCH__CONCURRENCY": "2"},
        flags={"output.url": ("--out", "elsewhere")},
        sets=["span.time_zone=Europe/Berlin"],
    )
    told = {key: str(origin) for key, _, origin in config.shown(made)}
    assert list(told) == list(KEYS)
    assert told["fetch.page_size"] == "file job.toml"
    assert told["fetch.concurrency"] == "environment HARVESTER_FETCH__CONCURRENCY"
    assert told["output.url"] == "flag --out"
    assert told["span.time_zone"] == "flag --set"
    assert told["fetch.max_attempts"] == "default"


def test_every_key_can_be_set_in_every_layer(tmp_path: Path) -> None:
    for key in KEYS:
        name = "HARVESTER_" + key.upper().replace(".", "__")
        assert set(layers.from_environment({name: "1"})) == {key}
        assert set(layers.from_flags({}, [f"{key}=1"])) == {key}
        section, leaf = key.split(".")
        assert set(layers.from_file(written(f"[{section}]\n{leaf} = 1"))) == {key}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("1.5", 1.5),
        ("true", True),
        ('"12"', "12"),
        ("plain", "plain"),
        ("https://a.b/c?d=e#f", "https://a.b/c?d=e#f"),
        ("[1, 'two']", [1, "two"]),
        ("{AgentId = 7}", {"AgentId": 7}),
        ("2024-01-01", date(2024, 1, 1)),
        ("2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-02-30", "2024-02-30"),
        ("1\nother = 2", "1\nother = 2"),
        ("[" * 10_000, "[" * 10_000),
        ("a=b", "a=b"),
    ],
)
def test_set_reads_toml_else_text(text: str, value: object) -> None:
    assert layers.from_flags({}, [f"source.filter={text}"])["source.filter"].value == value


def test_of_two_sets_of_one_key_the_last_counts() -> None:
    assert loaded(sets=["fetch.page_size=1", "fetch.page_size=2"]).fetch.page_size == 2


def test_a_variable_without_two_underscores_is_somebody_elses() -> None:
    names = ["HARVESTER_TOKEN", "HARVESTER_HOME", "OTHER__KEY", "HARVESTER_OUTPUT", "HARVESTER_SPANNER_SIZE"]
    names += ["HARVESTER_OUTPUT_SERVICE_HOST", "HARVESTER_OUTPUT_PORT_80_TCP_ADDR", "HARVESTER_OUTPUT_PORT"]
    assert loaded(environ=dict.fromkeys(names, "x")) == loaded()


def test_a_value_of_the_wrong_kind_is_told_whatever_variables_there_are() -> None:
    assert "source.token_env: is a list" in complaint(
        with_setting("source.token_env", "[[1]]"), environ={"HARVESTER_HOME": "x"}
    )


def test_the_tokens_variable_may_be_called_like_a_section() -> None:
    environ = {"HARVESTER_SOURCE_TOKEN": "abc"}
    asked = loaded(environ=environ, sets=["source.token_env=HARVESTER_SOURCE_TOKEN"])
    assert config.token_of(asked, environ) == "abc"


def test_a_job_may_begin_with_a_byte_order_mark() -> None:
    path = Path("job.toml")
    path.write_bytes(b"\xef\xbb\xbf" + JOB.replace("\n", "\r\n").encode())
    assert config.load(path, environ={}).source.base_url == "https://api.example.com"


# --- the span


@pytest.mark.parametrize(
    ("start", "zone", "instant"),
    [
        ("2024-01-01", "UTC", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01", "America/New_York", datetime(2024, 1, 1, 5, tzinfo=UTC)),
        ("2024-01-01T06:00:00", "America/New_York", datetime(2024, 1, 1, 11, tzinfo=UTC)),
        ("2024-01-01T06:00:00-03:00", "America/New_York", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        ('"2024-01-01"', "America/New_York", datetime(2024, 1, 1, 5, tzinfo=UTC)),
        ('"2024-01-01T00:00:00.250Z"', "Asia/Kathmandu", datetime(2024, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_start_without_an_offset_is_on_the_clock_of_the_zone(
    start: str, zone: str, instant: datetime
) -> None:
    assert job(with_setting("span.start", start), sets=[f"span.time_zone={zone}"]).span.start == instant


RELATIVE = """
[source]
base_url = "https://api.example.com"
[span]
from_period = -1
to_period = -1
resolution = "Day"
"""


def test_periods_are_counted_from_the_clock_that_is_handed_in() -> None:
    made = job(RELATIVE)
    assert (made.span.start, made.span.end) == (
        datetime(2024, 5, 14, tzinfo=UTC),
        datetime(2024, 5, 15, tzinfo=UTC),
    )


def test_start_and_end_as_flags_take_the_place_of_periods_in_the_file() -> None:
    made = job(RELATIVE, flags={"span.start": ("--start", "2024-01-01"), "span.end": ("--end", "2024-01-02")})
    assert made.span.start == datetime(2024, 1, 1, tzinfo=UTC)


def test_a_start_alone_changes_the_start_of_the_file() -> None:
    assert job(flags={"span.start": ("--start", "2024-01-15")}).span.start == datetime(
        2024, 1, 15, tzinfo=UTC
    )


def test_a_start_alone_does_not_fit_to_periods() -> None:
    message = complaint(RELATIVE, flags={"span.start": ("--start", "2024-01-15")})
    assert message.startswith("--start: span.start: stands beside span.from_period (file job.toml)")


@pytest.mark.parametrize(
    ("span", "key", "what"),
    [
        ("", "span", "is missing"),
        ("start = 2024-01-01", "span.start", "stands without span.end"),
        ("end = 2024-01-01", "span.end", "stands without span.start"),
        ("from_period = -1", "span.from_period", "stands without span.to_period"),
        (
            "start = 2024-01-01\nend = 2024-01-02\nfrom_period = -1\nto_period = -1",
            "span.from_period",
            "not both",
        ),
        ("start = 2024-01-01\nto_period = -1", "span.to_period", "not both"),
        ("start = 2024-01-02\nend = 2024-01-01", "span.end", "is before span.start"),
        ("start = 2024-01-02\nend = 2024-01-02", "span.end", "is the same instant as span.start"),
        ("start = 0001-01-01\nend = 2024-01-02", "span.start", "years"),
        ("start = 1850-01-01\nend = 2024-01-02", "span.start", "year 1850"),
        ("start = 2024-01-01\nend = 9999-12-31", "span.end", "years"),
        ("start = 2024-01-01\nend = 2300-01-01", "span.end", "year 2300"),
        ("start = 1900-01-01\nend = 2200-01-01", "span.end", "more than 200 years"),
        ('start = "soon"\nend = 2024-01-02', "span.start", "soon"),
        ("start = 12:00:00\nend = 2024-01-02", "span.start", "is a time of day"),
        ("start = 20240101\nend = 2024-01-02", "span.start", "is a whole number"),
        ("start = true\nend = 2024-01-02", "span.start", "is true or false"),
        ("start = 2024-01-01T00:00:00.0005\nend = 2024-01-02", "span.start", "millisecond"),
        ("from_period = -1\nto_period = -2", "span.from_period", "is after"),
        ("from_period = -1000000\nto_period = -1\nresolution = 'Day'", "span.from_period", ""),
        ("from_period = -99999999999\nto_period = -1", "span.from_period", "too small"),
        ("from_period = -1.0\nto_period = -1", "span.from_period", "is a decimal number"),
    ],
)
def test_a_span_that_cannot_be(span: str, key: str, what: str) -> None:
    message = complaint(f'[source]\nbase_url = "https://api.example.com"\n[span]\n{span}\n')
    assert message.startswith(f"job.toml: {key}: ")
    assert what in message


# --- unknown keys


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[fetch]\npagesize = 1", "fetch.page_size"),
        ("[fetch]\nshard_bytes = 1", "output.shard_bytes"),
        ("[feth]\npage_size = 1", "[fetch]"),
        ("page_size = 1", "fetch.page_size"),
        ("[source.fetch]\npage_size = 1", ""),
        ("[[fetch]]\npage_size = 1", "[fetch]"),
        ("fetch = 1", "[fetch]"),
        ("[fetch]\nPage_Size = 1", "fetch.page_size"),
        ("[source]\ntoken = 'abc123'", "source.token_env"),
        ('[source]\n"\\u001b[31m" = 1', ""),
    ],
)
def test_an_unknown_key_in_the_file_names_the_nearest(text: str, near: str) -> None:
    message = complaint(text)
    assert message.startswith("job.toml: ")
    assert near in message
    assert "abc123" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("HARVESTER_FETCH__PAGESIZE", "HARVESTER_FETCH__PAGE_SIZE"),
        ("HARVESTER_FETCH__page_size", "HARVESTER_FETCH__PAGE_SIZE"),
        ("HARVESTER__FETCH_PAGE_SIZE", "HARVESTER_FETCH__PAGE_SIZE"),
        ("HARVESTER_OUT__URL", "HARVESTER_OUTPUT__URL"),
        ("HARVESTER_FETCH_CONCURRENCY", "HARVESTER_FETCH__CONCURRENCY"),
        ("HARVESTER_FETCH_CONCURENCY", "HARVESTER_FETCH__CONCURRENCY"),
        ("HARVESTER_SPAN_START", "HARVESTER_SPAN__START"),
        ("HARVESTER_OUTPUT_URL", "HARVESTER_OUTPUT__URL"),
    ],
)
def test_an_unknown_variable_names_the_nearest(name: str, near: str) -> None:
    assert complaint(environ={name: "1"}) == f"{name}: unknown key; did you mean {near}?"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("fetch.pagesize=1", "fetch.page_size"),
        ("page_size=1", "fetch.page_size"),
        ("fetch.page_size.x=1", "fetch.page_size"),
        ("=1", "names no key"),
        ("fetch.page_size", "write --set section.key=value"),
        ("fetch.page_size=", "is empty"),
        ("fetch.page_size=  ", "is empty"),
    ],
)
def test_a_set_that_cannot_be(given: str, near: str) -> None:
    message = complaint(sets=[given])
    assert message.startswith("--set: ")
    assert near in message


def test_a_flag_and_a_set_of_the_same_key_contradict_each_other() -> None:
    message = complaint(flags={"output.url": ("--out", "a")}, sets=["output.url=b"])
    assert message == "--out: output.url: is given twice, by --out and by --set; leave one out"


def test_an_empty_flag_or_variable_is_a_mistake() -> None:
    assert "is empty" in complaint(flags={"output.url": ("--out", " ")})
    assert "is empty" in complaint(environ={"HARVESTER_OUTPUT__URL": ""})


# --- values that cannot be


@pytest.mark.parametrize(
    ("key", "literal", "what"),
    [
        ("fetch.page_size", "0", "too small; at least 1"),
        ("fetch.page_size", "-5", "too small"),
        ("fetch.page_size", "true", "is true or false, a whole number is needed"),
        ("fetch.page_size", "10.0", "is a decimal number"),
        ("fetch.page_size", '"10"', "is text"),
        ("fetch.page_size", "1000001", "too large; at most 1_000_000"),
        ("fetch.page_size", "9" * 30, "too large"),
        ("fetch.page_size", "0x" + "f" * 4000, "is beyond measure, too large"),
        ("fetch.concurrency", "0", "too small"),
        ("fetch.concurrency", "1_000_000", "too large"),
        ("fetch.requests_per_second", "0", "is 0, too small; more than 0"),
        ("fetch.requests_per_second", "-1", "too small"),
        ("fetch.requests_per_second", "nan", "no number to count with"),
        ("fetch.requests_per_second", "inf", "no number to count with"),
        ("fetch.requests_per_second", "true", "is true or false"),
        ("fetch.request_timeout_s", "0", "is 0"),
        ("fetch.request_timeout_s", '"60"', "is text, a number is needed"),
        ("fetch.max_attempts", "0", "too small"),
        ("fetch.max_outage_s", "-0.1", "too small"),
        ("source.token_wait_s", "1e300", "too large"),
        ("output.shard_bytes", "0", "too small"),
        ("output.shard_bytes", "99999999999999", "too large"),
        ("output.compression", '"zst"', 'is not one of zstd, gzip, none; did you mean "zstd"?'),
        ("output.partition_by", '"hour"', "is not one of day, month"),
        ("output.url", "5", "is a whole number, text is needed"),
        ("output.url", '""', "is empty"),
        ("output.url", '"a\\u0000b"', "control character"),
        ("output.url", '"ftp://x/y"', "not a place to write to"),
        ("span.time_zone", '"Europe/Berlim"', "Europe/Berlin"),
        ("span.time_zone", '"../../etc/passwd"', ""),
        ("span.resolution", '"Minute"', "is not one of QuarterHour, Hour, Day"),
        ("span.resolution", '"quarter_hour"', 'did you mean "QuarterHour"?'),
        ("source.auth", '"basic"', "is not one of"),
        ("source.base_url", '"https://"', "no host"),
        ("source.base_url", '"https:///path"', "no host"),
        ("source.base_url", '"api.example.com"', "https://"),
        ("source.base_url", '"ftp://api.example.com"', "https://"),
        ("source.base_url", '"http://api.example.com"', "another machine"),
        ("source.base_url", '"http://127.0.0.1.example.com"', "another machine"),
        ("source.base_url", '"https://me:secret@api.example.com"', "password"),
        ("source.base_url", '"https://me:sec/ret@api.example.com:x"', "password"),
        ("source.base_url", '"https://api.example.com?a=b"', "query"),
        ("source.base_url", '"https://api.example.com:99999"', "no URL"),
        ("source.base_url", '"https://api example.com"', "blank"),
        ("source.dialect", '"interaction"', "interactions"),
        ("source.dialect", '"own.toml"', "own.toml"),
        ("source.token_env", '"sk-12345"', "not the name of an environment variable"),
        ("source.fields", '"AgentId"', "a list of texts is needed"),
        ("source.fields", "[1]", "is a whole number, text is needed"),
        ("source.fields", '["a", "a"]', "twice"),
        ("source.queues", "[true]", "holds true or false"),
        ("source.queues", "[1.5]", "holds a decimal number"),
        ("source.filter", '"AgentId"', "a table is needed"),
        ("source.filter", "[1]", "a table is needed"),
        ("source.filter", "{a = nan}", "JSON"),
        ("source.filter", "{a = 2024-01-01}", "JSON"),
    ],
)
def test_a_value_that_cannot_be(key: str, literal: str, what: str) -> None:
    message = complaint(with_setting(key, literal))
    assert message.startswith(f"job.toml: {key}: ")
    assert what in message
    assert "secret" not in message
    assert "sk-12345" not in message


@pytest.mark.parametrize(
    ("key", "literal"),
    [
        ("output.url", '"s3://bucket/prefix"'),
        ("output.url", '"gs://bucket"'),
        ("output.url", '"az://container/x"'),
    ],
)
def test_what_a_later_version_will_do_is_refused_and_not_ignored(key: str, literal: str) -> None:
    message = complaint(with_setting(key, literal))
    assert message.startswith(f"job.toml: {key}: not available in this version: ")
    assert "; use " in message


def test_the_complaint_names_the_layer_that_the_value_stands_in() -> None:
    assert complaint(environ={"HARVESTER_FETCH__PAGE_SIZE": "0"}).startswith(
        "HARVESTER_FETCH__PAGE_SIZE: fetch.page_size: "
    )
    assert complaint(sets=["fetch.page_size=0"]).startswith("--set: fetch.page_size: ")
    assert complaint(flags={"span.end": ("--end", "2023-01-01")}).startswith("--end: span.end: is before")


def test_a_base_url_must_be_given() -> None:
    assert complaint("[span]\nstart = 2024-01-01\nend = 2024-01-02").startswith(
        "job.toml: source.base_url: is missing"
    )


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.1.2.3"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert job(with_setting("source.base_url", f'"http://{host}"')).transport.base_url == f"http://{host}"


@given(
    st.integers() | st.floats() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)
def test_a_number_is_a_finite_number_within_its_bounds_or_a_complaint(value: object) -> None:
    for kind in (kinds.whole(1, 100), kinds.decimal(100.0)):
        try:
            read = kind(value)
        except kinds.Wrong:
            continue
        else:
            assert 0 < read <= 100
            assert not isinstance(value, bool | str)


# --- the file itself


def test_a_job_file_that_cannot_be_read() -> None:
    def told(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            config.load(path, environ={})
        return str(caught.value)

    Path("folder").mkdir()
    Path("latin.toml").write_bytes(b"# caf\xe9")
    Path("broken.toml").write_text("[source\n")
    Path("deep.toml").write_text("a = " + "[" * 5000)
    Path("twice.toml").write_text("[fetch]\npage_size = 1\npage_size = 2\n")
    assert told(Path("none.toml")).startswith("none.toml: no such file")
    assert told(Path("folder")).startswith("folder: is a folder")
    assert told(Path("latin.toml")).startswith("latin.toml: is not UTF-8")
    assert told(Path("broken.toml")).startswith("broken.toml: is not valid TOML: ")
    assert "line 1" in told(Path("broken.toml"))
    assert told(Path("deep.toml")).startswith("deep.toml: is n")
    assert told(Path("twice.toml")).startswith("twice.toml: is not valid TOML")


# --- the output


def test_an_output_that_is_a_file_or_lies_below_one() -> None:
    Path("taken").write_text("")
    assert "is a file" in complaint(with_setting("output.url", '"taken"'))
    assert "lies below taken, which is a file" in complaint(with_setting("output.url", '"taken/below"'))


def test_an_output_beginning_with_a_tilde_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/me")
    assert job(with_setting("output.url", '"~/out"')).output.url == "/home/of/me/out"


# --- the dialect


def test_a_dialect_of_ones_own_is_found_beside_the_job_file_then_from_here(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[1] / "config" / "sources" / "interactions.toml"
    Path("jobs").mkdir()
    Path("here.toml").write_bytes(shipped.read_bytes())
    Path("jobs/beside.toml").write_bytes(shipped.read_bytes())
    for name in ("here", "beside"):
        path = written(with_setting("source.dialect", f'"{name}.toml"'), "jobs/job.toml")
        assert config.job_of(config.load(path, environ={}), now=NOW).dialect.name == name
    with pytest.raises(ConfigError):  # a flag is typed here, so it means here
        config.job_of(config.load(path, environ={}, sets=["source.dialect=beside.toml"]), now=NOW)


def test_what_the_dialect_has_no_place_for_is_named() -> None:
    message = complaint(sets=["source.dialect=agent-workstate-rollup", "source.order_by=AgentId"])
    assert message.startswith("--set: source.order_by: ")
    assert "agent-workstate-rollup" in message


def test_sums_over_whole_hours_are_not_asked_for_half_hours() -> None:
    rollup = "source.dialect=agent-workstate-rollup"
    message = complaint(sets=[rollup, "span.start=2024-01-01T00:30:00Z"])
    assert "span.start: 2024-01-01T00:30:00+00:00 lies inside a window of Hour" in message
    assert job(sets=[rollup, "span.start=2024-01-01T03:00:00Z"]).fingerprint["resolution"] == "Hour"
    assert job(sets=["span.start=2024-01-01T00:30:00Z"]).fingerprint["resolution"] is None


def test_sums_are_asked_for_by_whole_windows() -> None:
    rollup = ["source.dialect=agent-workstate-rollup", "span.end=2024-01-01T12:30:00Z"]
    assert job(sets=[*rollup, "span.resolution=QuarterHour"]).dialect.membership == "window"
    assert complaint(sets=rollup).startswith(
        "--set: span.end: 2024-01-01T12:30:00+00:00 lies inside a window of Hour"
    )


def test_selections_reach_the_dialect() -> None:
    made = job(sets=["source.queues=[12]", 'source.filter={"AgentId": 7}', "source.fields=['ANI']"])
    assert made.dialect.selection.queues == (12,)
    assert made.dialect.selection.filter == {"AgentId": 7}
    assert "ANI" in (made.dialect.selection.fields or ())
    assert "_id" in (made.dialect.selection.fields or ())


# --- what makes it this job


SAME = {
    *("span.start", "span.end", "span.from_period", "span.to_period", "span.resolution", "output.url"),
    "source.ca_file",
    *("output.pseudonym_key_env", "output.pseudonym_key_file"),
    *("source.order_by", "source.auth", "source.token_env", "source.token_file", "source.token_wait_s"),
}
OTHER = {
    "source.dialect": "messages",
    "source.base_url": "https://other.example.com",
    "source.fields": "['ANI']",
    "source.queues": "[12]",
    "source.filter": "{AgentId = 7}",
    "source.date_field": "EndedDateTimeUtc",
    "span.time_zone": "Europe/Berlin",
    "output.compression": "gzip",
    "output.partition_by": "month",
    "output.shard_bytes": "1000",
    "output.pseudonymise": "['ANI']",
}


@pytest.mark.parametrize("key", OTHER)
def test_another_job_has_another_fingerprint(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_PSEUDONYM_KEY", "k" * 32)
    assert job(sets=[f"{key}={OTHER[key]}"]).fingerprint != job().fingerprint


def test_columns_of_another_kind_make_another_job(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"struct": {"_id": "string"}}')
    as_tables = ["output.format=parquet"]
    told = [
        job(sets=[*as_tables, *more]).fingerprint
        for more in ([], ["output.timestamps=string"], [f"output.schema={schema}"])
    ]
    assert all(one != other for one, other in zip(told, [*told[1:], job().fingerprint], strict=True))
    assert dict(job(sets=as_tables).output.columns.members)["EventCount"].kind == "integer"


@pytest.mark.parametrize(
    ("sets", "what"),
    [
        (["output.timestamps=string"], 'output.timestamps: is for output.format = "parquet"'),
        (["output.format=parquet", "output.compression=gzip"], "output.compression: parquet is always"),
        (["output.format=parquet", "output.schema=nowhere.json"], "output.schema: "),
        (["output.format=parquet", "output.schema=/dev/null"], "is no schema"),
    ],
)
def test_settings_that_columns_do_not_have_are_told(sets: list[str], what: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(what)):
        job(sets=sets)


def test_a_field_that_is_pseudonymised_is_a_column_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_PSEUDONYM_KEY", "k" * 32)
    columns = job(sets=["output.format=parquet", "output.pseudonymise=['AgentId']"]).output.columns
    assert dict(columns.members)["AgentId"].kind == "string"


def test_how_fast_and_how_much_make_no_other_job() -> None:
    same = job(
        sets=[
            "span.start=2024-01-02",
            "span.resolution=Day",
            "fetch.page_size=10",
            "fetch.concurrency=1",
            "fetch.requests_per_second=5",
            "source.order_by=_id",
            "source.auth=bearer",
            "source.token_env=OTHER",
            "output.url=elsewhere",
            "source.base_url=https://API.example.com:443/",
        ]
    )
    assert same.fingerprint == job().fingerprint


def test_each_key_either_makes_another_job_or_does_not() -> None:
    of_columns = {"output.format", "output.timestamps", "output.schema"}
    assert set(KEYS) == SAME | set(OTHER) | of_columns | {key for key in KEYS if key.startswith("fetch.")}


def test_an_empty_filter_is_the_same_job_as_none() -> None:
    assert job(sets=["source.filter={}"]).fingerprint == job().fingerprint


def test_the_fingerprint_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "HARVESTER_TOKEN" not in str(job().fingerprint)


# --- the token


def token(text: str = JOB, *, environ: dict[str, str] | None = None, **more: Any) -> str | None:
    return config.token_of(loaded(text, **more), environ or {})


def no_token(text: str = JOB, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        token(text, **more)
    return str(caught.value)


def test_the_token_comes_from_the_environment_or_a_file() -> None:
    Path("token").write_text(" abc\n")
    assert token(environ={"HARVESTER_TOKEN": "abc"}) == "abc"
    assert token(sets=["source.token_env=OTHER"], environ={"OTHER": "abc"}) == "abc"
    assert token(sets=["source.token_file=token"]) == "abc"
    assert token(sets=["source.auth=none"]) is None
    Path("token").write_bytes(b"\xef\xbb\xbfabc\r\n")  # as an editor on Windows leaves it
    assert token(sets=["source.token_file=token"]) == "abc"


def test_a_token_that_is_missing_or_cannot_be_one_is_never_repeated() -> None:
    Path("empty").write_text("\n")
    Path("odd").write_bytes(b"abc\ndef")
    Path("large").write_bytes(b"a" * 100_000)
    Path("folder").mkdir()
    assert "HARVESTER_TOKEN is not set" in no_token()
    assert "HARVESTER_TOKEN is empty" in no_token(environ={"HARVESTER_TOKEN": " "})
    assert "abc" not in no_token(environ={"HARVESTER_TOKEN": "abc\x00def"})
    assert no_token(environ={"HARVESTER_TOKEN": "abc def"}).startswith("job.toml: source.token_env: ")
    assert "has a space" in no_token(environ={"HARVESTER_TOKEN": "abc def"})
    assert "100,000 characters" in no_token(environ={"HARVESTER_TOKEN": "a" * 100_000})
    assert token(environ={"HARVESTER_TOKEN": "a" * 4000}) == "a" * 4000
    assert "does not exist" in no_token(sets=["source.token_file=none"])
    assert "is empty" in no_token(sets=["source.token_file=empty"])
    assert "abc" not in no_token(sets=["source.token_file=odd"])
    assert "too large" in no_token(sets=["source.token_file=large"])
    assert "is a folder" in no_token(sets=["source.token_file=folder"])
    assert "a62deb3372ffcd" not in no_token(sets=["source.token_env=a62deb3372ffcd"])


def test_a_token_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    Path("token").write_text("abc")
    asked = loaded(sets=["source.token_file=token"])
    monkeypatch.setattr(Path, "open", locked)  # root may read everything
    with pytest.raises(
        ConfigError, match=r"^--set: source\.token_file: token cannot be read: Permission denied"
    ):
        config.token_of(asked, {})


def test_two_tokens_in_one_layer_are_one_too_many() -> None:
    text = with_setting("source.token_env", '"A"').replace("[span]", 'token_file = "b"\n[span]')
    assert complaint(text).startswith("job.toml: source.token_file: is given beside source.token_env")


def test_a_token_file_from_above_takes_the_place_of_the_variable_in_the_file() -> None:
    made = job(with_setting("source.token_env", '"A"'), environ={"HARVESTER_SOURCE__TOKEN_FILE": "b"})
    assert (made.transport.token_env, made.transport.token_file) == (None, Path("b"))


def test_a_token_file_is_found_beside_the_job_file() -> None:
    Path("jobs").mkdir()
    Path("jobs/token").write_text("abc")
    asked = config.load(written(with_setting("source.token_file", '"token"'), "jobs/job.toml"), environ={})
    assert config.token_of(asked, {}) == "abc"
    assert config.job_of(asked, now=NOW).transport.token_file == Path("jobs/token")


def test_shown_settings_hold_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "abc" not in str(config.shown(loaded(environ={"HARVESTER_TOKEN": "abc"})))


def test_a_job_is_a_value() -> None:
    assert dataclasses.is_dataclass(job())
