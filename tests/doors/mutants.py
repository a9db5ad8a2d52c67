"""The guards of the doors, each taken away by a change of one text in one file."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    old: str
    """Stands once in the file."""
    new: str
    tests: str
    """Where it is expected to be seen: files of tests, with blanks between."""


_TLS, _SESSION = "harvester/transport/tls.py", "harvester/transport/session.py"
_BLOT, _DISK, _CALLS = "harvester/transport/blot.py", "harvester/shards/disk.py", "harvester/syscalls.py"
_DECODING, _ANSWER = "harvester/transport/decoding.py", "harvester/dialects/answer.py"
_FIELDS, _MESSAGE = "harvester/pseudonyms/fields.py", "harvester/pseudonyms/message.py"
_SETTINGS, _ERRORS = "harvester/transport/settings.py", "harvester/errors.py"

_OF_TLS, _OF_SESSION = "tests/test_transport_tls.py", "tests/test_transport_session.py"
_SECRETS, _ESCAPING = "tests/test_secrets.py", "tests/test_escaping.py"
_PLANTED, _SYSCALLS = "tests/test_planted.py", "tests/test_syscalls.py"
_BOUNDS, _PSEUDONYMS = "tests/test_bounds.py", "tests/test_pseudonyms.py"

MUTANTS: Final = [
    # whom the token goes to
    Mutant("TLS is not verified", _SESSION, "ssl=self._tls or True", "ssl=False", _OF_TLS),
    Mutant(
        "the certificate's name is not looked at",
        _TLS,
        "    context.minimum_version",
        "    context.check_hostname = False\n    context.minimum_version",
        _OF_TLS,
    ),
    Mutant(
        "any certificate will do",
        _TLS,
        "    context.minimum_version",
        "    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n    context.minimum_version",
        _OF_TLS,
    ),
    Mutant("the ca-file is not used", _TLS, "if ca_file is None:", "if True:", _OF_TLS),
    Mutant(
        "the system's authorities count beside the ca-file",
        _TLS,
        "    try:\n        # As text",
        "    context.load_default_certs(ssl.Purpose.SERVER_AUTH)\n    try:\n        # As text",
        _OF_TLS,
    ),
    Mutant("TLS 1.0 is good enough", _TLS, "TLSVersion.TLSv1_2", "TLSVersion.TLSv1", _OF_TLS),
    Mutant(
        "session keys are written for SSLKEYLOGFILE",
        _TLS,
        "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
        "ssl.create_default_context(cafile=ca_file)",
        _OF_TLS,
    ),
    Mutant(
        "a dialect names another host",
        "harvester/dialects/declaration.py",
        "name.lower() in _OF_THE_WAY",
        "False",
        "tests/test_dialects.py",
    ),
    Mutant("redirects are followed", _SESSION, "allow_redirects=False", "allow_redirects=True", _OF_SESSION),
    Mutant(
        "cookies are kept",
        _SESSION,
        "aiohttp.DummyCookieJar()",
        "aiohttp.CookieJar(unsafe=True)",
        _OF_SESSION,
    ),
    Mutant(
        "a proxy of the environment is used",
        _SESSION,
        "auto_decompress=False,",
        "auto_decompress=False,\n            trust_env=True,",
        _OF_SESSION,
    ),
    Mutant(
        "another origin gets the token",
        _SESSION,
        "if ask.origin is not None and",
        "if False and",
        _OF_SESSION,
    ),
    Mutant(
        "a path may name another host",
        _SESSION,
        "URL(f\"{self._base}/{ask.path.lstrip('/')}\")",
        "self._base.join(URL(ask.path))",
        _OF_SESSION,
    ),
    Mutant(
        "plain http leaves this machine",
        _SETTINGS,
        'url.scheme == "http" and not _is_this_machine(url.host)',
        "False",
        "tests/test_transport_settings.py",
    ),
    Mutant(
        "name servers say where localhost is",
        _SESSION,
        "None if self._tls else _ThisMachine()",
        "None",
        _OF_SESSION,
    ),
    # where the token appears
    Mutant(
        "headers and errors of the session are not blotted",
        _SESSION,
        "return {name: self._blotter.text(value) for name, value in told.items()} if secrets else told",
        "return told",
        _OF_SESSION,
    ),
    Mutant(
        "what is read in a body is not blotted",
        _BLOT,
        "(self._blotter.text(str(error)),)",
        "(str(error),)",
        _SECRETS,
    ),
    Mutant(
        "items that are no records keep the token",
        _BLOT,
        "not isinstance(answer, Page) or",
        "True or",
        _SECRETS,
    ),
    Mutant(
        "a new token is not sought",
        "harvester/transport/auth.py",
        "        self._blotter.learn(token)\n",
        "",
        _SECRETS,
    ),
    Mutant(
        "encoded tokens are not sought",
        _BLOT,
        "for coded in self._coded:",
        "for coded in self._coded[:0]:",
        _SECRETS,
    ),
    Mutant(
        "tokens in escapes of escapes are not sought",
        _BLOT,
        "_NESTED: Final = 3",
        "_NESTED: Final = 0",
        _SECRETS,
    ),
    Mutant(
        "a token shows itself",
        "harvester/transport/auth.py",
        "return \"'***'\"",
        "return str.__repr__(self)",
        _SECRETS,
    ),
    Mutant(
        "an error keeps aiohttp's own as its context",
        _SESSION,
        "            failure = self._meaning(error, what)\n",
        "            failure = self._meaning(error, what)\n            raise failure from error\n",
        _OF_SESSION,
    ),
    Mutant("the log is not blotted", "harvester/cli/run.py", "blot=blotter.text", "blot=str", _SECRETS),
    Mutant(
        "usage errors repeat what may be a token",
        "harvester/cli/suspects.py",
        "    suspects = sorted(",
        "    return message\n    suspects = sorted(",
        _SECRETS,
    ),
    Mutant(
        "the token is in the ledger and the manifest",
        "harvester/config/job.py",
        '        "dialect": dialect.name,\n',
        '        "dialect": dialect.name,\n        "token": os.environ.get("HARVESTER_TOKEN"),\n',
        _SECRETS,
    ),
    # text from elsewhere
    Mutant(
        "errors are as they are built", _ERRORS, "printable(message, LONGEST_MESSAGE)", "message", _ESCAPING
    ),
    Mutant("messages have no bound", _ERRORS, "LONGEST_MESSAGE = 4000", "LONGEST_MESSAGE = 10**9", _ESCAPING),
    Mutant(
        "nothing is escaped", "harvester/printable.py", "if not cut.isprintable():", "if False:", _ESCAPING
    ),
    Mutant(
        "logged values have no bound",
        "harvester/telemetry/log.py",
        'LONGEST_TRACE if key == "trace" else LONGEST',
        "10**9",
        "tests/test_telemetry.py",
    ),
    Mutant(
        "tables show what is in a record",
        "harvester/cli/answer.py",
        "return printable(str(value))",
        "return str(value)",
        _ESCAPING,
    ),
    Mutant(
        "the quarantine is not told in escapes",
        "harvester/output/folder.py",
        "                }\n            ).encode()",
        "                },\n                ensure_ascii=False,\n            ).encode()",
        _ESCAPING,
    ),
    Mutant(
        "headers stand in the contract as they came",
        "harvester/probe/judge.py",
        "{printable(name): printable(text) for name, text in headers.items()}",
        "dict(headers)",
        _ESCAPING,
    ),
    # bounds
    Mutant(
        "a body has no bound on the wire",
        _SESSION,
        "if size_bytes > self._settings.max_answer_bytes:",
        "if False:",
        f"{_BOUNDS} {_OF_SESSION}",
    ),
    Mutant(
        "a body has no bound when it is decompressed",
        _DECODING,
        "min(left_bytes, _PIECE_BYTES)",
        "-1 if left_bytes else 0",
        "tests/test_transport_decoding.py",
    ),
    Mutant(
        "a bomb is unpacked to the last",
        _DECODING,
        "min(max_bytes, max(_BOMB_BYTES, _BOMB_RATIO * len(wire)))",
        "max_bytes",
        f"tests/test_transport_decoding.py {_BOUNDS}",
    ),
    Mutant("a page holds any number of records", _ANSWER, "if count > most:", "if False:", _BOUNDS),
    Mutant(
        "a large page is read before it is counted",
        "harvester/dialects/bounds.py",
        "return len(body) > LARGE_BYTES and",
        "return False and",
        _BOUNDS,
    ),
    Mutant(
        "an envelope holds anything",
        _ANSWER,
        'if rest.count(b",") > bounds.MOST_BESIDE:',
        "if False:",
        _BOUNDS,
    ),
    Mutant(
        "what nests too deeply is no reject",
        "harvester/dialects/unfit.py",
        "OverflowError, RecursionError)",
        "OverflowError)",
        f"{_BOUNDS} tests/test_dialects_rejects.py",
    ),
    Mutant(
        "an answer has any number of headers",
        _SESSION,
        "max_headers=_MOST_HEADERS",
        "max_headers=10**6",
        f"{_BOUNDS} {_OF_SESSION}",
    ),
    Mutant(
        "a header has any length",
        _SESSION,
        "max_field_size=_LONGEST_LINE",
        "max_field_size=10**9",
        f"{_BOUNDS} {_OF_SESSION}",
    ),
    # pseudonyms
    Mutant("the key of the digests is not used", _FIELDS, "own = key.encode()", 'own = b"k"', _PSEUDONYMS),
    Mutant(
        "digests are of values alone", _FIELDS, "self._hmac(prefix + value)", "self._hmac(value)", _PSEUDONYMS
    ),
    Mutant("nulls become digests", _MESSAGE, 'if token == b"null":', "if False:", _PSEUDONYMS),
    Mutant(
        "records are staged as they came",
        "harvester/pseudonyms/layer.py",
        "self._row(row, self._pseudonyms.record(raw))",
        "row",
        _PSEUDONYMS,
    ),
    Mutant(
        "the quarantine keeps items as they came",
        "harvester/pseudonyms/layer.py",
        "[self._pseudonyms.reject(reject) for reject in page.rejects]",
        "list(page.rejects)",
        _PSEUDONYMS,
    ),
    Mutant("a short key will do", _FIELDS, "if len(key) < LEAST_KEY:", "if False:", _PSEUDONYMS),
    Mutant(
        "another key is the same job",
        "harvester/config/job.py",
        'told["pseudonym_key"] = pseudonyms.key_id',
        "pass",
        f"{_PSEUDONYMS} {_SECRETS}",
    ),
    # the output
    Mutant(
        "links to folders are followed",
        _DISK,
        "_FOLDER | os.O_NOFOLLOW",
        "_FOLDER",
        f"{_SYSCALLS} {_PLANTED}",
    ),
    Mutant(
        "links to files are written through",
        _DISK,
        "os.O_RDWR | os.O_NOFOLLOW",
        "os.O_RDWR",
        f"{_SYSCALLS} {_PLANTED}",
    ),
    Mutant("links to files are read", _DISK, "_READ | os.O_NOFOLLOW", "_READ", f"{_SYSCALLS} {_PLANTED}"),
    Mutant(
        "what stands there is written into",
        _CALLS,
        "os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW",
        "os.O_CREAT | os.O_TRUNC",
        f"{_SYSCALLS} {_PLANTED}",
    ),
    Mutant("a path may lead upwards", _DISK, 'if ".." in relative.split("/"):', "if False:", _PLANTED),
    Mutant(
        "pipes are waited for",
        _DISK,
        "os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK",
        "os.O_RDONLY | os.O_CLOEXEC",
        _PLANTED,
    ),
    Mutant(
        "files are for all to read",
        _CALLS,
        "_FILE_MODE: Final = 0o600",
        "_FILE_MODE: Final = 0o644",
        f"{_SYSCALLS} {_PLANTED}",
    ),
    Mutant(
        "folders are for all to read",
        _CALLS,
        "_FOLDER_MODE: Final = 0o700",
        "_FOLDER_MODE: Final = 0o755",
        f"{_SYSCALLS} {_PLANTED}",
    ),
    Mutant(
        "the umask decides",
        _CALLS,
        "        os.fchmod(handle, _FILE_MODE)\n",
        "        pass\n",
        f"{_SYSCALLS} {_PLANTED}",
    ),
    # what it is made of
    Mutant(
        "a package is left out of the bill",
        "scripts/sbom",
        "in sorted(packages.items()):",
        "in sorted(packages.items())[1:]:",
        "tests/test_project.py",
    ),
    Mutant(
        "a hash is left out of the bill",
        "scripts/sbom",
        'in sorted(package["hashes"])]',
        'in sorted(package["hashes"])[1:]]',
        "tests/test_project.py",
    ),
]
