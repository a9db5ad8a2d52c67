"""A dialect that cannot be, or is of another source, by the command line: an error before the first window,
with the file, the key and what was expected."""

from pathlib import Path

import orjson
import pytest

from harvester.cli import main
from harvester.dialects import sources
from harvester.testing import Settings, running
from tests.harvesting import DAY, START

SHIPPED = Path(sources.__file__).parents[2] / "config" / "sources" / "interactions.toml"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'path = "/reporting',
            'paht = "/reporting',
            ["[request]", "unknown key 'paht'", "did you mean path?"],
        ),
        ('method = "POST"\n', "", ["[request]", "'method' is missing", "'GET' or 'POST'"]),
        ('key = "_id"\n', "", ["[record]", "'key' is missing", "the path of a field"]),
        ('"{start}"', '"{strat}"', ["[request.body] StartDateTime", "did you mean {start}?"]),
        ('Limit = "{limit}"\n', "", ["[request]", "no place for {limit}", "expected a value"]),
        ("[record]", "[recrod]", ["unknown key 'recrod'", "did you mean record?"]),
        ('second_key = "InteractionId"', "second_key = 7", ["record.second_key", "Expected `str"]),
        ('date = "StartedDateTimeUtc"', 'date = "a..b"', ["[record] date", "names joined by dots"]),
    ],
    ids=lambda given: given if isinstance(given, str) and len(given) < 20 else "",
)
def test_a_mistake_in_a_dialect_file_is_code_2_and_nothing_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    told: list[str],
) -> None:
    text = SHIPPED.read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    code, _, err = run(tmp_path, monkeypatch, capsys)
    assert code == 2
    assert all(words in err for words in ["mine.toml", *told]), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [('key = "_id"', 'key = "_idd"', "_idd"), ('date = "Started', 'date = "Begun', "BegunDateTimeUtc")],
    ids=["key", "date"],
)
def test_a_path_that_no_record_has_is_code_6_with_its_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    field: str,
) -> None:
    assert old in SHIPPED.read_text()
    (tmp_path / "mine.toml").write_text(SHIPPED.read_text().replace(old, new, 1))
    code, out, err = run(tmp_path, monkeypatch, capsys)
    assert code == 6
    summary = orjson.loads(out.splitlines()[-1])
    assert (summary["status"], summary["records"]) == ("contract", 0)  # an empty window may be done before
    assert field in err
    assert "[source] dialect" in err


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HARVESTER_TOKEN", Settings().token)
    with running(Settings(records=50, end=START + 2 * DAY)) as simulator:
        Path("job.toml").write_text(
            f'[source]\ndialect = "mine.toml"\nbase_url = "{simulator.url}"\n'
            "[span]\nstart = 2024-01-01\nend = 2024-01-03\n"
        )
        code = main(["run", "job.toml"])
        if code == 2:
            assert simulator.stats.requests == 0
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err
