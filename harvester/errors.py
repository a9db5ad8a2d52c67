"""The error tree: every failure this program names, and the exit code each ends with.

::

    HarvesterError                     1   unforeseen
    ├── ConfigError                    2   usage or configuration
    ├── SourceError                    3   a window could not be had: a gap
    │   ├── TransientError             3   worth another try
    │   │   ├── ConnectFailed              nobody answered: refused, unresolved, no route
    │   │   ├── TimedOut                   an answer that did not come, or not whole, in time
    │   │   ├── Broken                     an answer cut short on its way
    │   │   │   └── Stale                  a kept connection that had ended before
    │   │   ├── ServerFailed               408, 500, 502, 504 and their kin
    │   │   ├── Throttled                  429, 503, or a Retry-After: everybody waits, or may have to
    │   │   ├── BadPage                    an answer that is not a good page, whatever its status
    │   │   └── Astray                     a Rejected too: from somebody on the way, or meant
    │   ├── Rejected                   3   a 4xx for this very request; a smaller one may pass
    │   ├── Moved                      3   rows moved while they were paged, again and again
    │   ├── Refused                    5   401 or 403
    │   └── ContractBroken             6   the source does not do what its dialect declares
    │       └── Untrusted              6   its certificate does not prove that it is the source at all
    ├── VerificationFailed             4
    │   └── NoManifest                 4   it is missing, or is none
    ├── StorageError                   7   the output could not be written or read
    │   ├── OtherVersion               7   made by another version of harvester
    │   └── LedgerLost                 7   the ledger is of no use any more
    │       ├── LedgerDamaged          7
    │       └── LedgerEmpty            7   a file, and no ledger was begun in it
    └── OutputTaken                    8
        ├── Locked                     8   another run holds the output
        └── OtherJob                   8   the output belongs to another job

The class answers "try again?" (is it a TransientError) and "which exit code?". Nobody searches a message's
text. A message says what happened, to which window or file, and what to do next; it never holds a token or
a body. Whatever it quotes, it is one line that can be printed, and no longer than `LONGEST_MESSAGE`: each
error sees to that as it is made, so nobody who builds one or tells one has to.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from harvester.printable import printable

EXIT_COMPLETE = 0
EXIT_TIME_BUDGET = 10
EXIT_INTERRUPTED = 75

LONGEST_MESSAGE = 4000
"""Characters: ten findings with a path each fit in, and a server's answer does not."""


class HarvesterError(Exception):
    exit_code: ClassVar[int] = 1
    status: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, LONGEST_MESSAGE))


class ConfigError(HarvesterError):
    """A setting, flag, job or dialect file that cannot be used; names file, key and the way out."""

    exit_code = 2
    status = "config"


class SourceError(HarvesterError):
    exit_code = 3
    status = "gaps"
    announced: Mapping[str, str] = MappingProxyType({})
    """Headers that speak of a rate, of the answer that it was."""


class TransientError(SourceError):
    """Worth another try. `retry_after_s` is what the server asked for, in seconds from now, where it did."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConnectFailed(TransientError):
    pass


class TimedOut(TransientError):
    pass


class Broken(TransientError):
    pass


class Stale(Broken):
    """It ended before a byte of the answer came: the server had closed it without a word, and knows nothing
    of the request."""


class ServerFailed(TransientError):
    pass


class Throttled(TransientError):
    """`may_be_chance`: a 503 that names no pause. It may mean everybody, or one machine of many behind the
    same door; the answers beside it tell."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, may_be_chance: bool = False
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.may_be_chance = may_be_chance


class BadPage(TransientError):
    pass


class Rejected(SourceError):
    """The server understood and said no to this request (400, 413, 414, 422)."""

    def __init__(self, message: str, *, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class Astray(Rejected, TransientError):
    """A redirect, a 404 and their kin: a proxy in the middle of a deploy says so now and then, where good
    pages came before; a server that says nothing else is the wrong one."""


class Moved(SourceError):
    pass


class Refused(SourceError):
    exit_code = 5
    status = "refused"


class ContractBroken(SourceError):
    exit_code = 6
    status = "contract"


class Untrusted(ContractBroken):
    """Ends the run at once: waiting mends no certificate, and whoever answers there may not be the source."""


class VerificationFailed(HarvesterError):
    exit_code = 4
    status = "difference"


class NoManifest(VerificationFailed):
    """`what` is the message without the way out, which is another one where there is no ledger."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}; {way_out}")
        self.what = what


class StorageError(HarvesterError):
    exit_code = 7
    status = "storage"

    @classmethod
    def of(cls, error: PermissionError) -> "StorageError":
        """For a look at whether something is there, which may be refused at whatever place."""
        way_out = "see that you may search the folders above it, then run again"
        return cls(f"{error.filename}: {error.strerror}; {way_out}")


class OtherVersion(StorageError):
    pass


class LedgerLost(StorageError):
    """`what` is what is wrong with it, in a few words; the message has the way out."""

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


class LedgerDamaged(LedgerLost):
    pass


class LedgerEmpty(LedgerLost):
    pass


class OutputTaken(HarvesterError):
    exit_code = 8
    status = "locked"


class Locked(OutputTaken):
    pass


class OtherJob(OutputTaken):
    pass
