"""The API's `Filter`: Mongo-like conditions compiled to one predicate over a decoded record.

`{"AgentId": 7}`, `{"AgentId": {"$in": [7, 8]}}`, joined by `$and`, `$or`, `$not`. As in Mongo, a comparison
holds only between values of one kind, a condition on null also finds a missing field, and `$ne` and `$nin`
find records without the field. Two texts that are instants are compared as instants.
"""

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any

Record = dict[str, Any]
Predicate = Callable[[Record], bool]

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_JOINED: dict[str, Callable[[list[Predicate]], Predicate]] = {
    "$and": lambda parts: lambda record: all(part(record) for part in parts),
    "$or": lambda parts: lambda record: any(part(record) for part in parts),
}


def compile_filter(condition: object) -> Predicate:
    """ValueError with the words that a 400 shall carry."""
    if not isinstance(condition, dict):
        raise ValueError(f"Filter must be an object, not {condition!r}")
    parts: list[Predicate] = []
    for name, wanted in condition.items():
        if name in _JOINED:
            if not isinstance(wanted, list) or not wanted:
                raise ValueError(f"Filter: {name} takes a list of conditions")
            parts.append(_JOINED[name]([compile_filter(part) for part in wanted]))
        elif name == "$not":
            parts.append(_negated(compile_filter(wanted)))
        elif name.startswith("$"):
            raise ValueError(f"Filter: no operator {name}")
        else:
            parts.append(_on_field(name, wanted))
    return _JOINED["$and"](parts)


def value_at(record: Record, path: str) -> Any:
    """The value of a field, of a dotted path in nested records; None where there is none."""
    value: Any = record
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _on_field(path: str, wanted: object) -> Predicate:
    if not isinstance(wanted, dict):
        return _test(path, "$eq", wanted)
    parts: list[Predicate] = []
    for name, operand in wanted.items():
        if name == "$not":
            if not isinstance(operand, dict):
                raise ValueError(f"Filter: $not of {path} takes an object")
            parts.append(_negated(_on_field(path, operand)))
        else:
            parts.append(_test(path, name, operand))
    if not parts:
        raise ValueError(f"Filter: {path} has an empty condition")
    return _JOINED["$and"](parts)


def _test(path: str, name: str, operand: object) -> Predicate:
    if name in ("$in", "$nin"):
        if not isinstance(operand, list):
            raise ValueError(f"Filter: {name} of {path} takes a list")
        among = [_comparable(one) for one in operand]
        found = name == "$in"
        return lambda record: (_comparable(value_at(record, path)) in among) is found
    wanted = _comparable(operand)
    if name in ("$eq", "$ne"):
        equal = name == "$eq"
        return lambda record: (_comparable(value_at(record, path)) == wanted) is equal
    if name not in _ORDERED:
        raise ValueError(f"Filter: no operator {name}")
    compare = _ORDERED[name]

    def holds(record: Record) -> bool:
        kind, value = _comparable(value_at(record, path))
        return kind == wanted[0] and kind != "null" and compare(value, wanted[1])

    return holds


def _negated(part: Predicate) -> Predicate:
    return lambda record: not part(record)


def _comparable(value: object) -> tuple[str, Any]:
    """Kind and value: 1 and 1.0 are equal, 1 and true are not, "…Z" and "…+00:00" are one instant."""
    if value is None:
        return "null", None
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, str):
        if len(value) > 16 and value[10] == "T":
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                return "text", value
            if moment.tzinfo is not None:
                return "instant", moment
        return "text", value
    return "other", value
