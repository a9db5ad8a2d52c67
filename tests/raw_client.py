"""A client that trusts nothing and repairs nothing: what the simulator's tests look at its answers with."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from harvester.testing import Simulator

DETAILS = "/reporting/api/v1/interaction/details"
MESSAGES = "/reporting/api/v1/report-message/details"
EVENTS = "/reporting/api/v1/agent-workstate-events/details"
ROLLUP = "/reporting/api/v1/agent/workstate/rollup"

DAY: dict[str, Any] = {"StartDateTime": "2024-01-03T00:00:00Z", "EndDateTime": "2024-01-03T23:59:59.999Z"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def records(self) -> list[Any]:
        return json.loads(self.body)["data"]  # type: ignore[no-any-return]

    @property
    def ids(self) -> list[str]:
        return [record["_id"] for record in self.records]


def ask(
    simulator: Simulator, path: str = DETAILS, *, headers: dict[str, str] | None = None, **body: Any
) -> Reply:
    """One request on one connection; without a range it asks for a busy day."""
    if path != ROLLUP and not any("Start" in name for name in body):
        body = {**DAY, **body}
    connection = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=5)
    try:
        connection.request("POST", path, json.dumps(body), headers or {"x-api-key": simulator.token})
        return _reply(connection.getresponse())
    finally:
        connection.close()


def call(simulator: Simulator, method: str, path: str, body: Any = None) -> Reply:
    connection = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=5)
    try:
        connection.request(method, path, body and json.dumps(body), {"x-api-key": simulator.token})
        return _reply(connection.getresponse())
    finally:
        connection.close()


def bytes_on_the_wire(simulator: Simulator, **body: Any) -> bytes:
    """All that comes back for one request until the server closes; ConnectionResetError if it resets."""
    host, _, port = simulator.url.removeprefix("http://").partition(":")
    sent = json.dumps({**DAY, **body}).encode()
    lines = [
        f"POST {DETAILS} HTTP/1.1",
        "Host: x",
        f"x-api-key: {simulator.token}",
        f"Content-Length: {len(sent)}",
    ]
    head = "\r\n".join([*lines, "", ""])
    received = b""
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode() + sent)
        while block := connection.recv(1 << 20):
            received += block
    return received


def _reply(response: http.client.HTTPResponse) -> Reply:
    return Reply(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=response.read(),
    )
