"""Whom the session trusts: certificates made for each test, offered by a server on loopback."""

import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream

from harvester.cli import certificates
from harvester.dialects import Request
from harvester.errors import ConfigError, ConnectFailed, ContractBroken, Untrusted
from harvester.transport import Answer, Session, TransportSettings
from harvester.transport.tls import client_context
from tests.loopback import Loopback, answer, serving

BODY: Final = b'{"resultCode": 0, "resultCodeName": "Success", "data": []}'
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    ca.cert_pem.write_to_path(path)
    return path


def offering(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def asked(tls: ssl.SSLContext, ca_file: Path | None) -> Answer:
    """One request to a server with this certificate; fails where a request came that should not have."""
    outcomes: list[Answer | Exception] = []

    async def main() -> None:
        async with serving(answer(BODY), tls=tls) as server:
            settings = TransportSettings(base_url=server.url, auth="none", ca_file=ca_file)
            async with Session(settings) as session:
                ask = Request(
                    method="POST", path="/x", query=(), headers=(("Authorization", "apikey s"),), body=b"{}"
                )
                try:
                    outcomes.append(await session.send(ask))
                except Exception as error:
                    outcomes.append(error)
            assert len(server.requests) == isinstance(outcomes[0], Answer)

    anyio.run(main)
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]


def test_a_private_authority_vouches_for_its_server(ca: trustme.CA, ca_file: Path) -> None:
    assert asked(offering(ca.issue_cert("127.0.0.1")), ca_file).body == BODY


def test_a_chain_over_an_authority_between_is_followed(ca: trustme.CA, ca_file: Path) -> None:
    between = ca.create_child_ca()
    assert asked(offering(between.issue_cert("127.0.0.1")), ca_file).body == BODY


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("expired", "certificate has expired"),
        ("not yet", "certificate is not yet valid"),
        ("other host", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("other authority", "unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate|self signed certificate"),
        (
            "the system's authorities",
            "self-signed certificate in certificate chain|unable to get local issuer",
        ),
    ],
)
def test_a_certificate_that_proves_nothing_ends_it_before_a_byte_of_the_request_left(
    case: str, why: str, ca: trustme.CA, ca_file: Path
) -> None:
    """The token among them; and the message says what is wrong, with which host, by whose authorities."""
    certificate = {
        "expired": lambda: ca.issue_cert(
            "127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1)
        ),
        "not yet": lambda: ca.issue_cert(
            "127.0.0.1",
            not_before=datetime(2200, 1, 1, tzinfo=UTC),
            not_after=datetime(2201, 1, 1, tzinfo=UTC),
        ),
        "other host": lambda: ca.issue_cert("api.example.com"),
        "other authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "self-signed": None,
        "the system's authorities": lambda: ca.issue_cert("127.0.0.1"),
    }[case]
    if certificate is None:  # an authority's own certificate, which names no host, as the server's
        other = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with other.private_key_pem.tempfile() as key, other.cert_pem.tempfile() as cert:
            tls.load_cert_chain(cert, key)
    else:
        tls = offering(certificate())
    with pytest.raises(Untrusted, match=f"certificate of 127.0.0.1 does not stand up: ({why})") as caught:
        asked(tls, None if case.startswith("the system") else ca_file)
    assert issubclass(Untrusted, ContractBroken), "the run stops at once: waiting mends no certificate"
    assert caught.value.__context__ is None
    assert "nothing was sent" in str(caught.value)
    assert str("this machine" if case.startswith("the system") else ca_file) in str(caught.value)


def test_an_old_tls_is_refused(ca_file: Path) -> None:
    for context in (client_context(None), client_context(ca_file)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_what_speaks_no_tls_gets_no_request(ca_file: Path) -> None:
    async def main() -> None:
        async with serving(answer(BODY)) as server:
            url = server.url.replace("http:", "https:")
            settings = TransportSettings(base_url=url, auth="none", ca_file=ca_file, connect_timeout_s=0.1)
            async with Session(settings) as session:
                with pytest.raises(ConnectFailed):
                    await session.send(Request(method="GET", path="/", query=(), headers=(), body=None))
            assert server.requests == []

    anyio.run(main)


def test_a_server_with_plain_http_in_the_place_of_tls_is_told_as_that_and_tried_again(ca_file: Path) -> None:
    """No certificate proved anything false: a balancer that restarts answers so for a moment."""

    async def main() -> None:
        async def speak(stream: SocketStream) -> None:
            async with stream:
                await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await stream.receive()

        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)
            settings = TransportSettings(base_url=f"https://127.0.0.1:{port}", auth="none", ca_file=ca_file)
            async with anyio.create_task_group() as tasks, Session(settings) as session:
                tasks.start_soon(listener.serve, speak)
                with pytest.raises(ConnectFailed, match="TLS failed, WRONG_VERSION_NUMBER"):
                    await session.send(Request(method="GET", path="/", query=(), headers=(), body=None))
                tasks.cancel_scope.cancel()

    anyio.run(main)


def test_no_session_keys_are_written(
    monkeypatch: pytest.MonkeyPatch, ca: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    """Whoever has them and the traffic has the token. The file is not even begun, as aiohttp would do when it
    is imported."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert asked(offering(ca.issue_cert("127.0.0.1")), ca_file).body == BODY
    with certificates.unread():
        assert ssl.create_default_context().keylog_filename is None
    assert os.environ["SSLKEYLOGFILE"] == str(tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        ("folder", "cannot be read: Is a directory"),
        (b"", "holds no certificate in PEM form"),
        (b"hello\n", "holds no certificate in PEM form"),
        ("der", "holds no certificate in PEM form"),
        ("cut", "holds no certificate in PEM form"),
        ("key", "holds no certificate in PEM form"),
        ("good and cut", "holds no certificate in PEM form"),
    ],
)
def test_a_ca_file_that_is_none_is_named(
    content: bytes | str | None, why: str, ca: trustme.CA, tmp_path: Path
) -> None:
    path, pem = tmp_path / "authority.pem", ca.cert_pem.bytes()
    made = {
        "der": ssl.PEM_cert_to_DER_cert(pem.decode()),
        "cut": pem[:200],
        "key": ca.private_key_pem.bytes(),
        "good and cut": pem + pem[:200],
    }
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(made[content] if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=why) as caught:
        client_context(path)
    assert f"source.ca_file: {path}" in str(caught.value)


def test_a_ca_file_may_hold_words_around_its_certificates(ca: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    pem = ca.cert_pem.bytes()
    path.write_bytes(b"\xef\xbb\xbf# \xc3\xbc\n" + pem + b"\n# another\n" + trustme.CA().cert_pem.bytes())
    assert len(client_context(path).get_ca_certs()) == 2


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(
        "[span]\nstart = 2024-01-01T00:00:00Z\nend = 2024-01-01T02:00:00Z\n[output]\nurl = 'out'\n"
    )
    return path


async def called(job: Path, server: Loopback, *words: str) -> tuple[int, str]:
    """Exit code and stderr of `harvester WORDS` in a process of its own."""
    done = await anyio.run_process(
        [sys.executable, "-m", "harvester", *words, "--set", f"source.base_url={server.url}"],
        check=False,
        cwd=job.parent,
        env={"HARVESTER_TOKEN": "secret", "PATH": "/nowhere"},
    )
    assert not done.stdout or json.loads(done.stdout.splitlines()[-1])["exit_code"] == done.returncode
    return done.returncode, done.stderr.decode()


def test_a_run_takes_the_ca_file_from_its_flag_and_ends_at_once_without(
    job: Path, ca: trustme.CA, ca_file: Path
) -> None:
    """Code 0 with it, code 6 without it, long before `max_outage_s`; and code 2 for one that is missing."""

    async def main() -> None:
        async with serving(answer(BODY), tls=offering(ca.issue_cert("127.0.0.1"))) as server:
            with anyio.fail_after(60):
                code, said = await called(job, server, "run", "job.toml")
                assert (code, server.requests) == (6, []), said
                assert "does not stand up" in said
                code, said = await called(job, server, "run", "job.toml", "--ca-file", "missing.pem")
                assert (code, server.requests) == (2, []), said
                assert "--ca-file: source.ca_file: missing.pem cannot be read" in said
                code, said = await called(job, server, "run", "job.toml", "--ca-file", str(ca_file))
                assert code == 0, said
                assert server.requests

    anyio.run(main)


def test_authorities_are_not_loaded_while_commands_are_imported_and_are_there_afterwards(
    monkeypatch: pytest.MonkeyPatch, ca_file: Path
) -> None:
    """Also those that the environment names: they count again for whoever asks later."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with certificates.unread():
        assert client_context(None).cert_store_stats()["x509"] == 0
    assert client_context(None).cert_store_stats()["x509"] == 1
    assert os.environ["SSL_CERT_FILE"] == str(ca_file)
    assert "SSL_CERT_DIR" not in os.environ


def test_a_command_of_its_own_process_loads_no_authorities_by_itself(ca_file: Path) -> None:
    """What aiohttp made for connections without a context of their own trusts nobody."""
    program = (
        "import harvester.cli, sys; sys.argv = ['harvester', 'plan', 'missing.toml']; harvester.cli.main()\n"
        "from aiohttp import connector as made\n"
        "for one in (made._SSL_CONTEXT_VERIFIED, made._SSL_CONTEXT_UNVERIFIED):\n"
        "    print(one.cert_store_stats()['x509'])"
    )
    environ = {"SSL_CERT_FILE": str(ca_file), "PATH": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environ, check=True)
    assert done.stdout.split() == [b"0", b"0"], done
