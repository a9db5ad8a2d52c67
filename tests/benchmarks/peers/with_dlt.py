"""The same windows by dlt: its REST client and paginator, its own requests, into gzip'ed JSON Lines of its
filesystem destination."""

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found]
from dlt.sources.helpers.rest_client import RESTClient  # type: ignore[import-not-found]
from dlt.sources.helpers.rest_client.auth import APIKeyAuth  # type: ignore[import-not-found]
from dlt.sources.helpers.rest_client.paginators import OffsetPaginator  # type: ignore[import-not-found]


def details(url: str, start: datetime, end: datetime) -> Iterator[Any]:
    token = f"apikey {os.environ['HARVESTER_TOKEN']}"
    client = RESTClient(url, auth=APIKeyAuth(name="Authorization", api_key=token, location="header"))
    while start < end:
        until = start + timedelta(hours=1) - timedelta(milliseconds=1)
        yield from client.paginate(
            "/reporting/api/v1/interaction/details",
            method="POST",
            json={"StartDateTime": start.isoformat(), "EndDateTime": until.isoformat()},
            paginator=OffsetPaginator(
                limit=1000, offset_body_path="Offset", limit_body_path="Limit", total_path=None
            ),
            data_selector="data",
        )
        start += timedelta(hours=1)


def main(url: str, start: datetime, end: datetime, folder: Path) -> None:
    pipeline = dlt.pipeline(
        "bench", pipelines_dir=str(folder.parent / "working"), dataset_name="out",
        destination=dlt.destinations.filesystem(bucket_url=folder.as_uri()),
    )  # fmt: skip
    resource = dlt.resource(details(url, start, end), name="details", primary_key="_id")
    pipeline.run(resource, loader_file_format="jsonl").raise_on_failed_jobs()


if __name__ == "__main__":
    url, start, end, folder = sys.argv[1:]
    main(url, datetime.fromisoformat(start), datetime.fromisoformat(end), Path(folder))
