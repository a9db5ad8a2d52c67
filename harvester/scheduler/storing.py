"""The task that stores: windows come in any order, are put in theirs, and go to the output in a worker thread
once they are worth the way there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from harvester.errors import StorageError
from harvester.output import Output
from harvester.records import Held
from harvester.scheduler.steps import Fetched, Result
from harvester.windows import Span

TAKEN_BYTES: Final = 1 << 20
"""Records that are worth the way to the thread that stores: a block of the compressor."""
TAKEN_WINDOWS: Final = 32
"""And so many windows with less in them. The plan never waits for them: with no slot free they are taken."""


@dataclass(slots=True)
class Tally:
    records_written: int = 0
    duplicates: int = 0
    outside: int = 0


class Store:
    """Of one run. What `all` has taken and not stored yet, `close` stores."""

    def __init__(
        self,
        output: Output,
        *,
        asked: Sequence[Span],
        tally: Tally,
        held: Held,
        is_newer: Callable[[str, str], bool],
        spill_path: Callable[[], Path],
    ) -> None:
        self._output = output
        self._asked = asked
        self._tally = tally
        self._held = held
        self._is_newer = is_newer
        self._spill_path = spill_path
        self._waiting: dict[int, Fetched] = {}
        self._following = 0
        self._ready: list[Fetched] = []
        self._last: list[Result] = []
        """The last one that came in turn. It waits for its successor, whose requests reach into it."""
        self._begun: list[Fetched] = []
        """What that is of."""

    async def all(
        self,
        fetched_out: MemoryObjectReceiveStream[Fetched],
        is_awaited: Callable[[], bool],
        is_stored: Callable[[Fetched], None],
    ) -> None:
        """Until nothing more is fetched. `is_awaited`: whether the plan waits for something to be stored."""
        async for fetched in fetched_out:
            self._waiting[fetched.number] = fetched
            while self._following in self._waiting:
                self._ready.append(self._waiting.pop(self._following))
                self._following += 1
            if self._ready and (is_awaited() or _is_worth_a_hop(self._ready)):
                results = self._in_turn(self._ready)
                stored, self._begun = self._begun + self._ready[:-1], self._ready[-1:]
                self._ready, self._last = [], results[-1:]
                await to_thread.run_sync(self._take, self._renewed(results[:-1]))
                for one in stored:
                    is_stored(one)
                if self._held.is_over:
                    await to_thread.run_sync(self._spill, self._last)
            elif self._held.is_over:
                await to_thread.run_sync(self._spill, fetched.results)

    def close(self) -> None:
        """Stores what has come, with holes where windows never came. Blocks."""
        left = self._ready + [self._waiting[number] for number in sorted(self._waiting)]
        self._take(self._renewed(self._in_turn(left)))
        self._output.close_partition()

    def _spill(self, results: list[Result]) -> None:
        for result in results:
            if result.batch is not None:
                result.batch.spill(self._spill_path)

    def _in_turn(self, ready: list[Fetched]) -> list[Result]:
        return self._last + [result for fetched in ready for result in fetched.results]

    def _renewed(self, results: list[Result]) -> list[Result]:
        """A record that was written again may have come in a newer version with the pages of a neighbour."""
        for batch in [result.batch for result in results if result.batch]:
            if rows := self._held.strays.take(batch.window):
                batch.renew(rows, self._is_newer)
        return results

    def _take(self, results: list[Result]) -> None:
        output, tally = self._output, self._tally
        for result in results:
            if output.current != result.partition:
                output.close_partition()
                output.open(result.partition, asked=self._asked)
            if result.failed is not None:
                output.fail(result.failed)
            elif result.batch is not None:
                batch = result.batch
                output.write(batch)
                tally.records_written += batch.records
                tally.duplicates += batch.duplicates
                tally.outside += batch.outside
                batch.discard()


def _is_worth_a_hop(ready: list[Fetched]) -> bool:
    return (
        len(ready) >= TAKEN_WINDOWS
        or sum(result.batch.raw_bytes for one in ready for result in one.results if result.batch)
        >= TAKEN_BYTES
    )


def quietly(clean_up: Callable[[], None]) -> None:
    """A clean-up after a storage error may fail for the same reason; the first error is the one to tell."""
    try:
        clean_up()
    except StorageError:
        return
