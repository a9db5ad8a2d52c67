"""A full or broken disk: a sample of its errors; all of them at all calls in scripts/broken-disk-sweep."""

import pytest

from tests.disks.mutants import BREAKING
from tests.disks.runs import swept

SEEN_BY = {
    "fsync retried": ["--kind", "sync_folder"],
    "error of fsync swallowed": ["--kind", "sync", "--place", "out/_harvest/staging"],
    "error of write swallowed": ["--kind", "write", "--place", "out/_manifest", "--every", "3"],
    "error of the ledger swallowed": ["--kind", "write", "--place", "ledger.sqlite-wal", "--every", "31"],
}
"""Calls at which an error shows it."""


@pytest.mark.parametrize(
    ("story", "options"),
    [
        ("plain", ["--every", "331"]),
        ("quarantine", ["--every", "811"]),
        ("parquet", ["--place", "out/dt=", "--every", "29"]),
    ],
)
def test_an_error_of_the_disk_is_told_and_the_run_on_the_mended_disk_is_exact(
    story: str, options: list[str]
) -> None:
    code, told = swept("tests.disks.breaking", options, story=story)
    assert (code, told["wrong"]) == (0, [])
    assert told["recovered"] == told["errors"] >= 2
    assert told["exit 7"] >= 1


def test_a_ledger_that_cannot_be_given_its_log_is_not_used() -> None:
    """SQLite would go on in another mode, in which a power loss may take back a commit."""
    options = ["--kind", "write", "--place", "ledger.sqlite-journal", "--every", "2"]
    code, told = swept("tests.disks.breaking", options, story="plain")
    assert (code, told["wrong"]) == (0, [])
    assert told["exit 7"] == told["errors"] >= 2


@pytest.mark.parametrize("mutant", BREAKING)
def test_an_error_that_is_swallowed_and_a_sync_that_is_retried_are_seen(mutant: str) -> None:
    _, told = swept(
        "tests.disks.breaking", ["--until-wrong", "1", *SEEN_BY[mutant], "--mutant", mutant], story="plain"
    )
    assert told["number wrong"] == 1
