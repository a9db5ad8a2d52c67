"""What a server says or a record holds is told as one printable line of bounded length, wherever it is told:
in stdout, stderr, manifest, ledger, contract, quarantine and the names of files."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli import main
from harvester.errors import BadPage, ConfigError, HarvesterError, Rejected
from harvester.printable import printable
from tests.echoing import ANSWERS, Server, echoing
from tests.test_secrets import CODES, words_of

HOSTILE: Final = (
    'evil\x1b[2J\x1b]0;title\x07\x9b31m\r\n{"level":"error"}\nharvester: error: all is lost\t\x00\x7f'
    "\u202egnp.exe\u2066\u2069\u061c\u200b\ufeff\u2028\u2029\U000e0041" + "x" * 20_000
)
HALF: Final = "half \ud800 of a pair\x1b[8m"
JOB: Final = """
[source]
base_url = "{url}"
[span]
start = 2024-01-01T00:00:00Z
end = 2024-01-01T01:00:00Z
[fetch]
concurrency = 2
page_size = 20
max_attempts = 1
max_outage_s = 0
[output]
url = "out"
compression = "none"
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with echoing() as serving:
        serving.word = lambda token: HOSTILE
        yield serving


@pytest.fixture(autouse=True)
def _job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_TOKEN", "some-token")
    Path("job.toml").write_text(JOB.format(url=server.url))


def called(*words: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and all that was said, of which each line is printable and not too long."""
    code = main(words)
    said = "".join(capfd.readouterr())
    for line in said.split("\n"):
        assert line.isprintable(), (
            words,
            [letter for letter in line if not letter.isprintable()],
            line[:900],
        )
        assert len(line) < 12_000, (words, len(line))
        assert not line.startswith(("harvester: error: all is lost", '{"level":"error"}'))
    assert "Traceback" not in said
    return code, said


def assert_kept_in_lines(out: Path = Path("out")) -> None:
    """All that lies beside the records: names, and each text in manifest, contract, ledger and quarantine."""
    for path in out.rglob("*"):
        assert path.name.isascii(), path
        assert path.name.isprintable(), path
    texts: list[str] = []
    for path in (out / "_manifest.json", out / "_harvest" / "contract.json"):
        if path.exists():
            texts += _texts(json.loads(path.read_bytes()))
    for path in out.glob("_harvest/quarantine/*"):
        kept = path.read_text()
        assert kept.isascii(), "an item is told in escapes alone"
        texts += [json.loads(line)["reason"] for line in kept.split("\n")[:-1]]
    if (out / "_harvest" / "ledger.sqlite").exists():
        with closing(sqlite3.connect(out / "_harvest" / "ledger.sqlite")) as ledger:
            for (table,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                texts += _texts([list(row) for row in ledger.execute(f"SELECT * FROM {table}").fetchall()])
    for text in texts:
        assert text.isprintable(), text
        assert len(text) <= 4_400


def _texts(told: Any) -> list[str]:
    match told:
        case str():
            return [told]
        case list():
            return [text for one in told for text in _texts(one)]
        case dict():
            return [text for key, one in told.items() for text in (key, *_texts(one))]
        case _:
            return []


@pytest.mark.parametrize("mode", ["good", "items", *ANSWERS])
def test_no_failure_writes_what_the_server_said_as_it_is(
    mode: str, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.mode = mode
    words = ["run", "job.toml", "-vv", "--log-format", "console", "--summary", "summary.json"]
    words += ["--end", "2024-01-01T00:00:00.010Z"] if mode == "400" else []
    assert called(*words, capfd=capfd)[0] in CODES.get(mode, {3, 6})
    assert all(text.isprintable() for text in _texts(json.loads(Path("summary.json").read_bytes())))
    called("status", "out", capfd=capfd)
    if mode != "400":
        called("verify", "out", "--source", "job.toml", capfd=capfd)
        called("probe", "job.toml", capfd=capfd)
    assert_kept_in_lines()


def named(record: bytes, word: str) -> bytes:
    """A field of that name and of that value, at the top and further in; and in the key."""
    spelt = json.dumps(word[:400]).encode()
    key = b'"_id":%s' % json.dumps(f"{word[:300]}{record[8:32].decode()}").encode()
    return record.replace(b'"_id":"%s"' % record[8:32], key).replace(
        b'"ANI"', b'%s:%s,"deep":{%s:[1,"x"]},"ANI"' % (spelt, spelt, spelt)
    )


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_no_command_writes_what_records_hold_as_it_is(
    format: str, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names of fields, values and keys, by each command that there is; and where there is a difference."""
    job = Path("job.toml")
    how = f'format = "{format}"\ncompression = "{"zstd" if format == "parquet" else "none"}"'
    job.write_text(job.read_text().replace('compression = "none"', how))
    server.record = named
    for log in ("json", "console"):
        assert called("run", "job.toml", "-vv", "--log-format", log, capfd=capfd)[0] == 0
    for name in ("status", "verify", "schema", "plan", "config", "probe", "rebuild-ledger"):
        more = ["--force"] if name == "rebuild-ledger" else []
        assert called(*words_of(name), *more, capfd=capfd)[0] == 0, name
        assert called(*words_of(name), "--json", capfd=capfd)[0] in (0, 7), name
    assert_kept_in_lines()
    server.record = lambda record, word: named(record, word).replace(b"15557654321", b"15557654329")
    code, said = called("verify", "out", "--source", "job.toml", capfd=capfd)
    assert (code, "changed" in said, "\\x1b" in said) == (4, True, True)
    server.record = lambda record, word: named(record, word[::-1])
    assert called("verify", "out", "--source", "job.toml", capfd=capfd)[0] == 4
    assert called("run", "job.toml", "-vv", "--repair", capfd=capfd)[0] == 0


def test_a_half_of_a_pair_from_the_server_ends_nothing(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """JSON can spell one, and nothing that is UTF-8 can hold it."""
    server.word = lambda token: HALF
    for mode in ("envelope", "items", "redirect", "no records"):
        server.mode = mode
        code, _ = called("run", "job.toml", "-vv", "--out", mode, capfd=capfd)
        assert code in (3, 6), mode
        assert_kept_in_lines(Path(mode))


def test_names_of_files_that_somebody_else_made_are_told_in_escapes(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beside the shards, in staging and in the quarantine."""
    assert called("run", "job.toml", capfd=capfd)[0] == 0
    name = b"evil\x1b[2J\n\xe2\x80\xae\xff.jsonl"
    for folder in (b"out/dt=2024-01-01", b"out", b"out/_harvest/staging", b"out/_harvest"):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"{}\n")
    os.mkdir(b"out/dt=\x1b[2J\n\xff")
    said = "".join(
        called(*words, capfd=capfd)[1]
        for words in (
            ("verify", "out"),
            ("verify", "out", "--json"),
            ("status", "out"),
            ("rebuild-ledger", "out", "--force"),
            ("rebuild-ledger", "out", "--force", "--json"),
            ("run", "job.toml", "--repair"),
            ("run", "job.toml", "--repair", "--log-format", "console"),
        )
    )
    assert "evil\\x1b[2J\\n" in said


def test_words_of_the_command_line_are_told_in_escapes(capfd: pytest.CaptureFixture[str]) -> None:
    word = HOSTILE[:200].replace("\x00", "")
    for words in (
        ["run", word], ["status", word], ["schema", word], ["verify", word], [word],
        ["run", "job.toml", word],
        ["run", "job.toml", "--set", word], ["run", "job.toml", "--set", f"source.{word}=1"],
        ["run", "job.toml", "--out", word + "\x00"], ["run", "job.toml", f"--{word}"],
        ["run", "job.toml", "--set", f"source.dialect={word}"], ["run", "job.toml", "--start", word],
        ["run", "job.toml", "--max-duration", word], ["run", "job.toml", "--summary", f"{word}/x"],
        ["rebuild-ledger", word], ["plan", "job.toml", "--records", word],
    ):  # fmt: skip
        usage = main(words)
        said = "".join(capfd.readouterr())
        assert usage == 2, words
        assert all(line.isprintable() for line in said.split("\n")), said


# --- the one place


@given(st.text(st.characters()), st.integers(1, 50))
def test_whatever_the_text_it_becomes_printable(text: str, longest: int) -> None:
    told = printable(text, longest)
    assert told.isprintable()
    assert len(told) <= 10 * longest + 20
    assert told == text or not text.isprintable() or len(text) > longest


@pytest.mark.parametrize(
    "error",
    [lambda text: HarvesterError(text), lambda text: ConfigError(text), lambda text: BadPage(text),
     lambda text: Rejected(text, status_code=400)],
)  # fmt: skip
def test_an_error_is_printable_from_the_moment_it_is_made(error: Callable[[str], Exception]) -> None:
    made = error(HOSTILE)
    assert str(made).isprintable()
    assert len(str(made)) <= 4_400
    assert repr(made).isprintable()
