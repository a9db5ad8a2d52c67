"""What was recorded of a run: its operations, in their order.

An operation is a tuple, paths relative to the folder that holds the output, files by a number that names and
renames do not change::

    ("base", {path: bytes}, [folder])   what was there before, durably
    ("mkdir", path)  ("create", path, file)  ("link", path, path)  ("rename", path, path)
    ("unlink", path)  ("rmdir", path)  ("write", file, offset, bytes)  ("truncate", file, size)
    ("sync", file)  ("sync_folder", path)
"""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Operation = tuple[Any, ...]


def operations(record: Path) -> Iterator[Operation]:
    with record.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def names_after(names: dict[str, int], operation: Operation) -> dict[str, int]:
    match operation:
        case ("base", files, _):
            return {path: number for number, path in enumerate(sorted(files))}
        case ("create", path, file):
            names[path] = file
        case ("link", source, target):
            names[target] = names[source]
        case ("rename", source, target) if names[source] != names.get(target):  # else nothing happens
            names[target] = names.pop(source)
        case ("unlink", path):
            names.pop(path, None)
    return names


def told_of(operations: Sequence[Operation]) -> tuple[list[str], list[str]]:
    """The kind of each, and the name that what it is about had then."""
    names: dict[str, int] = {}
    kinds, places = [], []
    for operation in operations:
        match operation:
            case ("base", *_):
                place = ""
            case ("write" | "truncate" | "sync", file, *_):
                place = next((name for name, number in names.items() if number == file), "")
            case ("create", place, _) | (_, *_, place):
                pass
        kinds.append(operation[0])
        places.append(place)
        names = names_after(names, operation)
    return kinds, places
