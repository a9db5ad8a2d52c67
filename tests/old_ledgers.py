"""Ledgers as earlier versions made them: the rows of a ledger of today in the tables of then."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from harvester.ledger import home_of

FOLDER: Final = Path(__file__).parent / "ledgers"
VERSIONS: Final = sorted(int(path.stem.removeprefix("version-")) for path in FOLDER.glob("version-*.sql"))


def make_older(out: Path, version: int) -> None:
    """Gives a finished output the ledger that this version would have left."""
    path = home_of(out) / "ledger.sqlite"
    older = path.with_suffix(".older")
    with closing(sqlite3.connect(older)) as db:
        db.executescript((FOLDER / f"version-{version}.sql").read_text())
        db.execute("ATTACH ? AS today", (str(path),))
        for (table,) in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall():
            columns = ", ".join(name for _, name, *_ in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM today.{table}")
        db.commit()
    older.replace(path)
    path.chmod(0o600)


def version_of(out: Path) -> int:
    with closing(sqlite3.connect(f"file:{home_of(out) / 'ledger.sqlite'}?mode=ro", uri=True)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return int(version)
