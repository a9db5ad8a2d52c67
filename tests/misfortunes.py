"""Seeded sequences of what befalls an output: runs over parts of the span that are killed or cannot reach the
source, files that are damaged, ledgers that are lost, spoilt or put back from an older copy, repairs.

Whatever came, the ways out that the commands name must end in the truth with the bytes of an undisturbed run.
`python -m tests.misfortunes URL FOLDER --seeds FIRST LAST` plays them and prints one JSON line; a process of
its own with no thread and no loop, since it forks one for each run. A seed plays the same sequence again.
"""

import argparse
import functools
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio

from harvester import events
from harvester.errors import HarvesterError
from harvester.ledger import Ledger, home_of
from harvester.rebuild import rebuild
from harvester.scheduler import Harvest
from harvester.verify import verify
from tests.harvesting import digests, hours, manifest, settings

LEDGER: Final = "ledger.sqlite"
OUTPUT: Final[dict[str, Any]] = {"shard_bytes": 60_000}
NOWHERE: Final = "http://127.0.0.1:9"
POINTS: Final = ("seal", "publish", "forget_garbage", "void", "see", "fail")
STEPS: Final = (
    "part",
    "part",
    "kill",
    "kill",
    "unreachable",
    "damage",
    "damage",
    "lose",
    "spoil",
    "age",
    "repair",
)


def child(url: str, out: Path, *, fatal: int | None = None, repair: bool = False, **job: Any) -> int | None:
    """Runs the job in a process of its own, killed at the `fatal`-th event or ledger entry; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            meet = _point(fatal)
            for name in POINTS:
                setattr(Ledger, name, _around(getattr(Ledger, name), meet))
            harvest = Harvest(
                settings(out, url, output=OUTPUT, **job), emit=lambda event: _hear(event, meet), repair=repair
            )
            code = anyio.run(harvest.run).exit_code
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def _point(fatal: int | None) -> Callable[[], None]:
    passed = 0

    def meet() -> None:
        nonlocal passed
        passed += 1
        if passed == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return meet


def _around(method: Callable[..., Any], meet: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(method)
    def meeting(*values: Any, **named: Any) -> Any:
        meet()
        answer = method(*values, **named)
        meet()
        return answer

    return meeting


def _hear(event: events.Event, meet: Callable[[], None]) -> None:
    if isinstance(event, events.WindowDone | events.ShardSealed | events.PartitionPublished):
        meet()


class Life:
    """One output and what befalls it."""

    def __init__(self, url: str, out: Path, seed: int) -> None:
        self._url = url
        self.out = out
        self._rng = random.Random(seed)
        self.told: list[str] = []
        self._older: bytes | None = None
        self.overlooked: list[str] = []
        """Files of another size than the manifest says, beside which a run ended with 0."""

    def play(self) -> None:
        for _ in range(self._rng.randint(3, 8)):
            step = self._rng.choice(STEPS)
            self.told.append(step)
            getattr(self, f"_{step}")()

    def _run(self, url: str | None = None, **other: Any) -> None:
        first = self._rng.randrange(0, 47)
        span = hours(first, self._rng.randint(first + 1, 48))
        path = home_of(self.out) / LEDGER
        if path.is_file() and self._rng.random() < 0.5:
            self._older = path.read_bytes()
        code = child(url or self._url, self.out, span=span, **other)
        self.told[-1] += f" {span.start:%dT%H}-{span.end:%dT%H}: {code}"

    def _part(self) -> None:
        self._run()

    def _kill(self) -> None:
        self._run(fatal=self._rng.randint(1, 60))

    def _unreachable(self) -> None:
        self._run(NOWHERE, transport={"max_attempts": 1, "max_outage_s": 0.05})

    def _repair(self) -> None:
        self._run(repair=True)

    def _damage(self) -> None:
        """One file: a published shard, a staged one, or the ledger's WAL where a kill has left it."""
        files = sorted([*self.out.glob("dt=*/*"), *self.out.glob("_harvest/staging/*.zst")])
        if files:
            path = self._rng.choice(files)
            how = self._rng.choice(["flip", "cut", "delete"])
            content = bytearray(path.read_bytes())
            if how == "delete" or len(content) < 2:
                path.unlink()
            elif how == "cut":
                path.write_bytes(content[: self._rng.randrange(len(content))])
            else:
                content[self._rng.randrange(len(content))] ^= 1 << self._rng.randrange(8)
                path.write_bytes(content)
            self.told[-1] += f" {how} {path.relative_to(self.out)}"

    def _lose(self) -> None:
        for path in home_of(self.out).glob(f"{LEDGER}*"):
            path.unlink()

    def _spoil(self) -> None:
        path = home_of(self.out) / LEDGER
        if path.is_file():
            content = bytearray(path.read_bytes())
            at = self._rng.randrange(max(1, len(content) - 4096))
            content[at : at + 4096] = self._rng.randbytes(min(4096, len(content)))
            path.write_bytes(content)

    def _age(self) -> None:
        """The ledger of some time ago, without the WAL of today."""
        if self._older is not None and home_of(self.out).is_dir():
            self._lose()
            (home_of(self.out) / LEDGER).write_bytes(self._older)

    def recover(self) -> int | None:
        """By what the commands advise: run; where that ends with 7, rebuild or repair, and run again; then
        verify, and where that names a file, repair.
        """
        code = self._brought_to_an_end()
        differences = verify(self.out).differences if code == 0 else []
        damaged = sorted({one.subject for one in differences if one.kind in ("sha256", "missing")})
        if damaged:
            self.told.append(f"not looked at: {', '.join(damaged)}")
            self.overlooked = [path for path in damaged if _has_another_size(self.out, path)]
            code = child(self._url, self.out, repair=True)
        return code

    def _brought_to_an_end(self) -> int | None:
        code = child(self._url, self.out)
        for _ in range(3):
            if code != 7:
                break
            code = child(self._url, self.out, repair=True)
            if code == 7:
                try:
                    rebuild(self.out, force=True, repair=True)
                    self.told.append("rebuilt")
                except HarvesterError as error:
                    self.told.append(f"not rebuilt: {error}")
                    self._lose()  # without a manifest nothing is proven, and the run begins anew
                code = child(self._url, self.out, repair=True)
        return code


def _has_another_size(out: Path, path: str) -> bool:
    told = {shard["path"]: shard["bytes"] for shard in manifest(out)["shards"]}
    return not (out / path).exists() or (out / path).stat().st_size != told[path]


def wrong_with(life: Life, wanted: dict[str, str]) -> list[str]:
    """What is not as it has to be at the end; leftovers of runs whose ledger was lost are told as foreign."""
    code = life.recover()
    if code != 0:
        return [f"ends with {code}"]
    wrong = [f"0 beside {path}, which was cut or deleted" for path in life.overlooked]
    wrong += [] if digests(life.out) == wanted else ["other files than those of an undisturbed run"]
    verdict = verify(life.out)
    wrong += [f"{one.kind} {one.subject}" for one in verdict.differences if one.kind != "foreign"]
    if any(one.kind == "foreign" for one in verdict.differences):
        told = " ".join(life.told)
        if not any(word in told for word in ("lose", "spoil", "age", "rebuilt")):
            wrong.append("leftovers although no ledger was lost")
    if not verdict.complete:
        wrong.append("not complete")
    return wrong


def sweep(url: str, folder: Path, seeds: range) -> dict[str, Any]:
    clean = folder / "clean"
    assert child(url, clean) == 0
    wanted = digests(clean)
    wrong: dict[int, Any] = {}
    steps: Counter[str] = Counter()
    for seed in seeds:
        life = Life(url, folder / f"seed-{seed}", seed)
        life.play()
        found = wrong_with(life, wanted)
        steps.update(step.split()[0] for step in life.told)
        if found:
            wrong[seed] = {"wrong": found, "played": life.told}
        else:
            shutil.rmtree(life.out, ignore_errors=True)
    return {"seeds": len(seeds), "steps": dict(steps), "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 10), metavar=("FIRST", "LAST"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    told = sweep(args.url, args.folder, range(*args.seeds))
    print(json.dumps(told))
    return bool(told["wrong"])


if __name__ == "__main__":
    sys.exit(main())
