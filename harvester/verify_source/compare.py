"""What the output holds of a window against what the source holds of it: each difference has a name. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from harvester.dialects import Key, Row
from harvester.verify_source.cut import Cut, Entry, entry
from harvester.verify_source.values import alike
from harvester.windows import Window

KINDS: Final = {
    "missing": "the source has it, the output has not",
    "late": "the source has it, written after the output was",
    "gone": "the output has it, the source has not or not any more",
    "newer": "newer at the source: written again since the harvest",
    "older": "older at the source than in the output",
    "changed": "the same version, other values",
}
"""What a record may be found to be."""

Newer = Callable[[str, str], bool]
_SHOWN_FIELDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One record that is not the same on both sides."""

    kind: str
    key: Key
    window: Window
    time: datetime
    """In the output; at the source where the output has none."""
    here: str | None
    """Its version in the output, None where it is not there."""
    there: str | None
    """Its version at the source."""
    raw: bytes = b""
    """Its bytes at the source, to tell what has changed."""
    detail: str = ""


def compared(cut: Cut, rows: Iterable[Row], newer: Newer) -> Iterator[Finding]:
    """Takes the source's rows in any order, each key once."""
    left = dict(cut.here)
    for row in rows:
        known = left.pop(row[1], None)
        told = entry(row)
        if known is None or known[:2] != told[:2] or not alike(known[2], told[2]):
            yield _finding(cut.window, row[1], known, told, newer, bytes(row[3]))
    for key, known in left.items():
        yield _finding(cut.window, key, known, None, newer)


def joined(findings: Iterable[Finding], newer: Newer) -> list[Finding]:
    """A record that is missing in one window and gone from another has moved: it is one finding."""
    by_key: dict[Key, Finding] = {}
    others: list[Finding] = []
    for finding in findings:
        known = by_key.pop(finding.key, None)
        if known is None:
            by_key[finding.key] = finding
        elif {known.kind, finding.kind} == {"missing", "gone"}:
            gone, come = (known, finding) if known.kind == "gone" else (finding, known)
            kind = _kind_of_versions(gone.here or "", come.there or "", newer)
            others.append(replace(gone, kind=kind, there=come.there, raw=come.raw))
        else:
            others += [known, finding]
    return sorted([*by_key.values(), *others], key=lambda finding: (finding.time, repr(finding.key)))


def changed_fields(here: bytes, there: bytes) -> str:
    """Names the fields that differ; never their values, which may be anybody's."""
    old, new = _members(here), _members(there)
    if old is None or new is None:
        return "one of them is no JSON object"
    names = [
        name
        for name in {**old, **new}
        if name not in old or name not in new or not alike(bytes(old[name]), bytes(new[name]))
    ]
    if not names:
        return "a name that stands there twice"
    more = f" and {len(names) - _SHOWN_FIELDS} more" if len(names) > _SHOWN_FIELDS else ""
    return ", ".join(names[:_SHOWN_FIELDS]) + more


def _finding(
    window: Window, key: Key, here: Entry | None, there: Entry | None, newer: Newer, raw: bytes = b""
) -> Finding:
    known = here or there
    assert known is not None
    if here is None or there is None:
        kind = "missing" if here is None else "gone"
    else:
        kind = _kind_of_versions(here[1], there[1], newer)
    return Finding(
        kind=kind,
        key=key,
        window=window,
        time=known[0],
        here=here[1] if here else None,
        there=there[1] if there else None,
        raw=raw,
    )


def _kind_of_versions(here: str, there: str, newer: Newer) -> str:
    if newer(there, here):
        return "newer"
    return "older" if newer(here, there) else "changed"


def _members(raw: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return None
