"""The command line: what it prints where, which code it ends with, and that no end is a traceback."""

import gc
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import main
from harvester.cli.commands import COMMANDS, LATER
from harvester.cli.signals import nothing_done
from harvester.cli.summary import summary
from harvester.errors import ConfigError
from harvester.job import Outcome
from harvester.scheduler import Harvest
from harvester.scheduler.harvest import DRAIN_S
from harvester.scheduler.planning import LOT_WINDOWS
from harvester.telemetry import Counters
from harvester.testing import Settings, Simulator, running

SUMMARY_KEYS = [
    *(
        "status",
        "exit_code",
        "windows",
        "gaps",
        "requests",
        "retries",
        "throttled",
        "records",
        "records_written",
    ),
    *("duplicates_dropped", "outside_window_dropped", "bytes", "bytes_written", "elapsed_s", "records_per_s"),
    *("shards", "out"),
]
WINDOWS = 48
RECORDS = 400


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running(Settings(records=RECORDS, end=datetime(2024, 1, 3, tzinfo=UTC))) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_TOKEN", Settings().token)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def job(simulator: Simulator) -> str:
    """A job over two days of hours, written to job.toml."""
    simulator.set_faults([])
    return written(simulator.url)


def written(url: str = "http://127.0.0.1:9", more: str = "") -> str:
    Path("job.toml").write_text(
        f'[source]\nbase_url = "{url}"\n[span]\nstart = 2024-01-01\nend = 2024-01-03\n'
        f"[fetch]\npage_size = 100\nmax_attempts = 2\nmax_outage_s = 1\n{more}"
    )
    return "job.toml"


def called(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


def program(*words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(
        [sys.executable, "-m", "harvester", *words], capture_output=True, text=True, timeout=60, **more
    )
    assert "Traceback" not in ended.stderr
    return ended


def last_line(out: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


# --- finding the command


def test_help_is_there_before_anything_heavy_is_loaded() -> None:
    said = "import sys; from harvester.cli import main; main(['--help']); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.splitlines()[-1].split())
    assert not loaded & {"aiohttp", "anyio", "asyncio", "structlog", "rich", "msgspec", "orjson", "sqlite3"}
    assert all(f"  {name} " in ended.stdout for name in COMMANDS)


def test_a_run_that_nobody_watches_loads_nothing_that_draws() -> None:
    said = "import sys, io; from harvester.cli import run; from harvester.telemetry import listening\n"
    said += "with listening(stream=io.StringIO(), environ={}): print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert not set(ended.stdout.split()) & {"structlog", "rich", "pygments"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(name, "--help", capsys=capsys)
    assert code == 0
    assert f"  harvester {name}" in out
    assert "example" in out
    assert all(len(line) <= 110 for line in out.splitlines())
    assert called("help", name, capsys=capsys)[:2] == (code, out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "usage: harvester COMMAND"),
        (["rnu"], "did you mean run?"),
        (["job.toml"], "did you mean `harvester run job.toml`?"),
        (["--json"], "the command comes first"),
        (["run"], "JOB.toml"),
        (["run", "job.toml", "--strat", "2024-01-01"], "--strat"),
        (["run", "job.toml", "--summ", "run.json"], "--summ"),
        (["run", "job.toml", "--max-duration", "0"], "more than 0"),
        (["run", "job.toml", "--max-duration", "inf"], "more than 0"),
        (["run", "job.toml", "--max-duration", "nan"], "more than 0"),
        (["run", "none.toml"], "none.toml: no such file"),
        (["run", "job.toml", "--set", "fetch.pagesize=1"], "did you mean fetch.page_size?"),
        (["run", "job.toml", "--end", "2023-01-01"], "--end: span.end: is before span.start"),
        (["run", "job.toml", "--part", "1/2"], "not available in this version"),
        (["run", "job.toml", "--engine", "ray"], "not available in this version"),
        (["run", "job.toml", "--summary", "no/such/file"], "no/such is no folder"),
        (["run", "job.toml", "--summary", "."], "is a folder"),
        (["run", "job.toml", "-q", "-v"], "not allowed with"),
        (["plan", "job.toml", "--sample"], "not available in this version"),
        (["plan", "job.toml", "--records", "-1"], "--records"),
        (["verify", "out", "--source", "job.toml"], "there is no output here"),
        (["verify", "out"], "there is no output here"),
        (["status", "out"], "there is nothing here"),
        (["status", "."], "no harvest was begun here"),
        (["status", "job.toml"], "is a file"),
        *([[name], "not available in this version"] for name in LATER),
    ],
)
def test_wrong_usage_is_code_2_and_one_clear_message(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written()
    code, out, err = called(*words, capsys=capsys)
    assert code == 2
    assert told in err
    assert out == ""  # no summary either
    assert not Path("out").exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "job.toml", "--out", LONG], "--out: output.url: "),
        (["run", "job.toml", "--out", f"a/{LONG}/b"], "--out: output.url: "),
        (["run", "job.toml", "--set", f"output.url={'x/' * 3000}"], "--set: output.url: "),
        (["run", "job.toml", "--summary", LONG], "--summary: "),
        (["plan", "job.toml", "--set", f"source.dialect={LONG}.toml"], "File name too long"),
        (["run", f"{LONG}.toml"], "cannot be read: File name too long"),
        (["verify", LONG], "File name too long; name another"),
        (["status", LONG], "File name too long; name another"),
        (["verify", ""], "an empty name: name the folder"),
    ],
)
def test_a_name_that_no_file_can_have_is_wrong_usage(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written()
    code, out, err = called(*words, capsys=capsys)
    assert (code, out) == (2, "")
    assert told in err
    assert not Path("a").exists()


def test_a_name_in_the_job_file_that_no_file_can_have_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(more=f'[output]\nurl = "{LONG}"')
    assert called("run", "job.toml", capsys=capsys)[2].startswith("harvester: error: job.toml: output.url: ")
    written()
    job = Path("job.toml")
    job.write_text(job.read_text().replace("[source]", f'[source]\ntoken_file = "{LONG}"'))
    code, _, err = called("run", "job.toml", capsys=capsys)
    assert (code, err.split("cannot")[0]) == (2, "harvester: error: job.toml: source.token_file: ")


def test_python_m_harvester_is_the_same_program() -> None:
    ended = program("--version")
    assert (ended.returncode, ended.stdout.split()[0], ended.stderr) == (0, "harvester", "")


# --- what ends a command


def test_an_unforeseen_error_is_code_1_and_names_where_but_not_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harvester.cli import plan

    def broken(*_: object, **__: object) -> None:
        raise ExceptionGroup("x", [KeyError("the secret is s3cret")])

    monkeypatch.setattr(plan, "plan", broken)
    code, out, err = called("plan", written(), capsys=capsys)
    assert (code, out) == (1, "")
    assert "unforeseen KeyError at " in err
    assert "s3cret" not in err


def test_ctrl_c_is_code_75_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harvester.cli import plan

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "plan", interrupted)
    assert called("plan", written(), capsys=capsys) == (75, "", "harvester: interrupted\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    written()
    ended = subprocess.run(
        f"{sys.executable} -m harvester config job.toml | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_an_answer_that_cannot_be_written_is_not_code_0() -> None:
    written()
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "harvester", "config", "job.toml"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=buffered,
        )
    assert ended.returncode == 7
    assert ended.stderr == (
        "harvester: error: stdout could not be written: No space left on device; the answer is lost\n"
    )


def test_closed_streams_are_no_error() -> None:
    written()
    ended = subprocess.run(f"{sys.executable} -m harvester config job.toml >&- 2>&-", shell=True, check=False)
    assert ended.returncode == 0


# --- config and plan


def test_config_shows_each_value_and_its_origin_and_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called("config", written(), "--set", "fetch.concurrency=3", capsys=capsys)
    rows = {
        line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if "." in line.split(" ")[0]
    }
    assert (code, err) == (0, "")
    assert rows["fetch.page_size"] == ["100", "file job.toml"]
    assert rows["fetch.concurrency"] == ["3", "flag --set"]
    assert rows["output.compression"] == ['"zstd"', "default"]
    assert "is there" in out
    assert Settings().token not in out


def test_config_as_json_and_without_a_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HARVESTER_TOKEN")
    monkeypatch.setenv("HARVESTER_FETCH__PAGE_SIZE", "7")
    code, out, _ = called(
        "config", written(), "--json", "--set", "source.token_env=abcdef0123", capsys=capsys
    )
    told = json.loads(out)
    assert code == 0
    assert told["settings"]["fetch.page_size"] == {
        "value": 7,
        "origin": "environment HARVESTER_FETCH__PAGE_SIZE",
    }
    assert told["span"] == {"start": "2024-01-01T00:00:00.000Z", "end": "2024-01-03T00:00:00.000Z"}
    assert told["token"].startswith("missing")
    assert "abcdef0123" not in out  # perhaps the token itself, in the wrong place


def test_plan_asks_nothing_creates_nothing_and_needs_no_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HARVESTER_TOKEN")
    code, out, _ = called("plan", written(), "--json", capsys=capsys)  # nobody listens at that address
    told = json.loads(out)
    assert code == 0
    assert (told["windows"], told["windows_done"], told["windows_to_ask"]) == (WINDOWS, 0, WINDOWS)
    assert told["records"] == {"least": 0, "most": WINDOWS * 100}
    assert told["requests"]["least"] == WINDOWS // LOT_WINDOWS
    assert told["requests"]["most"] >= 2 * WINDOWS
    assert all(told[name]["least"] <= told[name]["most"] for name in ("requests", "bytes", "time_s"))
    assert told["assumptions"]
    assert sorted(path.name for path in Path().iterdir()) == ["job.toml"]


def test_a_plan_takes_the_users_word_for_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(called("plan", written(), "--json", "--records", "99000", capsys=capsys)[1])
    assert told["records"] == {"least": 99_000, "most": 99_000}
    assert told["requests"] == {"least": 1000, "most": 1096}


def test_a_plan_for_people_names_what_it_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    out = called("plan", written(), "--set", "fetch.requests_per_second=2", capsys=capsys)[1]
    assert "a run would ask" in out
    assert "2 requests a second" in out


# --- run


def run(*more: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """The code, the summary and the log."""
    code, out, err = called("run", "job.toml", *more, capsys=capsys)
    assert len(out.splitlines()) == 1
    return code, last_line(out), [json.loads(line) for line in err.splitlines()]


def test_a_run_ends_with_its_summary_and_the_next_asks_nothing(
    job: str, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = simulator.stats.requests
    code, told, log = run(capsys=capsys)
    assert code == 0
    assert list(told) == SUMMARY_KEYS
    assert (told["status"], told["exit_code"], told["gaps"], told["out"]) == ("complete", 0, [], "out")
    assert told["windows"] == {"total": WINDOWS, "done": WINDOWS, "failed": 0}
    assert (told["records"], told["records_written"]) == (RECORDS, RECORDS)
    assert told["requests"] == simulator.stats.requests - before
    assert (told["retries"], told["throttled"]) == (0, 0)
    assert told["bytes"]["decoded"] >= told["bytes"]["received"] > 0
    assert told["bytes_written"] > 0
    assert told["shards"] == 2
    assert [line["event"] for line in log].count("window_done") == WINDOWS
    assert (log[0]["event"], log[-1]["event"]) == ("run_started", "run_ended")

    before = simulator.stats.requests
    code, told, log = run(capsys=capsys)
    assert (code, told["status"], told["requests"], told["records"]) == (0, "complete", 0, RECORDS)
    assert simulator.stats.requests == before
    assert "nothing_to_ask" in [line["event"] for line in log]


def test_a_plan_goes_by_what_is_there_already(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("--end", "2024-01-02", capsys=capsys)
    told = json.loads(called("plan", job, "--json", capsys=capsys)[1])
    assert (told["windows_done"], told["windows_to_ask"]) == (24, 24)
    assert 0 < told["records"]["least"] < told["records"]["most"] < 24 * 100
    assert called("plan", job, "--set", "output.compression=gzip", capsys=capsys)[0] == 8


def test_status_and_verify_tell_of_a_run(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys=capsys)
    code, out, err = called("status", "out", capsys=capsys)
    assert (code, err) == (0, "")
    assert "complete" in out
    assert "2024-01-02" in out
    told = json.loads(called("status", "out", "--json", capsys=capsys)[1])
    assert (told["complete"], told["records"], told["windows_done"]) == (True, RECORDS, WINDOWS)
    code, out, err = called("verify", "out", capsys=capsys)
    assert (code, err) == (0, "")
    assert "no difference" in out
    next(Path("out").glob("dt=*/*")).unlink()
    code, out, err = called("verify", "out", "--json", capsys=capsys)
    assert (code, err) == (4, "")
    assert json.loads(out)["differences"][0]["kind"] == "missing"
    assert called("verify", "out", capsys=capsys)[0] == 4
    Path("out/_manifest.json").unlink()
    assert called("verify", "out", capsys=capsys)[0] == 4


def test_the_summary_is_written_where_it_is_asked_for(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.json").write_text("the one before")
    _, told, _ = run("--summary", "run.json", capsys=capsys)
    assert json.loads(Path("run.json").read_text()) == told
    assert sorted(path.name for path in Path().iterdir()) == ["job.toml", "out", "run.json"]


@pytest.mark.parametrize(
    "name",
    ["_manifest.json", "_SUCCESS", "_harvest/ledger.sqlite", "_harvest/run.json", "dt=2024-01-01/run.json"],
)
def test_a_summary_takes_no_place_of_the_output_s_own_files(
    job: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(run(capsys=capsys)[1]["out"])
    (out / name).parent.mkdir(exist_ok=True)
    Path("link.json").symlink_to((out / name).absolute())
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for named in (str(out / name), f"./{out}/dt=2024-01-01/../{name}", "link.json"):
        code, _, said = called("run", job, "--summary", named, capsys=capsys)
        assert (code, "is a place of the output's own files; name another" in said) == (2, True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run("--summary", str(out / "run.json"), capsys=capsys)[0] == 0
    assert (out / "run.json").exists()


def test_a_summary_never_takes_the_place_of_a_device(job: str) -> None:
    ended = program("run", job, "--log-format", "json", "--quiet", "--summary", "/dev/stderr")
    assert last_line(ended.stderr) == last_line(ended.stdout)
    assert os.path.exists("/dev/stderr")


def test_a_summary_goes_into_a_pipe_and_leaves_it_one(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    reading = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    _, told, _ = run("--summary", "pipe", capsys=capsys)
    assert json.loads(os.read(reading, 65536)) == told
    assert Path("pipe").is_fifo()
    os.close(reading)


def test_a_summary_is_written_in_place_where_no_file_can_be_put_beside_it(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mounted(*_: object, **folders: object) -> None:
        raise OSError(16, "Device or resource busy")

    from harvester.cli import summary

    monkeypatch.setattr("os.replace", mounted)
    summary.write(Path("log"), {"status": "complete"})
    assert json.loads(Path("log").read_text()) == {"status": "complete"}
    assert sorted(path.name for path in Path().iterdir()) == ["job.toml", "log"]


def test_every_end_but_wrong_usage_has_a_summary(
    job: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARVESTER_TOKEN", "wr0ng")
    code, told, log = run(capsys=capsys)
    assert (code, told["exit_code"], told["status"]) == (5, 5, "refused")
    assert set(told) == {*SUMMARY_KEYS, "error"}
    assert "wr0ng" not in json.dumps([told, log])
    (stopped,) = [line for line in log if line["level"] == "error"]
    assert (stopped["event"], stopped["error"]) == ("run_stopped", told["error"])


def test_a_span_that_is_not_over_is_pointed_out(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, log = run("--start", "2199-12-31T23:00:00Z", "--end", "2200-01-01", capsys=capsys)
    assert "span_is_not_over" in [line["event"] for line in log]


def test_every_request_that_left_is_counted(
    job: str, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    for fault in (
        {"status": 500, "share": 0.3},
        {"result_code": 5, "share": 0.3},
        {"status": 400, "share": 0.1},
        {"status": 401},  # ends the run while others have passed the gate, and have not yet left
        {"status": 404},
        {"status": 302},
    ):
        simulator.set_faults([fault])
        before = simulator.stats.requests
        out = "-".join(map(str, fault.values()))
        code, told, _ = run("--out", out, "--set", "fetch.concurrency=4", capsys=capsys)
        unread = told["requests"] - (simulator.stats.requests - before)
        # What had left when a refusal ended the run may never be read by a server that is slow.
        assert 0 <= unread <= (3 if code == 5 else 0)


def test_no_token_is_wrong_usage_and_touches_nothing(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HARVESTER_TOKEN")
    code, out, err = called("run", job, capsys=capsys)
    assert (code, out) == (2, "")
    assert "HARVESTER_TOKEN is not set" in err
    assert not Path("out").exists()


@pytest.mark.parametrize(("soft", "hard", "code"), [(12, 12, 2), (47, 47, 2), (48, 48, 0), (12, 4096, 0)])
def test_too_few_open_files_are_told_before_anything_is_made(
    job: str, soft: int, hard: int, code: int
) -> None:
    """The limit is raised where it may be; 48 are enough for the sixteen connections of the default."""
    limit = (resource.RLIMIT_NOFILE, (soft, hard))
    ended = program("run", job, "-q", preexec_fn=lambda: resource.setrlimit(*limit))
    assert ended.returncode == code
    if code:
        assert ended.stdout == ""
        assert ended.stderr.startswith(
            f"harvester: error: only {hard} files may be open at once, and fetch.conc"
        )
        assert len(ended.stderr.splitlines()) == 1
        assert not Path("out").exists()


def test_wrong_configuration_that_only_the_run_finds_is_code_2(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(self: Harvest) -> None:
        raise ConfigError("job.toml: no")

    monkeypatch.setattr(Harvest, "run", broken)
    assert called("run", job, capsys=capsys) == (2, "", "harvester: error: job.toml: no\n")


def test_an_unforeseen_end_of_a_run_keeps_its_text_to_the_log_at_debug(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(self: Harvest) -> None:
        raise KeyError(f"the token is {Settings().token}")

    monkeypatch.setattr(Harvest, "run", broken)
    code, told, log = run(capsys=capsys)
    assert (code, told["status"], told["exit_code"]) == (1, "error", 1)
    assert told["error"].startswith("unforeseen KeyError at test_cli.py:")
    assert [line["event"] for line in log] == ["run_stopped", "run_ended"]
    main(["run", job, "-v"])
    out, err = capsys.readouterr()
    told, log = last_line(out), [json.loads(line) for line in err.splitlines()]
    (trace,) = [line["trace"] for line in log if line["event"] == "trace"]
    assert "KeyError" in trace
    assert Settings().token not in json.dumps([told, log])


# --- signals and terminals


def begun(*words: str, **more: Any) -> "subprocess.Popen[str]":
    """Killed after a minute, so nobody waits for ever for what it says or does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harvester", "run", "job.toml", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    end = threading.Timer(60, process.kill)
    end.daemon = True
    end.start()
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_same_command_goes_on(
    number: signal.Signals, job: str, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator.set_faults([{"latency_ms": 50}])
    process = begun("--set", "fetch.concurrency=2")
    assert process.stderr is not None
    for line in process.stderr:
        if "window_done" in line:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=30)
    told = last_line(out)
    assert (process.returncode, told["status"], told["exit_code"]) == (75, "interrupted", 75)
    assert 0 < told["windows"]["done"] < WINDOWS
    assert "drain_began" in err
    assert "Traceback" not in err
    simulator.set_faults([])
    assert run(capsys=capsys)[1]["records"] == RECORDS


def test_the_second_signal_cuts_short(job: str, simulator: Simulator) -> None:
    simulator.set_faults([{"latency_ms": 1000 * DRAIN_S}])
    process = begun()
    assert process.stderr is not None
    while not simulator.stats.in_flight:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert any("drain_began" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < DRAIN_S / 2  # so long the answers in flight are waited for
    assert (process.returncode, last_line(out)["status"]) == (75, "interrupted")
    assert "Traceback" not in err


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("place", ["harvester.cli.entry", "harvester.cli.run", "asyncio.events", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_while_the_program_loads_leave_a_summary_and_no_traceback(
    number: signal.Signals, place: str, times: int
) -> None:
    """An import is where an exception out of a handler would be lost, or become another one."""
    told = f"""
import os, sys
from harvester.cli import main

class Signalling:
    def find_spec(self, name, *_):
        if name == {place!r}:
            for _ in range({times}):
                os.kill(os.getpid(), {int(number)})

sys.meta_path.insert(0, Signalling())
sys.argv = ["harvester", "run", {written()!r}]
sys.exit(main())
"""
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 75
    assert {*SUMMARY_KEYS} <= set(last_line(ended.stdout))
    assert last_line(ended.stdout)["status"] == "interrupted"
    assert len(ended.stdout.splitlines()) == 1


def test_the_summary_of_nothing_is_a_summary() -> None:
    """It is a text that needs no import; so it must not fall behind."""
    outcome = Outcome(status="interrupted", exit_code=75, out="", error="ended before it began; run again")
    empty = summary(outcome, Counters(clock=lambda: 0.0))
    assert list(json.loads(nothing_done("interrupted", 75)).items()) == list(empty.items())


@pytest.mark.parametrize("place", ["entry.import_module", "job_flags.config_of"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_run_has_begun_leaves_a_summary_and_the_process_that_called(
    number: signal.Signals, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(f"harvester.cli.{place}", lambda _: os.kill(os.getpid(), number))
    code, out, err = called("run", written(), capsys=capsys)
    assert (code, err) == (75, "harvester: interrupted\n")
    assert set(last_line(out)) == {*SUMMARY_KEYS, "error"}
    assert not Path("out").exists()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_run_has_ended_changes_nothing(
    number: signal.Signals, job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harvester.cli import summary

    def late(path: Path, told: dict[str, Any]) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(summary, "write", late)
    code, told, _ = run("--summary", "run.json", capsys=capsys)
    assert (code, told["exit_code"]) == (0, 0)


def test_on_a_terminal_there_is_a_bar_and_stdout_stays_clean(job: str) -> None:
    reading, writing = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "harvester", "run", job],
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
        env=environ,
    )
    os.close(writing)
    shown = b""
    while select.select([reading], [], [], 30)[0]:
        try:
            got = os.read(reading, 65536)
        except OSError:
            break
        shown += got
    os.close(reading)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(out.splitlines()) == 1
    text = shown.decode()
    assert f"{WINDOWS}/{WINDOWS} windows" in text
    assert f"complete: {WINDOWS} of {WINDOWS} windows, {RECORDS} records in out" in text
    assert "\x1b[3" not in text


def test_somebody_elses_process_keeps_its_own_ways_of_collecting_garbage() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    assert main(["run", "--help"]) == 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
