"""docs/guarantees.md: every proof is there with its command, and no figure stands for a proof that failed."""

import json
from pathlib import Path

import pytest

from tests.guarantees import __main__ as guarantees
from tests.guarantees.proofs import PROOFS

ROOT = Path(__file__).parent.parent


def test_each_command_of_a_proof_is_a_script_of_this_project() -> None:
    assert PROOFS
    for proof in PROOFS:
        assert (ROOT / proof.command.split()[0]).is_file(), proof.command
    for proof in PROOFS:
        assert all((ROOT / path).exists() for path in proof.stands_on()), proof.command


def test_no_two_proofs_share_a_name() -> None:
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with figures for each proof, of the files that stand here now."""
    monkeypatch.setattr(guarantees, "KEPT", tmp_path)
    monkeypatch.setattr(guarantees, "state", lambda proof: {"harvester": "0123", "the script": "89ab"})
    chosen = [proof for proof in PROOFS if proof.name in ("simulation", "zones")]
    monkeypatch.setattr(guarantees, "PROOFS", chosen)
    line = '{"seeds":7,"runs":8,"crashes":1,"requests":9,"virtual_h":2.5,"wrong":0}'

    keep(tmp_path, "simulation", line=line)
    keep(tmp_path, "zones", line="=== 12 passed in 3.0s ===")
    return tmp_path


def keep(folder: Path, name: str, *, line: str, code: int = 0, of: str = "0123", by: str = "89ab") -> None:
    told = {
        "state": {"harvester": of, "the script": by},
        "command": f"scripts/{name}",
        "code": code,
        "minutes": 1.5,
    }
    (folder / f"{name}.json").write_text(json.dumps({**told, "machine": "one", "line": line}))


def test_figures_are_told_from_the_closing_line(kept: Path) -> None:
    table = guarantees.table()
    assert "7 seeds, 8 runs, 1 crashes, 9 requests" in table
    assert "12 passed in 3.0s (1.5 min)" in table
    assert "`scripts/zones`" in table


def test_figures_of_another_state_are_told_as_that(kept: Path) -> None:
    keep(kept, "zones", line="x", of="4567")
    table = guarantees.table()
    assert "`scripts/zones` | 4567 |" in table
    assert "`scripts/simulation` | 0123 |" in table
    assert "`harvester/` was 0123" in table


def test_figures_of_another_proof_are_refused(kept: Path) -> None:
    keep(kept, "zones", line="x", by="4567")
    with pytest.raises(SystemExit, match="with other files"):
        guarantees.table()


def test_a_proof_that_failed_is_told_as_that(kept: Path) -> None:
    keep(kept, "zones", line='{"points": 3, "number wrong": 1, "wrong": ["a state"]}', code=1)
    assert "**does not hold yet**: 3 points, 1 number wrong (" in guarantees.table()


def test_a_proof_that_did_not_run_is_told_as_that(kept: Path) -> None:
    (kept / "zones.json").unlink()
    assert "not run | `scripts/zone-sweep`" in guarantees.table()


def test_what_each_proof_takes_and_all_of_them_is_told() -> None:
    *rows, last = guarantees.plan().splitlines()
    assert [row.split()[0] for row in rows] == [proof.name for proof in PROOFS]
    assert all(proof.minutes > 0 for proof in PROOFS)
    assert last.split()[0] == "all"
    assert float(last.split()[1]) == pytest.approx(sum(proof.minutes for proof in PROOFS), abs=1)
