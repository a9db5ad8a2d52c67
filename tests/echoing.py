"""A server on loopback that sends a word back wherever an answer has room for one: in the status line, in
headers, in the target of a redirect, in bodies of each kind. The word is the token it was sent, in a spelling
of choice, or one that was planted."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import quote

CALLER: Final = "+15557654321"
RECORD: Final = (
    b'{"_id":"%s","StartedDateTimeUtc":"2024-01-01T00:%02d:00.000Z","ANI":"' + CALLER.encode() + b'"}'
)
RECORDS: Final = [RECORD % (b"%024d" % number, number) for number in range(5)]


def page(*items: bytes) -> bytes:
    return b'{"resultCode":0,"resultCodeName":"Success","data":[' + b",".join(items) + b"]}"


def answer(body: bytes, word: str, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    named = {"X-Echo": word, "X-RateLimit-Limit": word, "Server": word, "Date": word, "Connection": "close"}
    named |= headers or {}
    lines = [f"HTTP/1.1 {status} {_in_head(word)}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {_in_head(value)}" for name, value in named.items()]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def _in_head(text: str) -> str:
    """What HTTP lets stand there, and no more than a line may hold."""
    return "".join(letter for letter in text[:400] if letter >= " " and letter != "\x7f")


def refused(status: int) -> Callable[[str], bytes]:
    def told(word: str) -> bytes:
        body = f"<html>bad {word} {escape(word)}</html>".encode("utf-8", "surrogatepass")
        return answer(body, word, status, {"Retry-After": word})

    return told


def _redirected(word: str) -> bytes:
    spelt = quote(word, "", errors="surrogatepass")
    return answer(b"", word, 302, {"Location": f"https://{spelt}.example/{spelt}/{word}?t={word}"})


def _enveloped(word: str) -> bytes:
    told = {"resultCode": word, "resultCodeName": f"{'x' * 40}{word}", "data": None}
    return answer(json.dumps(told).encode(), word)


def items(word: str) -> list[bytes]:
    """Some that are no records, and behind them some that are."""
    spelt = json.dumps(word).encode()
    return [
        spelt,
        b'{"_id":"\xff%s"}' % word.encode("utf-8", "surrogatepass"),
        b'{"_id":%s}' % spelt,
        b'{"_id":"1","StartedDateTimeUtc":%s}' % spelt,
        b"{%s:1,%s}" % (spelt, spelt),
        b'["%s"]' % CALLER.encode(),
        *RECORDS,
    ]


ANSWERS: Final[dict[str, Callable[[str], bytes]]] = {
    **{str(status): refused(status) for status in (400, 401, 403, 404, 408, 429, 500, 503)},
    "redirect": _redirected,
    "redirect here": lambda word: answer(b"", word, 307, {"Location": f"/{word}"}),
    "html": lambda word: answer(f"<title>{word}".encode("utf-8", "surrogatepass"), word),
    "envelope": _enveloped,
    "no records": lambda word: answer(json.dumps({"resultCode": 0, "data": word}).encode(), word),
    "encoding": lambda word: answer(page(*RECORDS), word, 200, {"Content-Encoding": word}),
    "headers": lambda word: answer(page(*RECORDS), word, 200, {f"X-{n}": word for n in range(200)}),
    "no http": lambda word: f"{word} {word}\r\n\r\n".encode("utf-8", "surrogatepass"),
    "cut": lambda word: answer(json.dumps([word] * 50).encode(), word)[:-20],
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append(self.headers["Authorization"])
        token = self.headers["Authorization"].removeprefix("apikey ")
        word = self.server.word(token)
        self.close_connection = True
        if self.server.wait_s:
            time.sleep(self.server.wait_s)
        self.server.may_answer.wait(60)
        if self.server.mode in ANSWERS:
            self.wfile.write(ANSWERS[self.server.mode](word))
            return
        held = items(word) if self.server.mode == "items" else RECORDS
        held = [self.server.record(one, word) for one in held[asked.get("Offset") or 0 :]]
        self.wfile.write(answer(page(*held), word))

    def log_message(self, *_: object) -> None:
        pass


def _as_it_is(record: bytes, word: str) -> bytes:
    return record


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mode = "good"
        """Or "items", or a name of ANSWERS."""
        self.word: Callable[[str], str] = str
        """What is sent back, made of the token that came."""
        self.record: Callable[[bytes, str], bytes] = _as_it_is
        """What becomes of a good page's records."""
        self.wait_s = 0.0
        self.may_answer = threading.Event()
        """Cleared, requests wait for it."""
        self.may_answer.set()
        self.sent: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def echoing() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield serving
        finally:
            serving.shutdown()
            thread.join()
