"""A token that the server sends back stays out of what is told: error texts, headers, items that are no
records.

Servers echo what they refuse, in a body, a header or the target of a redirect; errors quote some of that, and
errors end in the log, the ledger, the manifest and the summary. So the session blots what comes from the wire
but the body, and the layer below the retries, which are the first to tell, what was read in it. Records are
data and pass as they are, whatever they hold.

Found is the token itself, any of its characters written as a percent escape, a JSON escape or an HTML
reference, in any mixture and nested, and the whole of it in base64 or hexadecimal.
"""

import base64
import html
import re
from dataclasses import replace
from functools import cache
from html.entities import codepoint2name
from typing import Final, Generic
from urllib.parse import unquote

import anyio

from harvester.dialects import Page, Reject
from harvester.errors import SourceError
from harvester.transport.layer import A, Layer, Q

ENOUGH: Final = 8
"""Characters of a token from which on it is one, since what is quoted may have been cut; tokens of one issuer
seldom begin alike for longer, and where they do no harm is done."""
_LEAST: Final = 4
"""A shorter token is not sought: it would be found in every sentence."""
_NESTED: Final = 3
_INLINE_BYTES: Final = 16 * 1024
"""Searched in a millisecond; more than that would hold up the loop."""
_STARS: Final = "***"
_JSON_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")


class Blotter:
    """Knows the tokens of a run, and how others write them."""

    def __init__(self, *tokens: str, enough: int = ENOUGH) -> None:
        self._enough = enough
        self._known: dict[str, list[re.Pattern[str]]] = {}
        self._coded: list[re.Pattern[str]] = []
        for token in tokens:
            self.learn(token)

    def learn(self, token: str) -> None:
        if token in self._known or len(token) < _LEAST:
            return
        self._known[token] = list(map(_spelt, token))
        self._coded += [re.compile(one, re.IGNORECASE) for one in _coded(token)]

    def text(self, text: str) -> str:
        """Where the token is only found in what the text means (an escape of an escape), that is told."""
        told = meant = self._blotted(text)
        for _ in range(_NESTED):
            before, meant = meant, _decoded(meant)
            if meant == before:
                break
            if self._blotted(meant) != meant:
                return self._blotted(meant)
        return told

    def _blotted(self, text: str) -> str:
        for letters in self._known.values():
            text = _without(text, letters, self._enough)
        for coded in self._coded:
            text = coded.sub(_STARS, text)
        return text

    def raw(self, raw: bytes) -> bytes:
        return self.text(raw.decode("latin-1")).encode("latin-1", "backslashreplace") if self._known else raw

    def reject(self, reject: Reject) -> Reject:
        return replace(reject, reason=self.text(reject.reason), raw=self.raw(reject.raw))


def _decoded(text: str) -> str:
    text = html.unescape(unquote(text, errors="replace"))
    return _JSON_ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)


@cache
def _spelt(letter: str) -> re.Pattern[str]:
    """The ways to write one character; a host's name comes in small letters, so case makes no difference."""
    code = ord(letter)
    name = codepoint2name.get(code, f"#{code}")
    ways = (
        rf"\\?{re.escape(letter)}",
        rf"%(?:25)*{code:02x}",
        rf"\\+u{code:04x}",
        rf"\\+x{code:02x}",
        rf"&(?:{name}|#0*{code}|#x0*{code:x});",
    )
    return re.compile(f"(?:{'|'.join(ways)})", re.IGNORECASE)


def _without(text: str, letters: list[re.Pattern[str]], enough: int) -> str:
    """Each stretch that begins as the token does, and goes on so for `enough` letters or to its end, is
    gone."""
    first = letters[0]
    told, begin = "", 0
    match = first.search(text)
    while match is not None:
        end, count = match.end(), 1
        while count < len(letters) and (more := letters[count].match(text, end)):
            end, count = more.end(), count + 1
        if count >= min(enough, len(letters)):
            told, begin = f"{told}{text[begin : match.start()]}{_STARS}", end
        else:
            end = match.start() + 1
        match = first.search(text, end)
    return told + text[begin:]


def _coded(token: str) -> list[str]:
    """Base64 of the token wherever it begins in what was encoded with it, and hexadecimal."""
    start = token[:ENOUGH].encode()
    found = [f"{start.hex()}[0-9a-f]*"]
    for before in range(3):
        code = base64.b64encode(bytes(before) + start).decode()
        sure = code[(before * 8 + 5) // 6 : (before + len(start)) * 8 // 6]
        found.append(re.sub("[+/]", lambda one: "[+-]" if one[0] == "+" else "[/_]", sure) + r"[\w+/=-]*")
    return found


class Blot(Generic[Q, A]):
    def __init__(self, inner: Layer[Q, A], blotter: Blotter) -> None:
        self._inner = inner
        self._blotter = blotter

    async def send(self, ask: Q) -> A:
        try:
            answer = await self._inner.send(ask)
        except SourceError as error:
            error.args = (self._blotter.text(str(error)),)
            raise
        if not isinstance(answer, Page) or not answer.rejects:
            return answer
        rejects = answer.rejects
        if sum(len(one.raw) for one in rejects) <= _INLINE_BYTES:
            return replace(answer, rejects=list(map(self._blotter.reject, rejects)))
        told = await anyio.to_thread.run_sync(lambda: list(map(self._blotter.reject, rejects)))
        return replace(answer, rejects=told)
