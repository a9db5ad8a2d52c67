"""A full or broken disk: a sample of its errors; all of them at all calls in scripts/broken-disk-sweep."""

import pytest

from tests.disks.mutants import BREAKING
from tests.disks.runs import swept

SEEN_BY = {
    "fsync retried": ["--kind", "sync_folder"],
    "error of fsync swallowed": ["--kind", "sync", "--place", "out/_harvest/staging"],
    "error of write swallowed": ["--kind", "write", "--place", "out/_manifest"],
    "error of the ledger swallowed": ["--kind", "sync", "--place", "ledger.sqlite-wal"],
}
"""Calls of which one at the least shows it; they are tried until one does."""


@pytest.mark.parametrize(
    ("story", "options", "least"),
    [
        # manifest, `_SUCCESS` and shards are each written, synced and renamed in both runs
        ("plain", ["--kind", "write,sync,rename"], 18),
        ("quarantine", ["--place", "quarantine"], 10),
        ("parquet", ["--kind", "link,write"], 10),
    ],
)
def test_an_error_of_the_disk_is_told_and_the_run_on_the_mended_disk_is_exact(
    story: str, options: list[str], least: int
) -> None:
    code, told = swept("tests.disks.breaking", ["--first", *options], story=story)
    assert (code, told["wrong"], told["not reached"]) == (0, [], 0)
    assert told["recovered"] == told["errors"] == told["points"]
    assert told["exit 7"] >= least


def test_the_process_that_a_user_starts_ends_with_the_exit_code_of_a_broken_disk() -> None:
    options = ["--by-command", "--first", "--kind", "rename", "--place", "_manifest"]
    code, told = swept("tests.disks.breaking", options, story="plain")
    assert (code, told["wrong"], told["not reached"]) == (0, [], 0)
    assert told["recovered"] == told["exit 7"] == told["points"] == 2  # in both runs


def test_a_ledger_that_cannot_be_given_its_log_is_not_used() -> None:
    """SQLite would go on in another mode, in which a power loss may take back a commit."""
    options = ["--kind", "write", "--place", "ledger.sqlite-journal"]
    code, told = swept("tests.disks.breaking", options, story="plain")
    assert (code, told["wrong"], told["not reached"]) == (0, [], 0)
    assert told["exit 7"] == told["errors"] >= 4  # of errors that a write can meet


@pytest.mark.parametrize("mutant", BREAKING)
def test_an_error_that_is_swallowed_and_a_sync_that_is_retried_are_seen(mutant: str) -> None:
    _, told = swept(
        "tests.disks.breaking", ["--until-wrong", "1", *SEEN_BY[mutant], "--mutant", mutant], story="plain"
    )
    assert told["number wrong"] == 1
