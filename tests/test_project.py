"""What stands around the rooms: the wheel, the lock, the example jobs and what README.md promises."""

import json
import re
import subprocess
import sys
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
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert _direct() <= locked


def _direct() -> set[str]:
    """What pyproject.toml names, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(one for group in project["optional-dependencies"].values() for one in group),
    ]
    return {re.split(r"[^\w.-]", one)[0].lower().replace(".", "-") for one in wanted} - {"harvester"}


def test_each_dependency_has_its_reason() -> None:
    """A file of its own among the decisions, or a heading in one that several share."""
    folder = ROOT / "docs" / "decisions"
    known = {re.sub(r"^\d+-", "", path.stem) for path in folder.glob("*.md")}
    known |= {
        heading
        for path in folder.glob("*.md")
        for heading in re.findall(r"^## ([\w-]+)$", path.read_text(), re.MULTILINE)
    }
    assert _direct() <= known


def _bill() -> bytes:
    script = [sys.executable, str(ROOT / "scripts" / "sbom")]
    return subprocess.run(script, check=True, capture_output=True, cwd="/").stdout


def test_the_bill_of_materials_is_what_the_lock_pins() -> None:
    """Each package with version and all hashes, who needs whom, and what the program itself needs."""
    bill = json.loads(_bill())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([\w.-]+)==([\w.+-]+)[^\n]*((?:\n    --hash=[^\n]+)+)", lock, re.MULTILINE)
    told = {
        one["name"]: (one["version"], {each["content"] for each in one["hashes"]})
        for one in bill["components"]
    }
    assert told == {
        re.sub(r"[-_.]+", "-", name).lower(): (version, set(re.findall(r"sha256:(\w{64})", hashes)))
        for name, version, hashes in pins
    }
    assert all(one["hashes"] for one in bill["components"])
    needs = {one["ref"]: set(one["dependsOn"]) for one in bill["dependencies"]}
    assert needs["harvester"] == _direct()
    assert {"multidict", "yarl"} <= needs["aiohttp"]
    scopes = {one["name"]: one["scope"] for one in bill["components"]}
    assert {scopes[name] for name in ("aiohttp", "multidict", "msgspec", "tzdata")} == {"required"}
    assert {scopes[name] for name in ("pytest", "cryptography", "ruff", "datasette")} == {"excluded"}


def test_the_bill_of_materials_is_the_same_each_time() -> None:
    assert _bill() == _bill()


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


def test_links_of_the_documentation_lead_somewhere_and_each_decision_is_listed() -> None:
    """A note that no index names is not found by who needs it."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in link
    ]
    assert len(links) > 30
    assert not [(page.name, link) for page, link in links if not (page.parent / link).exists()]
    decisions = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[\d{4}\]\((\S+)\)", (decisions / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(page.name for page in decisions.glob("0*.md"))


def test_nothing_comes_into_the_environment_that_the_lock_does_not_pin() -> None:
    """Not even the pip that checks the hashes of all the rest."""
    script = (ROOT / "scripts" / "_env").read_text().replace("\\\n", " ")
    installs = [line for line in script.splitlines() if line.strip().startswith("run_pip install")]
    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes" in line or "--no-index" in line, line
    pinned = ". scripts/_env; pinned pip setuptools"
    told = subprocess.run(["bash", "-c", pinned], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.partition("==")[0] for line in told.splitlines() if "==" in line] == ["pip", "setuptools"]
    assert told.count("--hash=sha256:") >= 2
