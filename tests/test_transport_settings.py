"""What a job may say about the way to its source."""

from pathlib import Path
from typing import Any

import pytest

from harvester.transport import TransportSettings, check_base_url

GOOD: dict[str, Any] = {"base_url": "https://api.example.com", "token_env": "HARVESTER_TOKEN"}


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com:8443/v1/", "https://api.example.com:8443/v1"),
        ("https://api.example.com/a%2Fb", "https://api.example.com/a%2Fb"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://api.localhost", "http://api.localhost"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_base_url_is_taken_with_its_prefix_and_without_a_closing_slash(text: str, base: str) -> None:
    assert f"{check_base_url(text)}/x" == f"{base}/x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("api.example.com", "https://"),
        ("", "https://"),
        ("ftp://api.example.com", "https://"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://api.example.com:port", "no URL"),
        ("https://api.example.com:99999", "no URL"),
        ("https://api.example.com?key=1", "query"),
        ("https://api.example.com#top", "fragment"),
        ("https://me:SECRET@api.example.com", "password"),
        ("http://api.example.com", "unencrypted"),
        ("http://10.0.0.1", "unencrypted"),
        ("http://localhost.example.com", "unencrypted"),
    ],
)
def test_a_base_url_that_cannot_work_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url: ") as caught:
        TransportSettings(**(GOOD | {"base_url": text}))
    assert why in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("auth", "basic"),
        ("token_env", None),
        ("token_file", Path("/run/secrets/token")),
        ("concurrency", 0),
        ("max_attempts", 0),
        ("max_answer_bytes", 0),
        ("request_timeout_s", 0.0),
        ("request_timeout_s", float("inf")),
        ("connect_timeout_s", -1.0),
        ("idle_timeout_s", float("nan")),
        ("token_wait_s", -1.0),
        ("max_outage_s", float("inf")),
        ("requests_per_second", 0.0),
        ("requests_per_second", float("inf")),
        ("initial_rate", float("nan")),
    ],
)
def test_a_setting_that_cannot_work_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^[a-z_, ]*: ") as caught:
        TransportSettings(**(GOOD | {setting: value}))
    assert setting in str(caught.value)


def test_without_auth_no_token_is_needed() -> None:
    assert TransportSettings(base_url="https://api.example.com", auth="none").token_env is None
