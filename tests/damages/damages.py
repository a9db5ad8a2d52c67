"""What may befall the files of an output, each drawn by seed: a function that changes one and says what it
did, or returns None where there was nothing to change.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from harvester.ledger import home_of

MANIFEST: Final = "_manifest.json"
LEDGER: Final = "_harvest/ledger.sqlite"
Place = tuple[str | int, ...]
Damage = Callable[["Output"], str | None]


class Output:
    """One output, with an older copy of its ledger and its manifest, and other outputs."""

    def __init__(self, out: Path, older: Path, others: Sequence[Path], rng: random.Random) -> None:
        self.out = out
        self.older = older
        self.others = others
        self.rng = rng

    def flip(self, path: Path) -> str | None:
        content = bytearray(path.read_bytes() if path.is_file() else b"")
        if not content:
            return None
        at, bit = self.rng.randrange(len(content)), self.rng.randrange(8)
        content[at] ^= 1 << bit
        path.write_bytes(content)
        return f"bit {bit} of byte {at} of {path.relative_to(self.out)}"

    def cut(self, path: Path) -> str | None:
        if not path.is_file():
            return None
        content = path.read_bytes()
        path.write_bytes(content[: self.rng.randrange(len(content) or 1)])
        return f"cut {path.relative_to(self.out)}"

    def remove(self, path: Path) -> str | None:
        if not path.is_file():
            return None
        path.unlink()
        return f"removed {path.relative_to(self.out)}"

    def age(self, name: str) -> str:
        (self.out / name).write_bytes((self.older / name).read_bytes())
        for log in home_of(self.out).glob("ledger.sqlite-*") if name == LEDGER else ():
            log.unlink()
        return f"an older {name}"

    def exchange(self, name: str) -> str:
        other = self.rng.choice(self.others)
        (self.out / name).write_bytes((other / name).read_bytes())
        return f"the {name} of {other.name}"

    def shard(self) -> Path:
        shards = sorted(self.out.glob("dt=*/part-*")) or [self.out / "none"]
        return self.rng.choice(shards)


# --- the manifest, key by key


def _place(told: Any, rng: random.Random) -> Place:
    """A key or an element at any depth; what is told once is drawn as often as a list of many."""
    place: Place = ()
    while not place or rng.random() < 0.85:
        keys = list(told) if isinstance(told, dict) else range(len(told)) if isinstance(told, list) else []
        if not keys:
            break
        place = (*place, rng.choice(keys))
        told = told[place[-1]]
    return place


def _changed(value: Any, rng: random.Random) -> Any:
    """Something else of the same kind, as likely to be believed as can be."""
    match value:
        case bool():
            return not value
        case int():
            return max(0, value + rng.choice((-1, 1, 7)))
        case str():
            try:
                moved = datetime.fromisoformat(value) + timedelta(hours=rng.choice((-24, -1, 1, 24)))
            except ValueError:
                return _text(value, rng)
            return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case list():
            return rng.choice((value[1:], value[:-1], value[::-1], [*value, *value[-1:]]))
        case dict():
            return {}
        case _:
            return 1


def _text(value: str, rng: random.Random) -> str:
    at = rng.randrange(len(value) or 1)
    other = rng.choice("0123456789abcdef")
    return value[:at] + other + value[at + 1 :]


def _retold(output: Output, *, without_digest: bool, remove: bool) -> str | None:
    path = output.out / MANIFEST
    try:
        told = orjson.loads(path.read_bytes())
        place = _place(told, output.rng)
    except (OSError, ValueError):
        return None
    if not place:
        return None
    inner = told
    for key in place[:-1]:
        inner = inner[key]
    if remove:
        del inner[place[-1]]
    else:
        inner[place[-1]] = _changed(inner[place[-1]], output.rng)
    if without_digest:
        told.pop("digest", None)
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    what = "removed" if remove else "changed"
    version = " of an earlier version" if without_digest else ""
    return f"{what} {'.'.join(map(str, place))} of the manifest{version}"


OF_MANIFEST: Final[dict[str, Damage]] = {
    "manifest changed": lambda output: _retold(output, without_digest=False, remove=False),
    "manifest key removed": lambda output: _retold(output, without_digest=False, remove=True),
    "earlier manifest changed": lambda output: _retold(output, without_digest=True, remove=False),
    "manifest flipped": lambda output: output.flip(output.out / MANIFEST),
    "manifest cut": lambda output: output.cut(output.out / MANIFEST),
    "manifest lost": lambda output: output.remove(output.out / MANIFEST),
    "manifest aged": lambda output: output.age(MANIFEST),
}
ANOTHER: Final = "manifest of another output"
_OF_OTHERS: Final[dict[str, Damage]] = {ANOTHER: lambda output: output.exchange(MANIFEST)}
_RETOLD: Final = [name for name in OF_MANIFEST if "flipped" in name or "changed" in name or "key" in name]
OF_LEDGER: Final[dict[str, Damage]] = {
    "ledger there": lambda output: "the ledger stays",
    "ledger lost": lambda output: output.remove(output.out / LEDGER),
    "ledger aged": lambda output: output.age(LEDGER),
    "ledger flipped": lambda output: output.flip(output.out / LEDGER),
    "ledger cut": lambda output: output.cut(output.out / LEDGER),
}
OF_FILES: Final[dict[str, Damage]] = {
    "success lost": lambda output: output.remove(output.out / "_SUCCESS"),
    "success flipped": lambda output: output.flip(output.out / "_SUCCESS"),
    "shard flipped": lambda output: output.flip(output.shard()),
    "shard cut": lambda output: output.cut(output.shard()),
    "shard lost": lambda output: output.remove(output.shard()),
    "shard doubled": lambda output: _doubled(output),
}


def _doubled(output: Output) -> str | None:
    first, second = output.shard(), output.shard()
    if first == second or not first.is_file():
        return None
    second.write_bytes(first.read_bytes())
    return f"{second.name} is a copy of {first.name}"


def pair(rng: random.Random) -> tuple[str, str]:
    """Two damages; mostly one of the manifest, with a ledger that tells, or does not."""
    every = [*OF_MANIFEST, *OF_LEDGER, *OF_FILES]
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(_RETOLD), rng.choice(("ledger lost", "ledger there", "ledger aged"))
    if kind < 0.8:
        return rng.choice([*OF_MANIFEST]), rng.choice(every)
    return rng.choice([*OF_FILES]), rng.choice([*OF_LEDGER, *OF_FILES])


def pair_of_another(rng: random.Random) -> tuple[str, str]:
    """The manifest of another output, and what may have happened as well."""
    return ANOTHER, rng.choice([*OF_LEDGER, *OF_FILES])


def do(name: str, output: Output) -> str | None:
    return {**_OF_OTHERS, **OF_MANIFEST, **OF_LEDGER, **OF_FILES}[name](output)
