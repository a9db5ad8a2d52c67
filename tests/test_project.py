"""What stands around the rooms: the wheel, the lock, the example jobs and what README.md promises."""

import re
import tomllib
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hatchling.build import build_wheel

from harvester import config, errors

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_the_dialects_and_no_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed harvester knows the same sources as a checkout."""
    monkeypatch.chdir(ROOT)  # a build backend builds the folder it is called in
    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        names = wheel.namelist()
    declared = {path.name for path in (ROOT / "config" / "sources").glob("*.toml")}
    assert declared
    assert {Path(name).name for name in names if name.startswith("harvester/_sources/")} == declared
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"harvester"}


def test_the_lock_names_packages_and_hashes_only() -> None:
    """No registry, no local path: whoever installs decides where from, and the hashes decide what."""
    lines = [
        line.strip()
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^@]+)? \\|--hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_the_lock_pins_each_direct_dependency() -> None:
    """A dependency that was added without making the lock again would be missing on the next machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(one for group in project["optional-dependencies"].values() for one in group),
    ]
    names = {re.split(r"[^\w.-]", one)[0].lower().replace(".", "-") for one in wanted} - {"harvester"}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names <= locked


def test_zstd_comes_from_the_standard_library_where_that_has_it() -> None:
    """`backports.zstd` is not installed from Python 3.14 on: each import of it needs the other branch."""
    importing = {
        path: text
        for room in ("harvester", "tests")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^\s*(from|import) backports", text := path.read_text(), re.MULTILINE)
    }
    assert importing
    for path, text in importing.items():
        assert "sys.version_info >= (3, 14):\n    from compression" in text, path


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_job_is_accepted(path: Path) -> None:
    """A user who copies a job of config/ begins with one that works."""
    loaded = config.load(path, environ={"HARVESTER_TOKEN": "secret"})
    config.job_of(loaded, now=datetime(2024, 3, 1, tzinfo=UTC))


def test_the_job_in_the_readme_is_accepted(tmp_path: Path) -> None:
    """It is the first thing that is copied."""
    job = tmp_path / "job.toml"
    job.write_text((ROOT / "README.md").read_text().split("```toml\n")[1].split("```")[0])
    loaded = config.load(job, environ={"HARVESTER_TOKEN": "secret"})
    config.job_of(loaded, now=datetime(2024, 3, 1, tzinfo=UTC))


def test_the_readme_names_every_exit_code() -> None:
    """Scripts branch on them, so the table is complete and holds nothing else."""
    tree, codes = [errors.HarvesterError], {0, errors.EXIT_TIME_BUDGET, errors.EXIT_INTERRUPTED}
    while tree:
        error = tree.pop()
        codes.add(error.exit_code)
        tree += error.__subclasses__()
    section = (ROOT / "README.md").read_text().split("## Exit codes")[1].split("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == codes
