"""What a disk may hold after a power loss, from a record of the calls before it.

The model is that of ALICE (Pillai et al., OSDI 2014), with nothing promised but by a sync:

- A file's writes and cuts since its last sync survive one by one, each write in sectors of 512 bytes; one
  that did not survive under one that did leaves zeros, or what was there.
- The names of a folder since its last sync survive as a prefix of what was done, or, where `reordered`, any
  of them. A rename is one thing: it takes the old name away and gives the new one.
- To sync a file says nothing of its name.
- `-shm` does not survive: SQLite makes it anew when the first connection opens the log.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.disks.record import Operation

SECTOR: Final = 512
_Change = tuple[int, bytes | None]
"""Offset and bytes of a write, or the size of a cut and None."""
_Names = dict[str, "int | Folder"]


@dataclass(slots=True, eq=False)
class _File:
    durable: bytes = b""
    pending: list[_Change] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Folder:
    durable: _Names = field(default_factory=dict)
    now: _Names = field(default_factory=dict)
    pending: list[dict[str, "int | Folder | None"]] = field(default_factory=list)

    def change(self, changed: "dict[str, int | Folder | None]") -> None:
        self.pending.append(changed)
        _change(self.now, changed)


def _change(names: _Names, changed: "dict[str, int | Folder | None]") -> None:
    for name, what in changed.items():
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


State = dict[str, bytes | None]
"""Path to content; None for a folder."""


class Model:
    """The disk as it is, and how much of it is durable; `apply` the calls in their order."""

    def __init__(self) -> None:
        self.root = Folder()
        self._files: dict[int, _File] = {}

    def apply(self, operation: Operation) -> None:
        match operation:
            case ("base", files, folders):
                for path in sorted(folders):
                    self._enter(path, Folder())
                for number, path in enumerate(sorted(files)):
                    self._files[number] = _File(durable=files[path])
                    self._enter(path, number)
            case ("mkdir", path):
                self._name(path, Folder())
            case ("create", path, file):
                self._files[file] = _File()
                self._name(path, file)
            case ("link", source, target):
                self._name(target, self._at(source))
            case ("rename", source, target):
                above, old = self._folder_of(source)
                new = target.rpartition("/")[2]
                if above.now[old] is not above.now.get(new) and above.now[old] != above.now.get(new):
                    above.change({old: None, new: above.now[old]})
            case ("unlink" | "rmdir", path):
                above, name = self._folder_of(path)
                above.change({name: None})
            case ("write", file, offset, block):
                self._files[file].pending.append((offset, block))
            case ("truncate", file, size):
                self._files[file].pending.append((size, None))
            case ("sync", file):
                one = self._files[file]
                one.durable, one.pending = _after(one.durable, one.pending), []
            case ("sync_folder", path):
                folder = self._at(path)
                assert isinstance(folder, Folder)
                folder.durable, folder.pending = dict(folder.now), []
            case _:
                raise AssertionError(operation)

    def _folder_of(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rpartition("/")
        folder = self._at(above)
        assert isinstance(folder, Folder)
        return folder, name

    def _at(self, path: str) -> "int | Folder":
        here: int | Folder = self.root
        for name in filter(None, path.split("/")):
            assert isinstance(here, Folder)
            here = here.now[name]
        return here

    def _name(self, path: str, what: "int | Folder") -> None:
        above, name = self._folder_of(path)
        above.change({name: what})

    def _enter(self, path: str, what: "int | Folder") -> None:
        """Durably."""
        above, name = self._folder_of(path)
        above.now[name] = above.durable[name] = what

    # --- what a loss leaves

    def states(self, rng: random.Random, drawn: int) -> Iterator[State]:
        """The corners, then so many drawn ones, every other of them with the names reordered."""
        yield self._state(_Nothing())
        yield self._state(_Data())
        yield self._state(_NamesOnly())
        yield self._state(_NamesOnly(sizes=True))
        yield self._state(_Everything())
        for number in range(drawn):
            yield self._state(_Drawn(rng, reordered=bool(number % 2)))

    def _state(self, loss: "_Loss") -> State:
        contents: dict[int, bytes] = {}
        """By the file: all its names lead to one content."""
        state: State = {}

        def walk(folder: Folder, path: str) -> None:
            for name, what in loss.names(folder).items():
                if isinstance(what, Folder):
                    state[path + name] = None
                    walk(what, f"{path}{name}/")
                else:
                    if what not in contents:
                        contents[what] = loss.content(self._files[what])
                    state[path + name] = contents[what]

        walk(self.root, "")
        return state


def digest(state: State) -> bytes:
    """The same for the same names with the same contents."""
    told = hashlib.blake2b()
    for path, content in sorted(state.items()):
        told.update(f"{path}\0".encode() + (b"" if content is None else _of_content(content)))
    return told.digest()


@lru_cache(maxsize=256)
def _of_content(content: bytes) -> bytes:
    """Most files of a state are those of the one before."""
    return hashlib.blake2b(content).digest()


def _after(content: bytes, changes: Iterable[_Change]) -> bytes:
    now = bytearray(content)
    for offset, block in changes:
        if block is None:
            now[offset:] = bytes(max(0, offset - len(now)))
            continue
        if len(now) < offset:
            now.extend(bytes(offset - len(now)))
        now[offset : offset + len(block)] = block
    return bytes(now)


class _Loss:
    """Which pending changes survive. This one: none."""

    def content(self, file: _File) -> bytes:
        return file.durable

    def names(self, folder: Folder) -> _Names:
        return folder.durable


class _Nothing(_Loss):
    pass


class _Data(_Loss):
    """All writes, no names."""

    def content(self, file: _File) -> bytes:
        return _after(file.durable, file.pending)


class _NamesOnly(_Loss):
    """All names, no writes; with `sizes` the files have their size and zeros where the writes were."""

    def __init__(self, *, sizes: bool = False) -> None:
        self._sizes = sizes

    def content(self, file: _File) -> bytes:
        if not self._sizes:
            return file.durable
        return file.durable.ljust(len(_after(file.durable, file.pending)), b"\0")

    def names(self, folder: Folder) -> _Names:
        return folder.now


class _Everything(_Data):
    def names(self, folder: Folder) -> _Names:
        return folder.now


class _Drawn(_Loss):
    def __init__(self, rng: random.Random, *, reordered: bool) -> None:
        self._rng = rng
        self._reordered = reordered
        self._kept_share = rng.choice((0.1, 0.5, 0.9))

    def content(self, file: _File) -> bytes:
        rng, kept = self._rng, self._kept_share
        if not file.pending:
            return file.durable
        if rng.random() < 0.5:  # in their order, up to one that is cut at a sector
            number = rng.randrange(len(file.pending) + 1)
            changes = file.pending[:number]
            if number < len(file.pending):
                offset, block = file.pending[number]
                if block is not None:
                    changes = [*changes, (offset, block[: SECTOR * rng.randrange(len(block) // SECTOR + 1)])]
            return _after(file.durable, changes)
        size = len(_after(file.durable, file.pending))
        survived = [change for one in file.pending for change in _sectors(one) if rng.random() < kept]
        content = _after(file.durable, survived)
        return content.ljust(size, b"\0") if rng.random() < 0.5 else content

    def names(self, folder: Folder) -> _Names:
        names = dict(folder.durable)
        if self._reordered:
            survived = [one for one in folder.pending if self._rng.random() < self._kept_share]
        else:
            survived = folder.pending[: self._rng.randrange(len(folder.pending) + 1)]
        for changed in survived:
            _change(names, changed)
        return names


def _sectors(change: _Change) -> list[_Change]:
    offset, block = change
    if block is None:
        return [change]
    edges = [0, *range(SECTOR - offset % SECTOR, len(block), SECTOR), len(block)]
    return [(offset + start, block[start:end]) for start, end in pairwise(edges)]


def lay_out(state: State, folder: Path) -> None:
    folder.mkdir(parents=True)
    for path, content in sorted(state.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
