"""What a server may do to the rows of a query: order them otherwise, repeat them, move them while they are
paged.

All of it works on row numbers and follows from the seed: `arrange` makes the sequence that Limit and Offset
then cut, `move` changes the table itself, before the page asked for, so that the rows behind shift under a
client's Offset.
"""

import re
from array import array
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from random import Random

from .faults import Fault, draw
from .people import InstantTexts
from .query import Query, Selections, bounds_ms
from .table import Table, time_of

# Faults that change the sequence of rows; `order` with these values changes it on every call.
_ARRANGING = ("foreign", "order", "versions", "duplicates")
# Faults that change the table before the page is cut.
MOVING = ("delete", "rewrite", "insert", "churn")
_ANEW = ("ties", "shuffled")


class Rows:
    """Selections under faults. One for each simulator: it keeps what it has selected."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._selections = Selections()
        self._older: dict[tuple[int, int], int] = {}
        self._newer: dict[tuple[int, int], int] = {}
        """Both by the table and the row: an older version's row, and the other way round."""

    def selected(
        self, table: Table, query: Query, ends: str, struck: Mapping[str, Fault], number: int = 0
    ) -> "array[int]":
        """All rows in the order in which this request, the `number`-th, gets them."""
        if "filter" in struck:
            is_widened = struck["filter"].value == "gte"
            kept = query.filter.replace(b'"$gt":', b'"$gte":') if is_widened else b""
            query = replace(query, filter=kept)
        if "ends" in struck:
            ends = struck["ends"].value
        at_work = [struck[name] for name in _ARRANGING if name in struck]
        if not at_work:
            return self._selections.rows(table, query, ends)
        anew = number if any(fault.value in _ANEW for fault in at_work) else 0
        variant = (anew, *((fault.name, fault.value, *fault.options.values()) for fault in at_work))

        def arrange(rows: "array[int]") -> "array[int]":
            for fault in at_work:
                if fault.name == "foreign":
                    rows = _with_neighbours(table, rows, query, ends, fault.value)
                elif fault.name == "order":
                    rows = self._reordered(table, rows, query, fault.value, number)
                elif fault.name == "versions":
                    rows = self._with_older(table, rows, fault)
                else:
                    rows = self._doubled(table, rows, fault)
            return rows

        return self._selections.rows(table, query, ends, variant, arrange)

    def move(
        self, table: Table, rows: "array[int]", offset: int, struck: Mapping[str, Fault], at_ms: int
    ) -> None:
        """Deletes, rewrites and inserts as struck, among the rows before `offset` (at 0: the first one), or
        anywhere. `at_ms` is when.

        An older version is no row of its own: what befalls it befalls its record.
        """
        before = [self._newer.get((id(table), row), row) for row in rows[: max(offset, 1)]]
        region = list(dict.fromkeys(before))  # a record may stand there twice
        for name in MOVING:
            if name not in struck:
                continue
            if name == "churn":
                self._churn(table, struck[name], at_ms)
                continue
            for n in range(min(struck[name].value, len(region))):
                at = int(draw(self._seed, name, table.generation, n) * len(region))
                if name == "insert":
                    table.insert(clone(bytes(table.row(region[at])), table.generation))
                    continue
                row = region.pop(at)
                if name == "delete":
                    table.delete(row)
                else:
                    table.rewrite(row, written_at(bytes(table.row(row)), at_ms + n))

    def _churn(self, table: Table, fault: Fault, at_ms: int) -> None:
        """Records of all windows, asked for or not: those written anew move to the present under a filter by
        the time of writing, late ones come into windows long over under one by the time of starting.
        """
        for what, count in (("late", fault.options["late"]), ("removed", fault.options["removed"])):
            for n in range(count):
                row = self._any(table, what, n)
                if what == "removed":
                    table.delete(row)
                else:
                    raw = clone(bytes(table.row(row)), table.generation)
                    table.insert(written_at(raw, at_ms + n))
        for n in range(fault.value):
            row = self._any(table, "churn", n)
            table.rewrite(row, written_at(bytes(table.row(row)), at_ms + n))

    def _any(self, table: Table, *subject: object) -> int:
        rows = table.rows()
        return rows[int(draw(self._seed, *subject, table.generation) * len(rows))]

    def _reordered(
        self, table: Table, rows: "array[int]", query: Query, how: str, number: int
    ) -> "array[int]":
        random = Random(f"{self._seed}/{number}").random
        if how == "descending":
            return rows[::-1]
        if how == "ignored":
            return array("I", sorted(rows, key=lambda row: draw(self._seed, row)))
        if how == "shuffled":
            return array("I", sorted(rows, key=lambda row: random()))
        dated = sorted((time_of(table.row(row), query.date_field) or 0, row) for row in rows)
        mixed = array("I")
        for _, same in groupby(dated, key=lambda pair: pair[0]):
            mixed.extend(sorted((row for _, row in same), key=lambda row: random()))
        return mixed

    def _with_older(self, table: Table, rows: "array[int]", fault: Fault) -> "array[int]":
        """An older version is a row that no index knows; it stands so many rows before or behind the newer
        one.
        """
        distance = (fault.options["distance"] - 0.5) * (-1 if fault.options["older_first"] else 1)
        placed = [(float(place), row) for place, row in enumerate(rows)]
        for place, row in enumerate(rows):
            if draw(self._seed, "versions", table.key(row)) < fault.value:
                placed.append((place + distance, self._older_row(table, row)))
        return array("I", [row for _, row in sorted(placed)])

    def _older_row(self, table: Table, row: int) -> int:
        known = self._older.get((id(table), row))
        if known is None:
            raw = bytes(table.row(row))
            written = time_of(raw, table.fields.version) or 0
            known = self._older[(id(table), row)] = table.hide(written_at(raw, written - 3_600_000))
            self._newer[(id(table), known)] = row
        return known

    def _doubled(self, table: Table, rows: "array[int]", fault: Fault) -> "array[int]":
        distance = fault.options["distance"]
        placed = [(float(place), row) for place, row in enumerate(rows)]
        for place, row in enumerate(rows):
            if draw(self._seed, "duplicates", table.key(row)) < fault.value:
                placed.append((place + distance - 0.5, row))
        return array("I", [row for _, row in sorted(placed)])


def written_at(raw: bytes, at_ms: int) -> bytes:
    """The record as it is when it is written again at `at_ms`."""
    text = InstantTexts().full(at_ms).encode()
    raw = re.sub(rb'("(?:RecordWrittenAtUtc|MostRecentRollupAtUtc)":")[^"]*', rb"\g<1>" + text, raw)
    quarter = b"%d" % (at_ms // 900_000 * 900)
    return re.sub(rb'("RecordWrittenAtEpoch":)\d+', rb"\g<1>" + quarter, raw)


def _with_neighbours(table: Table, rows: "array[int]", query: Query, ends: str, count: int) -> "array[int]":
    low, high = bounds_ms(query, ends)
    index = table.index(query.date_field)
    before, after = index.between(-(2**62), low - 1), index.between(high + 1, 2**62)
    return before[max(0, len(before) - count) :] + rows + after[:count]


def clone(raw: bytes, number: int) -> bytes:
    """Another record with the same date, its key just before the original's."""
    start = raw.index(b':"') + 2  # the key is the first field
    end = raw.index(b'"', start)
    rest = b"-0000-4000-a000-%012x" % number if end - start == 36 else b"0000000000%06x" % (number & 0xFFFFFF)
    return raw[: start + 8] + rest + raw[end:]
