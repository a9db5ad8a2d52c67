"""`python -m tests.fuzz --target NAME [--seconds N | --runs N]`: one target under atheris, led by coverage.

Every input has a bound of time and of memory; what goes beyond, or raises, is kept, and printed with the
command that replays it (`--replay FILE`, which needs no atheris).
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

_CHILD: Final = "--in-this-process"
_MOST_BYTES: Final = 16_384
_MOST_MIB: Final = 640
"""The process with atheris, pyarrow and all holds some 250."""
_SLOWEST_S: Final = 20
"""The slowest good input takes a fifth of a second, and the machine may be loaded."""
_TALK_BYTES: Final = 8000


def guided(name: str, arguments: Sequence[str]) -> None:
    """Never comes back: libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only scripts/fuzz has it

    with atheris.instrument_imports(include=["harvester", "email", "tomllib"]):
        from tests.fuzz.targets import TARGETS
    TARGETS[name](b"")  # what it stands on is made outside the bound of an input
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def _fuzz(args: argparse.Namespace) -> int:
    from tests.fuzz.seeds import seeds

    findings: Path = args.findings
    findings.mkdir(parents=True, exist_ok=True)
    known = set(findings.glob(f"{args.target}-*"))
    with tempfile.TemporaryDirectory(prefix="harvester-corpus-") as scratch:
        for number, seed in enumerate(seeds(args.target)):
            (Path(scratch) / f"{number:04d}").write_bytes(seed)
        bounds = [
            f"-max_total_time={args.seconds}",
            f"-runs={args.runs}",
            f"-seed={args.seed}",
            f"-max_len={_MOST_BYTES}",
            f"-rss_limit_mb={_MOST_MIB}",
            f"-timeout={_SLOWEST_S}",
            f"-artifact_prefix={findings}/{args.target}-",
            "-print_final_stats=1",
        ]
        command = [sys.executable, "-m", "tests.fuzz", _CHILD, args.target, scratch, *bounds]
        done = subprocess.run(command, capture_output=True, check=False)
        kept = len(list(Path(scratch).iterdir()))
    talk = (done.stderr + done.stdout).decode(errors="replace")
    found = sorted(path for path in findings.glob(f"{args.target}-*") if path not in known)
    if done.returncode:
        print(talk[-_TALK_BYTES:], file=sys.stderr)
    for path in found:
        print(
            f"{path}: {path.read_bytes()[:200]!r}\n"
            f"replay: scripts/fuzz --target {args.target} --replay {path}",
            file=sys.stderr,
        )
    told = {
        "target": args.target,
        "inputs": _last(r"number_of_executed_units: +(\d+)|#(\d+)", talk),
        "kept": kept,
        "coverage": _last(r"cov: +(\d+)", talk),
        "peak_rss_mib": _last(r"peak_rss_mb: +(\d+)", talk),
        "slowest_s": _last(r"slowest_unit_time_sec: +(\d+)", talk),
        "seed": args.seed,
        "found": [str(path) for path in found],
    }
    print(orjson.dumps(told).decode())
    return bool(done.returncode)


def _last(pattern: str, talk: str) -> int:
    found = re.findall(pattern, talk)
    if not found:
        return 0
    return int("".join(found[-1]))


def main() -> int:
    if sys.argv[1:2] == [_CHILD]:
        guided(sys.argv[2], sys.argv[3:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="scripts/fuzz")
    parser.add_argument("--target", choices=TARGETS, required=True)
    parser.add_argument("--seconds", type=int, default=60, help="0: no bound but --runs")
    parser.add_argument("--runs", type=int, default=-1, help="inputs at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="this input alone, with its traceback")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="where inputs that fail go")
    args = parser.parse_args()
    if args.replay is not None:
        TARGETS[args.target](args.replay.read_bytes())
        print("passes")
        return 0
    return _fuzz(args)


if __name__ == "__main__":
    sys.exit(main())
