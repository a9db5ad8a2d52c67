"""The one method that everything in this room shares, and what comes out of the innermost one.

A layer takes an ask and returns its answer or raises; it holds another layer and adds one thing. So the
stack is read from the outside in, in the one expression of `stack()`, and a test may put a function's worth
of fake anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
_Q_contra = TypeVar("_Q_contra", contravariant=True)
_A_co = TypeVar("_A_co", covariant=True)


class Layer(Protocol[_Q_contra, _A_co]):
    async def send(self, ask: _Q_contra, /) -> _A_co:
        """The answer to `ask`; raises errors.SourceError, whose class says whether to try again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer with a 2xx status; every other status is an error."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; values of a repeated header are joined by ", "."""
    body: bytes
    """Decompressed."""
    received_bytes: int
    """The body's size on the wire."""
    elapsed_s: float
    """From the request's first byte to the answer's last, on a connection that may have had to be opened."""
