"""The same windows by the Airbyte CDK: a source of one HTTP stream, its records as messages on stdout."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import launch  # type: ignore[import-not-found]
from airbyte_cdk.models import ConnectorSpecification  # type: ignore[import-not-found]
from airbyte_cdk.sources import AbstractSource  # type: ignore[import-not-found]
from airbyte_cdk.sources.streams.http import HttpStream  # type: ignore[import-not-found]

LIMIT = 1000


class Details(HttpStream):  # type: ignore[misc]
    primary_key = "_id"
    http_method = "POST"
    url_base = ""

    def __init__(self, url: str, start: datetime, end: datetime) -> None:
        self.url_base = f"{url}/"
        self._start, self._end = start, end
        super().__init__()

    def path(self, **_: Any) -> str:
        return "reporting/api/v1/interaction/details"

    def stream_slices(self, **_: Any) -> Iterable[Mapping[str, Any]]:
        start = self._start
        while start < self._end:
            until = start + timedelta(hours=1) - timedelta(milliseconds=1)
            yield {"StartDateTime": start.isoformat(), "EndDateTime": until.isoformat()}
            start += timedelta(hours=1)

    def request_headers(self, **_: Any) -> Mapping[str, Any]:
        return {"Authorization": f"apikey {os.environ['HARVESTER_TOKEN']}"}

    def request_body_json(
        self, stream_state: Any = None, stream_slice: Any = None, next_page_token: Any = None
    ) -> Mapping[str, Any]:
        span = {name: stream_slice[name] for name in ("StartDateTime", "EndDateTime")}
        return {**span, "Limit": LIMIT, **(next_page_token or {"Offset": 0})}

    def next_page_token(self, response: Any) -> Mapping[str, Any] | None:
        came = len(response.json()["data"])
        return {"Offset": json.loads(response.request.body)["Offset"] + came} if came == LIMIT else None

    def parse_response(self, response: Any, **_: Any) -> Iterable[Mapping[str, Any]]:
        yield from response.json()["data"]

    def get_json_schema(self) -> Mapping[str, Any]:
        return {"type": "object", "properties": {}}


class Source(AbstractSource):  # type: ignore[misc]
    def __init__(self, *given: Any) -> None:
        self._given = given

    def spec(self, logger: Any) -> Any:
        return ConnectorSpecification(connectionSpecification={})

    def check_connection(self, logger: Any, config: Any) -> tuple[bool, Any]:
        return True, None

    def streams(self, config: Any) -> list[Any]:
        return [Details(*self._given)]


def main(url: str, start: datetime, end: datetime, folder: Path) -> None:
    stream = {"name": "details", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "append"}
    (folder / "catalog").write_text(json.dumps({"streams": [chosen]}))
    (folder / "config").write_text("{}")
    words = ["read", "--config", str(folder / "config"), "--catalog", str(folder / "catalog")]
    launch(Source(url, start, end), words)


if __name__ == "__main__":
    url, start, end, folder = sys.argv[1:]
    main(url, datetime.fromisoformat(start), datetime.fromisoformat(end), Path(folder))
