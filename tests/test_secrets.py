"""The token and the key of the pseudonyms are sought after every command and every failure: in all bytes and
names of files, in stdout, stderr and the summary, and in what the system shows of the process."""

import base64
import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec
import pytest

from harvester.cli import main
from harvester.cli.commands import COMMANDS
from harvester.cli.suspects import looks_secret
from harvester.dialects import Reject
from harvester.errors import SourceError
from harvester.job import Outcome
from harvester.scheduler import Harvest
from harvester.transport.auth import Secret
from harvester.transport.blot import Blotter
from tests.echoing import ANSWERS, CALLER, Server, echoing

TOKEN: Final = "Canary+7f3a/9c1e5d8b2046=="
KEY: Final = "PseudonymKeyCanary-0123456789abcdef"
JOB: Final = """
[source]
base_url = "{url}"
[span]
start = 2024-01-01T00:00:00Z
end = 2024-01-01T01:00:00Z
[fetch]
concurrency = 2
page_size = 10
max_attempts = 1
max_outage_s = 0
[output]
url = "out"
compression = "none"
pseudonymise = ["ANI"]
"""
SPELLINGS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": str,
    "percent": lambda token: quote(token, safe=""),
    "percent, every letter": lambda token: "".join(f"%{ord(letter):02x}" for letter in token),
    "percent, twice": lambda token: quote(quote(token, safe=""), safe=""),
    "JSON": lambda token: "".join(f"\\u{ord(letter):04x}" for letter in token),
    "HTML": html.escape,
    "HTML, every letter": lambda token: "".join(f"&#{ord(letter)};" for letter in token),
    "base64": lambda token: base64.b64encode(f"apikey {token}".encode()).decode(),
    "base64 for addresses": lambda token: base64.urlsafe_b64encode(f"a:{token}".encode()).decode(),
    "hexadecimal": lambda token: token.encode().hex(),
    "small letters": str.lower,
}


@pytest.fixture
def server() -> Iterator[Server]:
    with echoing() as serving:
        yield serving


@pytest.fixture(autouse=True)
def _job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HARVESTER_TOKEN", TOKEN)
    monkeypatch.setenv("HARVESTER_PSEUDONYM_KEY", KEY)
    Path("job.toml").write_text(JOB.format(url=server.url))


def leaks(text: str) -> list[str]:
    """Pieces of the secrets in it, in any of the spellings."""
    plain = text
    for _ in range(3):
        plain = html.unescape(unquote(plain, errors="replace"))
        plain = re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), plain)
    pieces = {"anary+7f", "9c1e5d8b2046", "d8b2046=", "pseudonymkeycanary", "0123456789abcdef", CALLER}
    found = [piece for piece in pieces if piece in plain.lower()]
    for before in range(3):
        found += [base64.b64encode(bytes(before) + TOKEN.encode()).decode()[4:-8]]
    found += [TOKEN.encode()[4:-4].hex()]
    return [piece for piece in found if piece.lower() in plain.lower()]


def assert_nowhere(*said: str) -> None:
    """In no file under the current folder, whatever it is called, and in nothing that was said."""
    everything = {"what was said": "\n".join(said)}
    for path in Path().rglob("*"):
        everything[str(path)] = f"{path} {path.read_bytes().decode('latin-1') if path.is_file() else ''}"
    assert len(everything) > 1
    for name, text in everything.items():
        assert not leaks(text), (name, leaks(text), text[:3000])


def called(*words: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and all that was said; a secret is nowhere afterwards."""
    code = main(words)
    out, err = capfd.readouterr()
    assert_nowhere(out, err)
    return code, out + err


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_search_finds_a_token_in_each_spelling(spelling: str) -> None:
    """Else the tests below would prove nothing."""
    assert leaks(f"some {SPELLINGS[spelling](TOKEN)} more")
    assert not leaks("some *** more")


# --- failures

CODES: Final[dict[str, set[int]]] = {"good": {0}, "401": {5}, "403": {5}, "items": {3}}


@pytest.mark.parametrize("mode", ["good", "items", *ANSWERS])
def test_no_failure_brings_a_secret_to_light(
    mode: str, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that sends back the token wherever it can, and all that is logged at -vv; then what the other
    commands tell of it."""
    server.mode = mode
    flags = ["--set", "fetch.max_attempts=2"] if mode in ("envelope", "500") else []
    flags += ["--end", "2024-01-01T00:00:00.010Z"] if mode == "400" else []  # it is split to the last
    code, _ = called("run", "job.toml", "-vv", "--summary", "summary.json", *flags, capfd=capfd)
    assert code in CODES.get(mode, {3, 6})
    assert set(server.sent) == {f"apikey {TOKEN}"}, "the token that is sought was really sent"
    called("status", "out", capfd=capfd)
    if mode != "400":
        called("verify", "out", "--source", "job.toml", "--json", capfd=capfd)
        called("probe", "job.toml", "--json", capfd=capfd)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_the_token_comes_through(
    spelling: str, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.word = SPELLINGS[spelling]
    for mode in ("redirect", "envelope"):
        server.mode = mode
        code, said = called("run", "job.toml", "-vv", "--log-format", "console", capfd=capfd)
        assert code in (3, 6)
    assert "***" in said


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_is_no_record_is_kept_without_the_token(spelling: str, server: Server) -> None:
    """In the quarantine, where the items lie as they came but for that; of a job that replaces fields they
    are not kept at all."""
    server.mode, server.word = "items", SPELLINGS[spelling]
    assert main(["run", "job.toml", "--set", "output.pseudonymise=[]"]) == 3
    (kept,) = Path("out/_harvest/quarantine").iterdir()
    lines = kept.read_text().splitlines()
    assert len(lines) == 6
    assert CALLER in lines[-1]
    assert not leaks("\n".join(lines[:-1]))
    assert "***" in lines[0]


def test_a_record_is_data_and_passes_with_whatever_it_holds(server: Server) -> None:
    """Law 7 stands above: who sends the token as a record's field finds it there, and nowhere else."""
    server.record = lambda record, word: record.replace(b'"ANI"', b'"Echo":"%s","ANI"' % word.encode())
    assert main(["run", "job.toml", "-vv"]) == 0
    (shard,) = Path("out").glob("dt=*/*")
    assert TOKEN in shard.read_text()
    shard.unlink()
    assert_nowhere()


def test_a_new_token_is_sought_like_the_first(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """The one that came into the token file while the run went on."""
    token_file = Path("../token")
    token_file.write_text("some-other-token-0")
    answered = server.word

    def renewing(token: str) -> str:
        if token == TOKEN:
            server.mode = "envelope"
        elif server.sent[1:]:
            server.mode = "401"
            token_file.write_text(TOKEN)
        return answered(token)

    server.word = renewing
    words = ("--end", "2024-01-01T02:00:00Z", "--set", "span.resolution=QuarterHour")
    code, said = called(
        *("run", "job.toml", "-vv", *words, "--set", f"source.token_file={token_file}"), capfd=capfd
    )
    assert (code, server.sent[-1]) == (3, f"apikey {TOKEN}")
    assert "***" in said


def test_every_other_end_of_a_run_keeps_the_secrets(
    server: Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """4, 7, 8, 10 and 1: a difference, no folder, another job, no more time, a mistake of ours."""
    assert called("run", "job.toml", capfd=capfd)[0] == 0
    (shard,) = Path("out").glob("dt=*/*")
    shard.write_bytes(shard.read_bytes()[:-5])
    assert called("verify", "out", capfd=capfd)[0] == 4
    assert called("run", "job.toml", "--set", "source.fields=['_id', 'ANI']", capfd=capfd)[0] == 8
    monkeypatch.setenv("HARVESTER_PSEUDONYM_KEY", KEY[::-1])
    code, said = called("run", "job.toml", capfd=capfd)
    assert (code, "pseudonym_key" in said, KEY[::-1] in said) == (8, True, False)
    monkeypatch.setenv("HARVESTER_PSEUDONYM_KEY", KEY)
    Path("taken").mkdir()
    Path("taken/_harvest").write_text("")
    assert called("run", "job.toml", "--out", "taken", capfd=capfd)[0] == 7
    server.wait_s = 0.3
    assert called("run", "job.toml", "--out", "late", "--max-duration", "0.1", capfd=capfd)[0] == 10
    server.wait_s = 0

    async def broken(*_: object) -> None:
        raise RuntimeError(f"apikey {TOKEN}, {KEY}, {quote(TOKEN, '')}, {list(SPELLINGS)}")

    monkeypatch.setattr(Harvest, "run", broken)
    for log in ("json", "console"):
        code, said = called("run", "job.toml", "-vv", "--log-format", log, capfd=capfd)
        assert (code, "RuntimeError" in said, "***" in said) == (1, True, True)

    async def ended(*_: object) -> Outcome:
        return Outcome(status="locked", exit_code=8, out="out", error=f"not {[TOKEN, KEY]}")

    monkeypatch.setattr(Harvest, "run", ended)
    code, said = called("run", "job.toml", capfd=capfd)
    assert (code, said.count("not ['***', '***']")) == (8, 2), "in the log and in the summary"


# --- commands


def words_of(name: str) -> list[str]:
    """What the command is called with, by what its usage line says it wants."""
    parser = ArgumentParser(prog=name)
    import_module(COMMANDS[name].module).add_arguments(parser)
    wanted = {"JOB.toml": "job.toml", "OUT": "out"}
    return [
        name,
        *(given for word, given in wanted.items() if word in (parser.usage or "").split("[")[0].split()),
    ]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"simulate"}))
def test_no_command_tells_a_secret(name: str, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """Each that the command line knows, on a good output; a new one is here by itself."""
    assert main(["run", "job.toml"]) == 0
    capfd.readouterr()
    more = ["--force"] if name == "rebuild-ledger" else []
    assert called(*words_of(name), *more, capfd=capfd)[0] == 0
    called(*words_of(name), "--json", capfd=capfd)
    called(name, "--help", capfd=capfd)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"simulate"}))
def test_no_wrong_usage_tells_a_secret(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A token in each place of the command line where one may end by mistake."""
    small = TOKEN.lower()
    words = words_of(name)
    for wrong in (
        [*words, TOKEN],
        [name, TOKEN],
        [*words, f"--token={TOKEN}"],
        [*words, "--token", TOKEN],
        [*words, "--set", TOKEN],
        [*words, "--set", f"{TOKEN}=1"],
        [*words, "--set", f"source.token={TOKEN}"],
        [*words, "--set", f"source.{small}=1"],
        [*words, "--set", f"source.token_env={small}"],
        [*words, "--set", f"source.token_env={TOKEN}"],
        [*words, "--set", f"source.token_file={TOKEN}"],
        [*words, "--set", f"source.auth=apikey {TOKEN}"],
        [*words, "--set", f"source.auth='{TOKEN}'"],
        [*words, "--set", f"source.base_url=https://{TOKEN}@host"],
        [*words, "--set", f"source.base_url=https://host?token={quote(TOKEN)}"],
        [*words, "--set", f"source.base_url={TOKEN}"],
        [*words, "--set", f"source.dialect={TOKEN}"],
        [*words, "--set", f"source.ca_file={TOKEN}"],
        [*words, "--set", f"source.queues=['{TOKEN}', '{TOKEN}']"],
        [*words, "--set", f"span.time_zone={TOKEN}"],
        [*words, "--set", f"output.pseudonym_key={KEY}"],
        [*words, "--set", f"output.pseudonym_key_env={KEY}"],
        [*words, "--set", f"output.pseudonymise=['{TOKEN}..']"],
        [*words, "--start", TOKEN],
        [*words, "--max-duration", TOKEN],
        [*words, "--sample", TOKEN],
        [*words, "--engine", TOKEN],
        [*words, "--part", TOKEN],
        [*words, "--seed", TOKEN],
        [*words, "--records", TOKEN],
        [*words, "--fault", TOKEN],
        [*words, "--summary", f"{TOKEN}/x"],
    ):
        code, said = called(*wrong, capfd=capfd)
        assert code in ((0, 2) if name in ("plan", "config") else (2, 4)), wrong
        assert said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["--fault", TOKEN],
        ["--fault", f"{TOKEN}=1"],
        ["--fault", f"status={TOKEN}"],
        ["--fault", f"body={TOKEN}"],
        ["--fault", f"status=503,share={TOKEN}"],
        ["--fault", f"status=503,{TOKEN}=1"],
        ["--fault", f"status=503,start={TOKEN}"],
        ["--faults", TOKEN],
        ["--rhythm", TOKEN],
        ["--start", TOKEN],
        [TOKEN],
    ],
)
def test_no_wrong_usage_of_the_simulator_tells_a_secret(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = called("simulate", *words, capfd=capfd)
    assert code == 2
    assert "harvester: error: simulate: " in said
    assert "***" in said


def test_the_simulator_repeats_a_word_that_is_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    code, said = called("simulate", "--fault", "page_capp=5", capfd=capfd)
    assert (code, "page_capp" in said, "did you mean page_cap?" in said) == (2, True, True)


@pytest.mark.parametrize(
    "line",
    [
        f'token = "{TOKEN}"',
        f'token_env = "{TOKEN}"',
        f'token_file = "{TOKEN}"',
        f'auth = "apikey {TOKEN}"',
        f'"{TOKEN}" = 1',
        f'dialect = "{TOKEN}"',
        f'fields = ["{TOKEN}", "{TOKEN}"]',
        f"token = {TOKEN}",
        f"{TOKEN}",
        f'[{TOKEN.partition("+")[0]}]\n"{TOKEN}" = 1',
        f'["{TOKEN}"]\nx = 1',
    ],
)
def test_no_mistake_in_a_job_file_tells_a_secret(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("../wrong.toml").write_text(f'[source]\n{line}\nbase_url = "http://127.0.0.1:9"\n')
    for name in ("run", "plan", "probe", "config"):
        code, said = called(name, "../wrong.toml", capfd=capfd)
        assert code == 2
        assert "wrong.toml" in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HARVESTER_TOKEN", f"{TOKEN}\x07{TOKEN}"),
        ("HARVESTER_TOKEN", f"{TOKEN} {TOKEN}"),
        ("HARVESTER_PSEUDONYM_KEY", KEY[:20]),
        ("HARVESTER_SOURCE__TOKEN", TOKEN),
        ("HARVESTER_SOURCE__AUTH", TOKEN),
        ("HARVESTER_SOURCE__TOKEN_FILE", TOKEN),
        ("HARVESTER_SOURCE__BASE_URL", f"https://api/?key={TOKEN}"),
    ],
)
def test_no_mistake_in_the_environment_tells_a_secret(
    variable: str, value: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    for name in ("run", "plan", "config"):
        called(name, "job.toml", capfd=capfd)


@pytest.mark.parametrize(
    "word", [TOKEN, KEY, TOKEN.lower(), "0f9f8c1e-3b5a-4f57-9a21-aa00bb11cc22", "eyJhbGci" * 9]
)
def test_what_looks_like_a_secret_does(word: str) -> None:
    assert looks_secret(word)


@pytest.mark.parametrize(
    "word",
    ["agent-workstate-events", "2024-01-01T00:00:00.000Z", "interaktion", "fetch.page_sise", "job.toml", "12",
     "--max-duration", "AgentWorkstateRollup", "30s", "/tmp/x9f8/job.toml", "HARVESTER_FETCH__PAGE_SIZE"],
)  # fmt: skip
def test_what_one_writes_into_a_job_looks_like_no_secret(word: str) -> None:
    """It is repeated, since an error without it is harder to understand."""
    assert not looks_secret(word)


@pytest.mark.parametrize(
    "line",
    [
        f'filter = {{Key = "{TOKEN}"}}',
        *(
            f"fields = ['{SPELLINGS[name](TOKEN)}']"
            for name in ("as it is", "base64", "hexadecimal", "percent")
        ),
        f'order_by = "{TOKEN}"',
        f'base_url = "http://127.0.0.1:9/v1/{TOKEN}"',
    ],
)
def test_a_token_in_a_setting_is_refused_before_it_is_written_down(
    line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Settings stand in the ledger and in the manifest, and `harvester config` shows them."""
    address = "" if line.startswith("base_url") else 'base_url = "http://127.0.0.1:9"\n'
    span = "[span]\nstart = 2024-01-01\nend = 2024-01-02\n"
    Path("../wrong.toml").write_text(f"[source]\n{address}{line}\n{span}")
    for name in ("run", "probe", "plan"):
        code, said = called(name, "../wrong.toml", capfd=capfd)
        assert (code, "holds the token itself" in said) == (2, True), said
        assert f"source.{line.split()[0]}: " in said
    code, said = called("config", "../wrong.toml", capfd=capfd)
    assert (code, "not shown" in said) in ((0, True), (2, False))
    assert not Path("out").exists()


# --- the process


def test_the_system_shows_no_secret_of_a_run_and_signals_leave_none(server: Server) -> None:
    """In the words of the process and of its children, while it runs; drained or killed, in what it leaves
    behind. The environment of a process is shown to its own user, so a token file is the quieter way."""
    token_file = Path("../token")
    token_file.write_text(TOKEN)
    environ = {name: value for name, value in os.environ.items() if name != "HARVESTER_TOKEN"}
    words = ["run", "job.toml", "-vv", "--set", f"source.token_file={token_file}"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        server.sent.clear()
        server.may_answer.clear()
        with subprocess.Popen(
            [sys.executable, "-X", "dev", "-m", "harvester", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            end = threading.Timer(60, process.kill)  # nobody waits for ever
            end.start()
            while not server.sent and process.poll() is None:
                time.sleep(0.01)
            proc = Path(f"/proc/{process.pid}")
            shown = [(proc / "cmdline").read_bytes().decode(), (proc / "environ").read_bytes().decode()]
            shown += [(task / "comm").read_text() for task in (proc / "task").iterdir()]
            children = [(task / "children").read_text() for task in (proc / "task").iterdir()]
            process.send_signal(number)
            server.may_answer.set()
            out, err = process.communicate()
            end.cancel()
        assert server.sent
        assert process.returncode in (-signal.SIGKILL, 75, 0)
        assert not "".join(children).strip(), "no program is started, so none inherits the environment"
        shown[1] = shown[1].replace(KEY, "")  # which was given by the environment
        assert_nowhere(*shown, out.decode(), err.decode())


def test_a_trace_for_developers_tells_no_secret(server: Server) -> None:
    """-X dev raises what is unforeseen, and the interpreter prints it."""
    said = (
        "import sys; from harvester.cli import run, main\n"
        "def broken(args): frame = open('/nowhere/at/all')\n"
        "run.run = broken; main(['run', 'job.toml'])"
    )
    ended = subprocess.run([sys.executable, "-X", "dev", "-c", said], capture_output=True, text=True)
    assert "FileNotFoundError" in ended.stderr
    assert_nowhere(ended.stdout, ended.stderr)


# --- what blots


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_token_is_blotted_however_it_is_written(spelling: str) -> None:
    blotter = Blotter(TOKEN)
    written = SPELLINGS[spelling](TOKEN)
    for said in (written, f"to https://{written}.example", f"{written}{written}", f'"{written}"'):
        assert "***" in blotter.text(said)
        assert not leaks(blotter.text(said))
        reject = blotter.reject(Reject(reason=said, raw=said.encode()))
        assert not leaks(f"{reject.reason}{reject.raw!r}")


def test_a_token_that_was_cut_is_blotted() -> None:
    assert Blotter(TOKEN).text(f"cut here: {TOKEN[:12]}") == "cut here: ***"


def test_what_holds_no_token_is_told_as_it_is() -> None:
    for blotter in (Blotter(), Blotter(TOKEN)):
        assert blotter.text("POST /x: 500, the server failed") == "POST /x: 500, the server failed"
        assert blotter.text("Canary Islands, 7f3a") == "Canary Islands, 7f3a"
        assert blotter.reject(Reject(reason="a", raw=b"\xff")) == Reject(reason="a", raw=b"\xff")
    assert Blotter("abc").text("abc") == "abc", "so short a token is in every sentence"


def test_a_secret_shows_itself_to_nobody_by_accident() -> None:
    secret = Secret(TOKEN)
    shown: list[Any] = [secret, {"a": secret}, (secret,), [secret], SourceError(repr(secret))]
    assert all("***" in repr(one) and not leaks(repr(one)) for one in shown)
    assert msgspec.json.encode({"held": repr(secret)}) == b'{"held":"\'***\'"}'
    assert json.dumps(secret) == f'"{TOKEN}"', "as plain text only where it is asked for as such"
