"""What is written first: a loop with requests, one after the other, into one gzip file. No promises."""

import gzip
import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import requests  # type: ignore[import-untyped]

LIMIT = 1000


def main(url: str, start: datetime, end: datetime, folder: Path) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"apikey {os.environ['HARVESTER_TOKEN']}"
    with gzip.open(folder / "records.jsonl.gz", "wt", encoding="utf-8") as file:
        while start < end:
            until = start + timedelta(hours=1) - timedelta(milliseconds=1)
            body = {"StartDateTime": start.isoformat(), "EndDateTime": until.isoformat(), "Limit": LIMIT}
            offset = 0
            while True:
                answer = session.post(
                    f"{url}/reporting/api/v1/interaction/details", json={**body, "Offset": offset}, timeout=60
                )
                answer.raise_for_status()
                records = answer.json()["data"]
                file.writelines(json.dumps(record) + "\n" for record in records)
                offset += len(records)
                if len(records) < LIMIT:
                    break
            start += timedelta(hours=1)


if __name__ == "__main__":
    url, start, end, folder = sys.argv[1:]
    main(url, datetime.fromisoformat(start), datetime.fromisoformat(end), Path(folder))
