"""`scripts/guarantees [NAME ...]`: runs proofs and keeps what they printed in build/guarantees; with
`--write` the table of docs/guarantees.md is made from that. Nobody types a figure there.

A proof stands for the files that it ran with, and all of them take longer than some changes can wait: so each
row names the state of harvester/ that it is of, by git's name of the folder. Figures of another state of the
proof itself are refused.
"""

import argparse
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.guarantees.proofs import PROOFS, Proof

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / "build" / "guarantees"
PAGE: Final = ROOT / "docs" / "guarantees.md"
BEGIN: Final = "<!-- figures: scripts/guarantees --write -->"
END: Final = "<!-- end of figures -->"


def state(proof: Proof) -> dict[str, str]:
    """Git's names of what is proven and of what proves it; all of it must be committed."""
    paths = ("harvester", "requirements.lock", *proof.stands_on())
    changed = _git("status", "--porcelain", "--", *paths)
    if changed:
        raise SystemExit(f"commit or drop these first, a figure belongs to a commit:\n{changed}")
    return {path: _git("rev-parse", f"HEAD:{path}")[:12] for path in paths}


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def prove(proof: Proof, options: str) -> bool:
    """Runs it and keeps its last line, also where it failed."""
    command = shlex.split(f"{proof.command} {options or proof.options}")
    known, began = state(proof), time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = [line for line in ended.stdout.splitlines() if line.strip()]
    kept = {
        "state": known,
        "command": shlex.join(command),
        "code": ended.returncode,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "machine": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "line": lines[-1] if lines else "",
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{proof.name}.json").write_text(json.dumps(kept, indent=2) + "\n")
    end = f"ended with {ended.returncode}" if ended.returncode else "held"
    print(f"{proof.name}: {end}: {kept['line']}", flush=True)
    return ended.returncode == 0


def told(proof: Proof, kept: dict[str, Any]) -> str:
    """A proof that failed is told as that, never left out."""
    line = kept["line"]
    try:
        values = json.loads(line)
        plain = ", ".join(_plain(values))
    except ValueError:
        values, plain = {}, line.strip("= ")
    if kept["code"]:
        return f"**does not hold yet**: {plain or 'no closing line'}"
    return proof.told.format(**values, line=plain)


def _plain(values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, int | float):
            yield f"{value} {key}"
        elif isinstance(value, dict):
            yield f"{key}: " + (", ".join(_plain(value)) or "none")


def table() -> str:
    rows = [
        "| promise | how it is tried | what came of it | command | `harvester/` |",
        "|---|---|---|---|---|",
    ]
    kept: dict[str, Any] = {}
    for proof in PROOFS:
        path = KEPT / f"{proof.name}.json"
        if not path.exists():
            whole = f"{proof.command} {proof.options}".strip()
            rows.append(f"| {proof.promise} | {proof.how} | not run | `{whole}` | |")
            continue
        kept = json.loads(path.read_bytes())
        now, proven = state(proof), kept["state"]
        if {**proven, "harvester": ""} != {**now, "harvester": ""}:
            raise SystemExit(f"{proof.name} was proven with other files; run scripts/guarantees {proof.name}")
        came = f"{told(proof, kept)} ({kept['minutes']} min)"
        of = proven["harvester"]
        rows.append(f"| {proof.promise} | {proof.how} | {came} | `{kept['command']}` | {of} |")
    if not kept:
        raise SystemExit("nothing was proven yet; run scripts/guarantees")
    here = f"When this was written, `harvester/` was {now['harvester']}, as git names it"
    return "\n".join([*rows, "", f"{kept['machine']}. {here}: a row with another name ran before a change."])


def plan() -> str:
    """What each proof takes and runs."""
    rows = [
        f"{proof.name:20}{proof.minutes:4.0f} min  {proof.command} {proof.options}".rstrip()
        for proof in PROOFS
    ]
    return "\n".join([*rows, f"{'all':20}{sum(proof.minutes for proof in PROOFS):4.0f} min"])


def write() -> None:
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/guarantees", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(proof.name for proof in PROOFS)}")
    parser.add_argument(
        "--with", dest="options", default="", help="options for the command of those that are named"
    )
    parser.add_argument("--write", action="store_true", help="only make the table of docs/guarantees.md")
    parser.add_argument("--list", action="store_true", help="only tell what each takes on two quiet cores")
    args = parser.parse_args()
    if args.list:
        print(plan())
        return 0
    if args.write:
        write()
        return 0
    unknown = {*args.names} - {proof.name for proof in PROOFS}
    if unknown:
        parser.error(f"no proof is called {', '.join(sorted(unknown))}")
    chosen = [proof for proof in PROOFS if not args.names or proof.name in args.names]
    held = [prove(proof, args.options) for proof in chosen]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
