"""`harvester run` as a user starts it: a process of its own, with a job file, an exit code and a last line.
Its calls are recorded, failed or killed at like those of a run in this process.
"""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from harvester.cli import main as harvester
from tests.disks.choosing import Spot
from tests.disks.recording import Blow, Recorder
from tests.harvesting import TOKEN_ENV

LIMIT_S: Final = 300.0
"""A command that is not over by then hangs."""


def run_command(url: str, world: Path, job: dict[str, Any], blow: Blow | None) -> dict[str, Any] | None:
    """What the run told of itself and of its calls; None: killed. The job file lies beside `world`, since
    others may play at the same time.
    """
    file, told = world.with_suffix(".toml"), world.with_suffix(".json")
    file.write_text(_job_file(url, world, job))
    told.unlink(missing_ok=True)
    asked = {"world": str(world), "told": str(told), "blow": None if blow is None else asdict(blow)}
    command = [sys.executable, "-m", "tests.disks.command", orjson.dumps(asked).decode(), "run", str(file)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=LIMIT_S)
    if ended.returncode < 0:
        return None
    summary = orjson.loads(ended.stdout.splitlines()[-1])
    if summary["exit_code"] != ended.returncode:
        return {"error": f"the process ended with {ended.returncode}, and said {summary}"}
    of_calls: dict[str, Any] = orjson.loads(told.read_bytes())
    of_run = {"code": ended.returncode, "status": summary["status"], "error": summary.get("error") or ""}
    return of_run | of_calls


def _job_file(url: str, world: Path, job: dict[str, Any]) -> str:
    """As a job file says what `tests.harvesting.settings` would be given."""
    span, fetch = job["span"], {"page_size": 100, "max_attempts": 4, "max_outage_s": 2.0, **job["transport"]}
    sections = {
        "source": {"base_url": url, "token_env": TOKEN_ENV},
        "span": {"start": span.start.isoformat(), "end": span.end.isoformat(), "resolution": "Hour"},
        "fetch": fetch,
        "output": {"url": str(world / "out"), **job["output"]},
    }
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {orjson.dumps(value).decode()}\n" for key, value in keys.items())
        for name, keys in sections.items()
    )


def main() -> int:
    asked, *words = sys.argv[1:]
    given = orjson.loads(asked)
    blow = given["blow"] and Blow(**given["blow"] | {"at": Spot(**given["blow"]["at"])})
    recorder = Recorder(Path(given["world"]), blow=blow)
    recorder.install()
    sys.argv = ["harvester", *words]
    try:
        return harvester()
    finally:
        Path(given["told"]).write_bytes(orjson.dumps(recorder.told()))


if __name__ == "__main__":
    sys.exit(main())
