"""The token: where it comes from, that it shows nowhere, and what happens when it is no longer good."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.dialects import Request
from harvester.errors import ConfigError, Refused, ServerFailed, SourceError
from harvester.events import Event, TokenRejected
from harvester.transport import LOOP_CLOCK, TransportSettings
from harvester.transport.auth import REREAD_S, Auth, Secret, read_token
from harvester.transport.blot import Blotter
from harvester.transport.status import Unauthorized
from tests.virtual_time import run

ASK = Request(method="POST", path="/x", query=(), headers=(("X-One", "1"),), body=b"{}")


def settings(**more: Any) -> TransportSettings:
    return TransportSettings(base_url="https://localhost", **({"token_env": "TOKEN"} | more))


def from_file(path: Path, **more: Any) -> TransportSettings:
    return settings(token_env=None, token_file=path, **more)


class Server:
    """Accepts some tokens and notes, with the time, who came; each request takes a second."""

    def __init__(self, *good: str) -> None:
        self.good = set(good)
        self.came: list[tuple[float, str]] = []
        self.error: SourceError | None = None

    async def send(self, ask: Request) -> str:
        token = dict(ask.headers).get("Authorization", "")
        self.came.append((round(anyio.current_time(), 2), token.removeprefix("apikey ")))
        await anyio.sleep(1)
        if self.error is not None:
            raise self.error
        if token.removeprefix("apikey ") not in self.good:
            raise Unauthorized("POST /x: 401")
        return "good"


def auth(
    server: Server,
    given: TransportSettings,
    events: list[Event] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Auth[str]:
    emit = (lambda event: None) if events is None else events.append
    return Auth(
        server, given, environ=environ or {"TOKEN": "old"}, emit=emit, clock=LOOP_CLOCK, blotter=Blotter()
    )


# --- where it comes from


@pytest.mark.parametrize(
    ("scheme", "header"),
    [
        ("apikey", ("Authorization", "apikey old")),
        ("bearer", ("Authorization", "Bearer old")),
        ("x-api-key", ("x-api-key", "old")),
        ("none", None),
    ],
)
def test_each_scheme_has_its_header(scheme: str, header: tuple[str, str] | None) -> None:
    seen: list[Request] = []

    class Echo:
        async def send(self, ask: Request) -> str:
            seen.append(ask)
            return "good"

    async def main() -> None:
        layer = Auth[str](
            Echo(),
            settings(auth=scheme),
            environ={"TOKEN": "old"},
            emit=lambda e: None,
            clock=LOOP_CLOCK,
            blotter=Blotter(),
        )
        await layer.send(ASK)

    run(main)
    assert seen[0].headers == (*ASK.headers, *([header] if header else []))


@pytest.mark.parametrize("text", ["old", "old\n", "  old\r\n\n"])
def test_white_space_around_a_token_is_not_part_of_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    assert read_token(from_file(tmp_path / "token"), {}) == "old"
    assert read_token(settings(), {"TOKEN": text}) == "old"


def test_a_byte_order_mark_is_not_part_of_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfold\r\n")
    assert read_token(from_file(tmp_path / "token"), {}) == "old"


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_a_token_that_is_missing_or_empty_names_its_key_and_its_place(
    text: str | None, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match=r"source\.token_file: the file .*token is missing or empty"):
        read_token(from_file(tmp_path / "token"), {})
    with pytest.raises(ConfigError, match=r"source\.token_env: the environment variable TOKEN is missing or"):
        read_token(settings(), {} if text is None else {"TOKEN": text})


@pytest.mark.parametrize(
    "text", ["CANARY\nX-Evil: 1", "CANARY two", "CANARYü", "CANARY\x00", "CANARY" * 2000]
)
def test_a_token_that_cannot_stand_in_a_header_is_refused_unseen(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    for given, environ in ((from_file(tmp_path / "token"), {}), (settings(), {"TOKEN": text})):
        with pytest.raises(ConfigError, match="cannot be a token") as caught:
            read_token(given, environ)
        assert "CANARY" not in repr(caught.value)


def test_a_token_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="it is not text"):
        read_token(from_file(tmp_path / "binary"), {})
    with pytest.raises(ConfigError, match="Is a directory"):
        read_token(from_file(tmp_path), {})


def test_a_secret_shows_only_where_it_is_asked_for() -> None:
    secret = Secret("CANARY")
    assert "CANARY" not in f"{secret!r} {[secret]} {(secret,)} { ({'a': secret}) }"
    assert f"{secret}" == "CANARY"


# --- when it is no longer good


def test_a_403_is_final(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    server = Server("old")

    async def main() -> None:
        layer = auth(server, from_file(tmp_path / "token"))
        await layer.send(ASK)
        server.error = Refused("403")
        with pytest.raises(Refused, match="403"):
            await layer.send(ASK)

    run(main)
    assert len(server.came) == 2


def test_a_401_is_final_for_a_token_from_the_environment_even_if_it_worked_once() -> None:
    server = Server("old")

    async def main() -> None:
        layer = auth(server, settings())
        await layer.send(ASK)
        server.good.clear()
        with pytest.raises(Refused):
            await layer.send(ASK)

    run(main)
    assert [at_s for at_s, _ in server.came] == [0, 1]


def test_a_401_is_final_for_a_token_file_that_never_worked(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")
    server = Server("old")

    async def main() -> float:
        with pytest.raises(Refused):
            await auth(server, from_file(tmp_path / "token")).send(ASK)
        return anyio.current_time()

    assert run(main) < 1.1
    assert len(server.came) == 1


def renewal(
    tmp_path: Path, changes: dict[float, str | None], *, good: str = "new", tasks: int = 5, **more: Any
) -> tuple[Server, list[str | Exception], list[Event]]:
    """Five tasks ask with "old" when it has just expired; the file changes at those seconds."""
    path = tmp_path / "token"
    path.write_text("old\n")
    server, events = Server("old"), list[Event]()
    outcomes: list[str | Exception] = []

    async def main() -> None:
        layer = auth(server, from_file(path, **more), events)
        await layer.send(ASK)
        server.good = {good}

        async def one(delay_s: float) -> None:
            await anyio.sleep(delay_s)
            try:
                outcomes.append(await layer.send(ASK))
            except Exception as error:
                outcomes.append(error)

        async with anyio.create_task_group() as group:
            for number in range(tasks):
                group.start_soon(one, number * 0.1)
            group.start_soon(one, 3.0)  # comes while everybody waits
            for at_s, text in changes.items():
                await anyio.sleep(at_s + 1 - anyio.current_time())
                path.unlink() if text is None else path.write_text(text)

    run(main)
    return server, outcomes, events


def test_after_a_401_all_wait_for_the_new_token_one_tries_it_and_then_all_go_on(tmp_path: Path) -> None:
    server, outcomes, events = renewal(tmp_path, {5.2: None, 5.8: "new\n"})
    assert outcomes == ["good"] * 6
    assert events == [TokenRejected(wait_s=30.0)]
    new = [at_s for at_s, token in server.came if token == "new"]
    assert len([token for _, token in server.came if token == "old"]) == 1 + 5
    assert 6.8 <= new[0] <= 6.8 + REREAD_S + 0.01
    assert all(at_s >= new[0] + 1 for at_s in new[1:])
    assert len(new) == 6


def test_a_new_token_that_is_no_good_either_is_tried_once_and_the_next_one_awaited(tmp_path: Path) -> None:
    server, outcomes, _ = renewal(tmp_path, {3.2: "bad", 7.0: "new"})
    assert outcomes == ["good"] * 6
    assert [token for _, token in server.came].count("bad") == 1


@pytest.mark.parametrize("changes", [{}, {3.0: "bad"}])
def test_without_a_new_token_in_time_all_are_refused(
    tmp_path: Path, changes: dict[float, str | None]
) -> None:
    server, outcomes, _ = renewal(tmp_path, changes, token_wait_s=10.0)
    assert len(outcomes) == 6
    for outcome in outcomes:
        assert isinstance(outcome, Refused)
        assert "token_wait_s = 10 s" in str(outcome)
    assert len(server.came) <= 1 + 5 + 1
    assert max(at_s for at_s, _ in server.came) < 12.1


def test_a_new_token_whose_trial_fails_for_another_reason_is_kept(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    server = Server("old")

    async def main() -> None:
        layer = auth(server, from_file(tmp_path / "token"))
        await layer.send(ASK)
        server.good = {"new"}
        (tmp_path / "token").write_text("new")

        async def sick() -> None:
            await anyio.sleep(1.5)
            server.error = ServerFailed("500")

        async with anyio.create_task_group() as group:
            group.start_soon(sick)
            with pytest.raises(ServerFailed):
                await layer.send(ASK)
        server.error = None
        assert await layer.send(ASK) == "good"

    run(main)
    assert [token for _, token in server.came] == ["old", "old", "new", "new"]


def test_when_the_one_that_waits_for_the_token_is_cancelled_another_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    server = Server("old")

    async def main() -> None:
        layer = auth(server, from_file(tmp_path / "token"))
        await layer.send(ASK)
        server.good = {"new"}
        with anyio.move_on_after(5):
            await layer.send(ASK)
        (tmp_path / "token").write_text("new")
        assert await layer.send(ASK) == "good"

    run(main)
